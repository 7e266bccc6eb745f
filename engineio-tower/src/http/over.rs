//! The end of a shutdown, for which the host waits no longer.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

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
