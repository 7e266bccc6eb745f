//! One client: the protocol's machine behind a lock, and who waits for it.

mod data;
pub(crate) mod driver;
pub(crate) mod handler;
pub(crate) mod pump;
pub(crate) mod rejection;
pub(crate) mod request;
mod sending;
pub(crate) mod socket;
mod state;

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use engineio_core::driver::{Budget, SendQueue};
use engineio_core::server::{Event, ExchangeId, First, Input, Session, WebSocketId};
use engineio_core::{DisconnectReason, Frame, Message, Payload, Refusal, Revision, Sid, Transport};
use smallvec::SmallVec;

use self::data::Data;
pub(crate) use self::sending::QueuedSender;
pub(crate) use self::state::PartyId;
use self::state::{Consequences, Signal, State};
use crate::http::connect::Opening;
use crate::policy::admission::Permit;
use crate::server::ServerInner;
use crate::server::meter;
use crate::session::pump::Pump;
use crate::sync::{Mutex, MutexGuard};

/// The time that the machines are told; stands still in tests that pause it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// How far the task of a WebSocket got.
pub(crate) struct Done {
    /// The connection takes no more for now.
    pub(crate) blocked: bool,
    /// There was room for what was read.
    pub(crate) hungry: bool,
    /// A handler is running, whose own wake-ups come to the task.
    pub(crate) pumping: bool,
}

/// What the task of a WebSocket is to do next.
pub(crate) enum Rest {
    Asleep,
    Again,
    Close(DisconnectReason),
}

/// What the handlers have to do.
pub(crate) enum Next {
    Event(Event),
    /// There is more, but other tasks come first.
    Later,
    Nothing,
}

/// What the handles of a client, its requests, its WebSocket and the deadline watcher share.
pub(crate) struct Shared {
    pub(crate) server: Arc<ServerInner>,
    pub(crate) sid: Sid,
    pub(crate) revision: Revision,
    /// Binary data travels as text, so that every transport can carry it.
    pub(crate) base64: bool,
    pub(crate) peer: Option<SocketAddr>,
    /// The transport over which the session begins.
    opened_by: Transport,
    state: Mutex<State>,
    pub(crate) data: Data,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("sid", &self.sid).finish()
    }
}

impl Shared {
    pub(crate) fn new(
        server: Arc<ServerInner>,
        session: Session,
        opening: Opening,
        peer: Option<SocketAddr>,
        permit: Permit,
    ) -> Arc<Self> {
        Arc::new(Self {
            sid: session.sid(),
            revision: session.revision(),
            server,
            base64: opening.base64,
            peer,
            opened_by: opening.transport,
            state: Mutex::new(State {
                session,
                permit: Some(permit),
                parties: SmallVec::new(),
                waiting: Vec::new(),
                senders: SendQueue::default(),
                pumping: false,
                beside: 0,
                farewell: None,
                events: Budget::for_events(),
                driver: None,
                starved: false,
                watched: None,
                accepted: None,
                counted_as: None,
            }),
            data: Data::default(),
        })
    }

    /// A handler never runs under this lock, so what it protects is whole even if a thread panicked.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the machine.
    pub(crate) fn ask<R>(&self, question: impl FnOnce(&Session) -> R) -> R {
        question(&self.lock().session)
    }

    /// By what the client is reached, or was at last.
    pub(crate) fn transport(&self) -> Transport {
        let state = self.lock();
        match state.accepted {
            Some(_) => state.session.transport(),
            None => self.opened_by,
        }
    }

    /// Changes the machine and does what follows.
    pub(crate) fn update<R>(self: &Arc<Self>, change: impl FnOnce(&mut Session) -> R) -> R {
        self.change(|state| change(&mut state.session))
    }

    fn change<R>(self: &Arc<Self>, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let queued = state.session.queued_bytes();
        let result = change(&mut state);
        meter::queued(queued, state.session.queued_bytes());
        if let Some(then) = state.settle() {
            let accepted = state.accepted.is_some();
            drop(state);
            self.follow(then, accepted);
        }
        result
    }

    /// Does what follows from a change, without the lock.
    fn follow(self: &Arc<Self>, then: Consequences, accepted: bool) {
        if let Some(at) = then.watch
            && accepted
        {
            self.server.deadlines.add(at, self.sid);
        }
        if let Some(waker) = then.wake {
            waker.wake();
        }
        for waker in then.wake_more {
            waker.wake();
        }
        if let Some(permit) = then.gone {
            drop(permit);
            self.server.disconnected();
        }
        if then.finished {
            self.server.registry.remove(self);
        }
        if then.pump {
            self.pump_elsewhere();
        }
    }

    /// Runs the handlers in a task of their own, if there are events and nobody runs them already.
    pub(crate) fn pump_elsewhere(self: &Arc<Self>) {
        if self.claim_events() {
            self.pump_on(Pump::default());
        }
    }

