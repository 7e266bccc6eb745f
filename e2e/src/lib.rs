//! Scenarios over real sockets: raw clients, and the hosts that must all pass the same list.
//!
//! The clients here are puppets: they do what they are told, byte for byte, and know no protocol of their own, so that
//! they can also do what no client should.

#![allow(
    clippy::missing_panics_doc,
    reason = "a puppet panics wherever what it expects does not come"
)]

pub mod app;
pub mod frame;
pub mod host;
pub mod http2;
pub mod puppet;
pub mod site;

use std::time::Duration;

/// The time limit for everything a test waits for. No test waits for it to elapse.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The output of a future, which must not take longer than [`PATIENCE`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} took longer than {PATIENCE:?}"),
    }
}
