//! A GET that waits for packets.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use engineio_core::server::{ExchangeId, Input};

use crate::http::delivery::Delivery;
use crate::http::response::Answer;
use crate::session::{Session, WaiterId, give_way};

/// The answer to a poll. Dropping it before it is answered tells the session that the client gave up.
#[derive(Debug)]
pub(crate) struct PollFuture {
    /// `None` once it is answered.
    session: Option<Arc<Session>>,
    /// `None` until the session knows of it.
    id: Option<ExchangeId>,
    gave_way: bool,
}

impl PollFuture {
    /// Creates a request that begins to wait.
    ///
    /// During an upgrade, what has arrived on the link goes first. The client may have sent its `5` before this request, and
    /// a runtime that finds both at once may take them in any order.
    pub(crate) fn open(session: Arc<Session>) -> Self {
        tracing::trace!(target: "engineio::poll", sid = session.sid.short(), "a poll arrived");
        let id = session.open_poll_unless_upgrading();
        Self::new(session, id)
    }

    /// Creates a request that the session already knows.
    pub(crate) const fn waiting(session: Arc<Session>, id: ExchangeId) -> Self {
        Self::new(session, Some(id))
    }

    const fn new(session: Arc<Session>, id: Option<ExchangeId>) -> Self {
        Self {
            session: Some(session),
            id,
            gave_way: false,
        }
    }
}

impl Future for PollFuture {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let this = &mut *self;
        let Some(session) = &this.session else {
            panic!("`PollFuture` polled after completion");
        };
        let id = match this.id {
            Some(id) => id,
            None if !std::mem::replace(&mut this.gave_way, true) => {
                give_way(cx);
                return Poll::Pending;
            }
            None => *this.id.insert(session.open_poll()),
        };
        let outcome = ready!(session.poll_payload(id, cx));
        let session = this.session.take();
        Poll::Ready(match outcome {
            Ok(payload) => Answer::Payload(payload, Delivery::new(session)),
            Err(refusal) => Answer::Refusal(refusal),
        })
    }
}

impl Drop for PollFuture {
    fn drop(&mut self) {
        if let (Some(id), Some(session)) = (self.id, &self.session) {
            let aborted = Input::PollAborted(id);
            session.leave(WaiterId::Exchange(id), Some(aborted));
        }
    }
}