    /// Goes on with the handlers in a task of their own; the caller has claimed the right to run them.
    pub(crate) fn pump_on(self: &Arc<Self>, pump: Pump) {
        let task = pump.run(Arc::clone(self));
        self.server.spawn(task);
    }

    /// Makes a change that brings events, and runs their handlers here as far as they get without waiting; a task gets
    /// the rest. A POST whose handler answers at once so completes the waiting GET without a change of task.
    pub(crate) fn update_and_pump(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        change: impl FnOnce(&mut Session),
    ) {
        let claimed = self.change(|state| {
            let claimed = !std::mem::replace(&mut state.pumping, true);
            change(&mut state.session);
            claimed
        });
        if claimed {
            let mut pump = Pump::default();
            if pump.poll(self, cx).is_pending() {
                self.pump_on(pump);
            }
        }
    }

    /// Takes the right to run the handlers, if nobody has it and there is something to do.
    pub(crate) fn claim_events(&self) -> bool {
        let mut state = self.lock();
        let claim = !state.pumping && state.session.has_events();
        state.pumping |= claim;
        claim
    }

    /// The next event for the handlers; gives the right to run them back when there is none. The first one begins a turn.
    pub(crate) fn next_event(self: &Arc<Self>, first: bool) -> Next {
        self.change(|state| {
            if first {
                state.events = Budget::for_events();
            } else if state.events.is_spent() && state.session.has_events() {
                return Next::Later;
            }
            let event = state.next_event();
            state.pumping = event.is_some();
            state.events.charge_event();
            event.map_or(Next::Nothing, Next::Event)
        })
    }

    /// A message handler begins to run beside; the end of the client waits for it.
    pub(crate) fn begin_beside(&self) {
        self.lock().beside += 1;
    }

    /// A handler that ran beside is done.
    pub(crate) fn end_beside(self: &Arc<Self>) {
        let mut state = self.lock();
        state.beside -= 1;
        let last = state.beside == 0 && state.farewell.is_some();
        let claimed = last && !std::mem::replace(&mut state.pumping, true);
        drop(state);
        if claimed {
            self.pump_on(Pump::default());
        }
    }

    /// The next message, if the next event is one and the turn is not over.
    ///
    /// Where messages are handled concurrently, each has a handler of its own.
    pub(crate) fn next_message(self: &Arc<Self>) -> Option<Message> {
        if self.server.options.concurrent_messages {
            return None;
        }
        let message = self.change(|state| {
            if state.events.is_spent() {
                return None;
            }
            state.events.charge_event();
            state.session.take_message(now)
        });
        message.inspect(|message| meter::received(message.len()))
    }

    /// The watcher says that the time may have come.
    ///
    /// An entry of the watcher that was overtaken by an earlier one is left over. If it were followed by a new one, each
    /// heartbeat would leave one more of them, wherever the interval is shorter than the timeout.
    pub(crate) fn on_deadline(self: &Arc<Self>, now: Instant) {
        self.change(|state| {
            if state.watched.is_some_and(|watched| watched <= now) {
                state.watched = None;
                state.session.handle_input(now, Input::Timeout);
            }
        });
    }

    /// The application accepted the client: from now on there is a deadline, and `on_disconnect` is owed. Returns
    /// `false`, and changes nothing, if somebody has closed the session first.
    pub(crate) fn accept(self: &Arc<Self>, first: First, party: PartyId) -> bool {
        self.change(|state| {
            if state.session.closed().is_some() {
                return false;
            }
            // Under the lock, since the end may come as soon as it is given back.
            self.server.connected();
            state.accepted = Some(now());
            let transport = match first {
                First::Polling(_) => Transport::Polling,
                First::WebSocket(_) => Transport::WebSocket,
            };
            state.counted_as = Some(transport);
            meter::connected(transport);
            state.enter(party);
            state.session.handle_input(now(), Input::Accepted(first));
            true
        })
    }

    /// Ends the session, unless it is in the registry and not accepted yet. If it were closed, the application would not
    /// hear of the end of a client that it has accepted; whoever lets it in looks for a shutdown afterwards.
    ///
    /// Returns whether it was accepted.
    pub(crate) fn end_if_accepted(self: &Arc<Self>, end: impl FnOnce(&mut Session)) -> bool {
        self.change(|state| {
            let accepted = state.accepted.is_some();
            if accepted {
                end(&mut state.session);
            }
            accepted
        })
    }

    /// The application refused the client. For those who keep a handle of the socket it is closed.
    pub(crate) fn never_accepted(self: &Arc<Self>) {
        let permit = self.change(|state| {
            state.session.abort(now(), DisconnectReason::Server);
            state.permit.take()
        });
        drop(permit);
        self.data.clear();
    }

    /// A GET begins to wait.
    pub(crate) fn open_poll(self: &Arc<Self>) -> ExchangeId {
        self.enter_exchange(Input::PollOpened)
    }

    /// A POST begins to be read.
    pub(crate) fn open_post(self: &Arc<Self>) -> ExchangeId {
        self.enter_exchange(Input::PostOpened)
    }

