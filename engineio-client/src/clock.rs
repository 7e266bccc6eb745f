//! The runtime's clock.

use std::time::Instant;

/// Returns the current time of the runtime's clock, which tests can pause.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
