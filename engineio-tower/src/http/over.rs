//! The end of a shutdown, for which the host waits no longer.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use engineio_core::Refusal;

use crate::server::ServerInner;
use crate::session::handler::BoxFuture;

/// A request's wait for the end of a shutdown, while the application decides on its client.
#[derive(Default)]
pub(crate) struct Over(
    /// `None` until the application has to be waited for.
    Option<BoxFuture<()>>,
);

impl Over {
    /// Waits until the server has shut down. The client is refused then.
    pub(crate) fn poll(
        &mut self,
        server: &Arc<ServerInner>,
        cx: &mut Context<'_>,
    ) -> Poll<Refusal> {
        let over = self.0.get_or_insert_with(|| {
            let server = Arc::clone(server);
            Box::pin(async move { drop(server.over.acquire().await) })
        });
        ready!(over.as_mut().poll(cx));
        Poll::Ready(Refusal::Unavailable)
    }
}

/// The pause before the next poll of a client is released too, if the host goes on serving after the shutdown.
const PAUSE: Duration = Duration::from_secs(1);

/// A forwarded poll's wait for the end of a shutdown, from which on it would only hold up the host.
pub(crate) struct Leaving {
    /// `None` until the owner of the session has to be waited for, and when the wait is over.
    wait: Option<BoxFuture<()>>,
    is_over: bool,
}

impl Leaving {
    /// Returns a wait that ends only for requests that wait for packets.
    pub(crate) const fn new(waits: bool) -> Self {
        Self {
            wait: None,
            is_over: !waits,
        }
    }

    /// Completes once.
    pub(crate) fn poll(&mut self, server: &Arc<ServerInner>, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_over {
            return Poll::Pending;
        }
        let wait = self.wait.get_or_insert_with(|| {
            let server = Arc::clone(server);
            Box::pin(async move {
                if server.over.is_closed() {
                    tokio::time::sleep(PAUSE).await;
                }
                drop(server.over.acquire().await);
            })
        });
        ready!(wait.as_mut().poll(cx));
        *self = Self::new(false);
        Poll::Ready(())
    }
}