    fn enter_exchange(self: &Arc<Self>, input: fn(ExchangeId) -> Input) -> ExchangeId {
        self.change(|state| {
            let id = state.session.next_exchange();
            state.enter(PartyId::Exchange(id));
            state.session.handle_input(now(), input(id));
            id
        })
    }

    /// A WebSocket is about to be opened for an upgrade.
    pub(crate) fn open_websocket(self: &Arc<Self>) -> Result<WebSocketId, Refusal> {
        self.change(|state| {
            state.session.may_upgrade()?;
            let id = state.session.next_websocket();
            state.enter(PartyId::WebSocket(id));
            state
                .session
                .handle_input(now(), Input::WebSocketOpened(id));
            Ok(id)
        })
    }

    /// With what the POST is answered, when it is time; the session has let go of it then. Otherwise its task is woken.
    pub(crate) fn poll_posted(
        &self,
        id: ExchangeId,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Refusal>> {
        let id = PartyId::Exchange(id);
        let mut state = self.lock();
        let Some(party) = state.party(id) else {
            return Poll::Pending;
        };
        let answer = match party.take_signal() {
            None => {
                party.sleep(cx);
                return Poll::Pending;
            }
            Some(Signal::Accepted) => Ok(()),
            Some(Signal::Refused(refusal)) => Err(refusal),
            Some(_) => Err(Refusal::BadRequest),
        };
        state.leave(id);
        Poll::Ready(answer)
    }

    /// What the poll is answered with, when it is time; the session has let go of it then. Packets leave the queue at
    /// the moment at which the response is made, with no wait in between.
    pub(crate) fn poll_payload(
        self: &Arc<Self>,
        id: ExchangeId,
        cx: &Context<'_>,
    ) -> Poll<Result<Payload, Refusal>> {
        let party = PartyId::Exchange(id);
        self.change(|state| {
            let answer = loop {
                let Some(waiting) = state.party(party) else {
                    return Poll::Pending;
                };
                match waiting.take_signal() {
                    Some(Signal::Refused(refusal)) => break Err(refusal),
                    Some(_) => {
                        if let Some(payload) = state.session.take_payload(now(), id) {
                            break Ok(payload);
                        }
                    }
                    None => {
                        waiting.sleep(cx);
                        return Poll::Pending;
                    }
                }
            };
            state.leave(party);
            Poll::Ready(answer)
        })
    }

    /// The party has its answer, or has given up, which the input tells.
    pub(crate) fn leave(self: &Arc<Self>, id: PartyId, input: Option<Input>) {
        self.change(|state| {
            state.leave(id);
            if let Some(input) = input {
                state.session.handle_input(now(), input);
            }
        });
    }

    /// The task of this WebSocket runs the handlers from now on.
    pub(crate) fn set_driver(&self, id: WebSocketId) {
        self.lock().driver = Some(id);
    }

    /// The task of the WebSocket runs, and looks for itself what there is to do until it [rests](Self::rest).
    ///
    /// It passes on what was read: as much as is there, under one lock. Returns whether more is wanted.
    pub(crate) fn feed(
        self: &Arc<Self>,
        id: WebSocketId,
        now: Instant,
        mut read: impl FnMut() -> Option<Input>,
    ) -> bool {
        self.change(|state| {
            state.wake_up(id);
            loop {
                if !state.session.wants_input() {
                    return false;
                }
                match read() {
                    Some(input) => state.session.handle_input(now, input),
                    None => return true,
                }
            }
        })
    }

    /// Takes the next frames for a WebSocket, under one lock, until `take` has enough of them: what has left the outbox
    /// and cannot be written yet stays small. Whether there may be more.
    pub(crate) fn take_frames(
        self: &Arc<Self>,
        id: WebSocketId,
        now: Instant,
        mut take: impl FnMut(Frame, &Session) -> bool,
    ) -> bool {
        self.change(|state| {
            state.wake_up(id);
            while let Some(frame) = state.session.take_frame(now, id) {
                if !take(frame, &state.session) {
                    return true;
                }
            }
            false
        })
    }

    /// The task of a WebSocket has done what it could. Unless something came up meanwhile, it is woken when there is
    /// more.
    pub(crate) fn rest(&self, id: WebSocketId, done: Done, cx: &Context<'_>) -> Rest {
        let mut state = self.lock();
        let events = !done.pumping && !state.pumping && state.session.has_events();
        let starved = !done.hungry && !state.session.wants_input();
        let Some(party) = state.party(PartyId::WebSocket(id)) else {
            return Rest::Asleep;
        };
        match party.take_signal() {
            Some(Signal::Close(reason)) => return Rest::Close(reason),
            // A connection that takes nothing wakes the task itself when it does.
            Some(_) if !done.blocked => return Rest::Again,
            _ => {}
        }
        if events || (!done.hungry && !starved) {
            return Rest::Again;
        }
        party.sleep(cx);
        state.starved = starved;
        Rest::Asleep
    }
}
