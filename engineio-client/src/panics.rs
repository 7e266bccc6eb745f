//! Panics of the application's code in a future.

use std::panic::AssertUnwindSafe;

use engineio_core::driver::{Panicked, catch_panic};
use futures_util::FutureExt;

/// Catches the panics of a future while it is polled, as [`catch_panic`](engineio_core::driver::catch_panic) does those of
/// a function.
#[expect(clippy::disallowed_methods, reason = "the value is discarded")]
pub(crate) fn catch_panics<F: Future>(
    future: F,
) -> impl Future<Output = Result<F::Output, Panicked>> {
    let caught = AssertUnwindSafe(future).catch_unwind();
    caught.map(|outcome| outcome.map_err(Panicked::discard))
}

/// Logs or counts something while a client ends, or something is dropped: the panic of a log subscriber or a metrics recorder
/// must not keep the rest from being done.
pub(crate) fn report(report: impl FnOnce()) {
    let _ = catch_panic(report);
}
