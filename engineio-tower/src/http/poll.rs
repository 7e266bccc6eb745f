//! A GET that waits for packets.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use engineio_core::server::{ExchangeId, Input};

use crate::http::response::Answer;
use crate::session::{Session, WaiterId};

/// The answer to a poll. Dropping it before it is answered tells the session that the client gave up.
#[derive(Debug)]
pub(crate) struct PollFuture {
    session: Arc<Session>,
    id: ExchangeId,
    answered: bool,
}

impl PollFuture {
    /// Creates a request that begins to wait.
    pub(crate) fn open(session: Arc<Session>) -> Self {
        let id = session.open_poll();
        tracing::trace!(target: "engineio::poll", sid = session.sid.short(), "a poll arrived");
        Self::waiting(session, id)
    }

    /// Creates a request that the session already knows.
    pub(crate) const fn waiting(session: Arc<Session>, id: ExchangeId) -> Self {
        Self {
            session,
            id,
            answered: false,
        }
    }
}

impl Future for PollFuture {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let outcome = ready!(self.session.poll_payload(self.id, cx));
        self.answered = true;
        Poll::Ready(match outcome {
            Ok(payload) => Answer::Payload(payload),
            Err(refusal) => Answer::Refusal(refusal),
        })
    }
}

impl Drop for PollFuture {
    fn drop(&mut self) {
        if !self.answered {
            let aborted = Input::PollAborted(self.id);
            self.session
                .leave(WaiterId::Exchange(self.id), Some(aborted));
        }
    }
}
