//! The time that the application may take to decide on a client, and the end of code that panics or takes longer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use engineio_core::driver::Repeats;
use tokio::time::Sleep;

use crate::repeated::log_repeated;
use crate::session::handler::{BoxFuture, Contained};
use crate::session::rejection::Rejection;

/// A kind of code of the application that decides on clients.
pub(crate) struct Hook {
    /// The name in log lines.
    name: &'static str,
    late: Repeats,
    panicked: Repeats,
}

pub(crate) static ORIGIN_PREDICATE: Hook = Hook::new("an origin predicate");
pub(crate) static GENERATE_SID: Hook = Hook::new("`generate_sid`");
pub(crate) static CONNECT_HANDLER: Hook = Hook::new("a connect handler");

impl Hook {
    const fn new(name: &'static str) -> Self {
        let second = Duration::from_secs(1);
        Self {
            name,
            late: Repeats::every(second),
            panicked: Repeats::every(second),
        }
    }

    fn late(&self) -> Rejection {
        let name = self.name;
        log_repeated!(of self.late, warn, target: "engineio::connect", "{name} took too long; the client is refused");
        Rejection::unavailable()
    }

    /// Returns the rejection of a client for which the hook panicked. The panic hook has logged the details.
    pub(crate) fn panicked(&self) -> Rejection {
        let name = self.name;
        log_repeated!(of self.panicked, error, target: "engineio::connect", "{name} panicked; the client is refused");
        Rejection::internal_error()
    }
}

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
        hook: &'static Hook,
        code: BoxFuture<T>,
    ) -> Result<T, Rejection> {
        let mut code = Contained::new(code);
        let outcome = std::future::poll_fn(|cx| self.poll(hook, &mut code, cx)).await;
        // A future may panic when it is dropped, too.
        let dropped = code.end();
        dropped.map_err(|_| hook.panicked()).and(outcome)
    }

    /// Polls code of the application, and rejects the client if it panics or takes too long.
    pub(crate) fn poll<T>(
        &mut self,
        hook: &Hook,
        code: &mut Contained<T>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, Rejection>> {
        if let Poll::Ready(outcome) = code.poll(cx) {
            return Poll::Ready(outcome.map_err(|_| hook.panicked()));
        }
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(self.limit)));
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Err(hook.late()))
    }
}
