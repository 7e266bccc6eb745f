//! What is behind the lock of a client: its machine, and who waits for it.

use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use engineio_core::driver::{Budget, SendQueue};
use engineio_core::server::{Event, ExchangeId, Output, Session, WebSocketId};
use engineio_core::{DisconnectReason, Refusal, Transport};
use smallvec::SmallVec;

use crate::policy::admission::Permit;
use crate::server::meter;

/// After this long the watcher looks at a session at the latest, so that its list forgets those that are gone: entries
/// are not taken out, and a heartbeat may be days away.
const LOOK: Duration = Duration::from_secs(60);

pub(super) struct State {
    pub(super) session: Session,
    /// The client's place among those that the server admits.
    pub(super) permit: Option<Permit>,
    /// The requests and the WebSocket that wait for the session. There is a place here for a GET and a POST, so that a
    /// session is one allocation less.
    pub(super) parties: SmallVec<[Party; 2]>,
    /// Who waits until the outbox is empty, or for the end.
    pub(super) waiting: Vec<Waker>,
    /// The senders that wait for room in the outbox.
    pub(super) senders: SendQueue,
    /// Somebody runs the handlers; nobody else may, so that messages stay in order.
    pub(super) pumping: bool,
    /// How many message handlers run beside, each in a task of its own.
    pub(super) beside: usize,
    /// The end of the client, which the application is told when no handler runs beside any more.
    pub(super) farewell: Option<DisconnectReason>,
    /// The events that the task of the handlers may still handle in this turn.
    pub(super) events: Budget,
    /// The WebSocket's task runs the handlers and is woken instead of starting another task.
    pub(super) driver: Option<WebSocketId>,
    /// The task of the WebSocket waits for room in the inbox before it reads on.
    pub(super) starved: bool,
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
    waker: Option<Waker>,
    /// Its task waits and must be woken. While it runs, it looks for itself before it waits again.
    asleep: bool,
    signal: Option<Signal>,
}

impl Party {
    pub(super) const fn take_signal(&mut self) -> Option<Signal> {
        self.signal.take()
    }

    /// The task waits from now on.
    pub(super) fn sleep(&mut self, cx: &Context<'_>) {
        self.asleep = true;
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// The task runs, and is about to see what it was told.
    const fn stay_awake(&mut self) {
        self.asleep = false;
        if matches!(self.signal, Some(Signal::Ready)) {
            self.signal = None;
        }
    }

    fn wake(&mut self, then: &mut Consequences) {
        if std::mem::take(&mut self.asleep) {
            then.wake(self.waker.clone());
        }
    }
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

    /// The WebSocket whose task runs the handlers.
    pub(super) fn driver(&mut self) -> Option<&mut Party> {
        let id = PartyId::WebSocket(self.driver?);
        self.party(id)
    }

    fn signal(&mut self, id: PartyId, signal: Signal, then: &mut Consequences) {
        if let Some(party) = self.party(id) {
            // A close stands until it is seen; frames that are still to be sent are looked for anyway.
            if !matches!(party.signal, Some(Signal::Close(_))) {
                party.signal = Some(signal);
            }
            party.wake(then);
        }
    }

    /// The next event for the application. Its last one waits for the handlers that run beside.
    pub(super) fn next_event(&mut self) -> Option<Event> {
        match self.session.take_event(super::now) {
            Some(Event::Closed(reason)) if self.beside > 0 => {
                self.farewell = Some(reason);
                None
            }
            None if self.beside == 0 => self.farewell.take().map(Event::Closed),
            event => event,
        }
    }

    /// What follows from a change, if anything does. Most messages have no consequence beyond the queue that they are
    /// put into, so to see that quickly is worth a look of its own.
    #[inline]
    pub(super) fn settle(&mut self) -> Option<Consequences> {
        let output = self.session.poll_output();
        let sooner = match (self.session.poll_timeout(), self.watched) {
            (Some(at), Some(watched)) => at < watched,
            (at, _) => at.is_some(),
        };
        let counted = match self.counted_as {
            Some(counted_as) => {
                counted_as == self.session.transport() && self.session.closed().is_none()
            }
            None => true,
        };
        if output.is_none() && !sooner && counted && !self.starved {
            return None;
        }
        let mut then = Consequences::default();
        self.dispatch(output, &mut then);
        self.count(&mut then);
        Some(then)
    }

    /// Passes on what the machine wants.
    fn dispatch(&mut self, first: Option<Output>, then: &mut Consequences) {
        let mut next = first;
        while let Some(output) = next {
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
                Output::Events => match self.driver() {
                    Some(party) => party.wake(then),
                    None => then.pump = true,
                },
                Output::Room => {
                    then.wake_more.append(&mut self.waiting);
                    if self.session.is_open() {
                        then.wake_more.extend(self.senders.first());
                    } else {
                        then.wake_more.extend(self.senders.close());
                    }
                }
                Output::Finished => then.finished = true,
                _ => {}
            }
            next = self.session.poll_output();
        }
        if self.starved && self.session.wants_input() {
            self.starved = false;
            if let Some(party) = self.driver() {
                party.wake(then);
            }
        }
        if let Some(at) = self.session.poll_timeout()
            && self.watched.is_none_or(|watched| at < watched)
        {
            let at = at.min(super::now() + LOOK);
            self.watched = Some(at);
            then.watch = Some(at);
        }
    }
}

impl State {
    /// Keeps the counts: a client is counted by the transport that it uses, from its acceptance to its end, however
    /// long its handlers take.
    fn count(&mut self, then: &mut Consequences) {
        let Some(counted_as) = self.counted_as else {
            return;
        };
        if let Some(reason) = self.session.closed() {
            self.counted_as = None;
            meter::disconnected(counted_as, reason);
            if let Some(accepted) = self.accepted {
                meter::stayed(super::now().saturating_duration_since(accepted));
            }
            then.gone = Some(self.permit.take());
        } else if counted_as != self.session.transport() {
            self.counted_as = Some(self.session.transport());
            meter::upgraded();
        }
    }

    pub(super) fn enter(&mut self, id: PartyId) {
        self.parties.push(Party {
            id,
            waker: None,
            asleep: false,
            signal: None,
        });
    }

    /// Lets go of a request or a WebSocket.
    pub(super) fn leave(&mut self, id: PartyId) {
        self.parties.retain(|party| party.id != id);
        if self.driver.map(PartyId::WebSocket) == Some(id) {
            self.driver = None;
        }
    }

    /// The task of the WebSocket runs: that there are frames to be sent it sees without being told.
    pub(super) fn wake_up(&mut self, id: WebSocketId) {
        self.starved = false;
        if let Some(party) = self.party(PartyId::WebSocket(id)) {
            party.stay_awake();
        }
    }

    /// Returns whether a sender that does not wait would overtake those that do. None waits once the session ends.
    pub(super) fn has_queued_senders(&self) -> bool {
        !self.senders.is_empty() && self.session.is_open()
    }

    pub(super) fn wait(&mut self, cx: &Context<'_>) {
        if !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.waiting.push(cx.waker().clone());
        }
    }
}
