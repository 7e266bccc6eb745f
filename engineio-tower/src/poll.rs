//! A GET that waits for packets.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use engineio_core::server::{ExchangeId, Input};

use crate::response::Answer;
use crate::session::{PartyId, Shared, Signal};

/// The answer to a poll. Dropping it before it is answered tells the session that the client gave up.
#[derive(Debug)]
pub(crate) struct PollFuture {
    session: Arc<Shared>,
    id: ExchangeId,
    answered: bool,
}

impl PollFuture {
    /// A request that begins to wait.
    pub(crate) fn open(session: Arc<Shared>) -> Self {
        let id = session.open_poll();
        Self::waiting(session, id)
    }

    /// A request that the session knows already.
    pub(crate) const fn waiting(session: Arc<Shared>, id: ExchangeId) -> Self {
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
        let party = PartyId::Exchange(self.id);
        let answer = loop {
            match self.session.poll_signal(party, cx) {
                Some(Signal::Refused(refusal)) => break Answer::Refusal(refusal),
                // Packets leave the queue at the moment at which the response is made, with no wait in between.
                Some(_) => match self.session.take_payload(self.id) {
                    Some(payload) => break Answer::Payload(payload),
                    None => continue,
                },
                None => return Poll::Pending,
            }
        };
        self.answered = true;
        self.session.leave(party, None);
        Poll::Ready(answer)
    }
}

impl Drop for PollFuture {
    fn drop(&mut self) {
        if !self.answered {
            let aborted = Input::PollAborted(self.id);
            self.session
                .leave(PartyId::Exchange(self.id), Some(aborted));
        }
    }
}
