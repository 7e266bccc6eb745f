//! What is behind the lock of a client: its machine, and who waits for it.

use std::task::{Context, Waker};
use std::time::Instant;

use engineio_core::server::{ExchangeId, Output, Session, WebSocketId};
use engineio_core::{DisconnectReason, Refusal, Transport};

use crate::admission::Permit;
use crate::meter;

pub(super) struct State {
    pub(super) session: Session,
    /// The client's place among those that the server admits.
    pub(super) permit: Option<Permit>,
    /// The requests and the WebSocket that wait for the session.
    pub(super) parties: Vec<Party>,
    /// Who waits for room in the outbox, or for the end.
    pub(super) waiting: Vec<Waker>,
    /// Somebody runs the handlers; nobody else may, so that messages stay in order.
    pub(super) pumping: bool,
    /// The WebSocket's task runs the handlers and is woken instead of starting another task.
    pub(super) driver: Option<WebSocketId>,
    /// The earliest time at which the watcher will look at the session.
    pub(super) watched: Option<Instant>,
    /// When the session was accepted; `on_disconnect` is owed since.
    pub(super) accepted: Option<Instant>,
    /// By what the client is counted; nothing before it is accepted and after it is gone.
    pub(super) counted_as: Option<Transport>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PartyId {
    Exchange(ExchangeId),
    WebSocket(WebSocketId),
}

/// A request or a WebSocket, and what the session wants of it.
pub(super) struct Party {
    pub(super) id: PartyId,
    pub(super) waker: Option<Waker>,
    pub(super) signal: Option<Signal>,
}

/// What a party is told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signal {
    /// Take the payload, or the frames.
    Ready,
    /// The POST was taken in.
    Accepted,
    Refused(Refusal),
    Close(DisconnectReason),
}

/// What follows from a change once the lock is given back.
#[derive(Default)]
pub(super) struct Consequences {
    pub(super) wake: Option<Waker>,
    pub(super) wake_more: Vec<Waker>,
    pub(super) pump: bool,
    pub(super) finished: bool,
    pub(super) watch: Option<Instant>,
    /// The client is gone; its place among the admitted ones is given back.
    pub(super) gone: Option<Option<Permit>>,
}

impl Consequences {
    fn wake(&mut self, waker: Option<Waker>) {
        match waker {
            Some(waker) if self.wake.is_none() => self.wake = Some(waker),
            Some(waker) => self.wake_more.push(waker),
            None => {}
        }
    }
}

impl State {
    pub(super) fn party(&mut self, id: PartyId) -> Option<&mut Party> {
        self.parties.iter_mut().find(|party| party.id == id)
    }

    fn signal(&mut self, id: PartyId, signal: Signal, then: &mut Consequences) {
        if let Some(party) = self.party(id) {
            // A close stands until it is seen; frames that are still to be sent are looked for anyway.
            if !matches!(party.signal, Some(Signal::Close(_))) {
                party.signal = Some(signal);
            }
            then.wake(party.waker.take());
        }
    }

    /// Passes on what the machine wants.
    pub(super) fn dispatch(&mut self, then: &mut Consequences) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::AnswerPoll(id) => {
                    self.signal(PartyId::Exchange(id), Signal::Ready, then);
                }
                Output::RefusePoll(id, refusal) | Output::AnswerPost(id, Err(refusal)) => {
                    self.signal(PartyId::Exchange(id), Signal::Refused(refusal), then);
                }
                Output::AnswerPost(id, Ok(())) => {
                    self.signal(PartyId::Exchange(id), Signal::Accepted, then);
                }
                Output::SendFrames(id) => {
                    self.signal(PartyId::WebSocket(id), Signal::Ready, then);
                }
                Output::CloseWebSocket(id, reason) => {
                    self.signal(PartyId::WebSocket(id), Signal::Close(reason), then);
                }
                Output::Events => {
                    let driver = self.driver.map(PartyId::WebSocket);
                    match driver.and_then(|id| self.party(id)) {
                        Some(party) => then.wake(party.waker.take()),
                        None => then.pump = true,
                    }
                }
                Output::Room => then.wake_more.append(&mut self.waiting),
                Output::Finished => then.finished = true,
                _ => {}
            }
        }
        if let Some(at) = self.session.poll_timeout()
            && self.watched.is_none_or(|watched| at < watched)
        {
            self.watched = Some(at);
            then.watch = Some(at);
        }
    }
}

impl State {
    /// Keeps the counts: a client is counted by the transport that it uses, from its acceptance to its end, however
    /// long its handlers take.
    pub(super) fn count(&mut self, now: impl FnOnce() -> Instant, then: &mut Consequences) {
        let Some(counted_as) = self.counted_as else {
            return;
        };
        if let Some(reason) = self.session.closed() {
            self.counted_as = None;
            meter::disconnected(counted_as, reason);
            if let Some(accepted) = self.accepted {
                meter::stayed(now().saturating_duration_since(accepted));
            }
            then.gone = Some(self.permit.take());
        } else if counted_as != self.session.transport() {
            self.counted_as = Some(self.session.transport());
            meter::upgraded();
        }
    }

    pub(super) fn enter(&mut self, id: PartyId) {
        if self.parties.capacity() == 0 {
            // One GET and one POST, or one WebSocket; a Vec would begin with four places.
            self.parties.reserve_exact(match id {
                PartyId::Exchange(_) => 2,
                PartyId::WebSocket(_) => 1,
            });
        }
        self.parties.push(Party {
            id,
            waker: None,
            signal: None,
        });
    }

    pub(super) fn wait(&mut self, cx: &Context<'_>) {
        if !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.waiting.push(cx.waker().clone());
        }
    }
}
