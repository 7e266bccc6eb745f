//! The time that the application may take to decide on a client, and the end of code that panics or takes longer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use engineio_core::driver::catch_panic;
use tokio::time::Sleep;

use crate::session::handler::BoxFuture;
use crate::session::rejection::Rejection;

/// The time that the origin predicate, `generate_sid` and the connect handler may take together. It begins when one of
/// them first has to be waited for.
pub(crate) struct TimeLimit {
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl TimeLimit {
    pub(crate) const fn new(limit: Duration) -> Self {
        Self { limit, sleep: None }
    }

    /// Runs code of the application, and rejects the client if it panics or takes too long.
    pub(crate) async fn run<T>(
        &mut self,
        name: &str,
        mut code: BoxFuture<T>,
    ) -> Result<T, Rejection> {
        let outcome = std::future::poll_fn(|cx| self.poll(name, &mut code, cx)).await;
        // A future may panic when it is dropped, too.
        let dropped = catch_panic(|| drop(code));
        dropped.map_err(|_| panicked(name)).and(outcome)
    }

    /// Polls code of the application, and rejects the client if it panics or takes too long.
    pub(crate) fn poll<T>(
        &mut self,
        name: &str,
        code: &mut BoxFuture<T>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, Rejection>> {
        match catch_panic(|| code.as_mut().poll(cx)) {
            Ok(Poll::Ready(output)) => return Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => {}
            Err(_) => return Poll::Ready(Err(panicked(name))),
        }
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(self.limit)));
        ready!(sleep.as_mut().poll(cx));
        tracing::warn!(target: "engineio::connect", "{name} took too long; the client is refused");
        Poll::Ready(Err(Rejection::unavailable()))
    }
}

/// Returns the rejection of a client for which code of the application panicked. The panic hook has logged the details.
pub(crate) fn panicked(name: &str) -> Rejection {
    tracing::error!(target: "engineio::connect", "{name} panicked; the client is refused");
    Rejection::internal_error()
}
