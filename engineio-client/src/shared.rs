//! The state that the application's side and the driver share, behind a lock that is never held across an `await`.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use engineio_core::client::{Event, Session};
use engineio_core::driver::{SendQueue, Ticket};
use engineio_core::{DisconnectReason, Message};

use crate::clock::now;
use crate::delivery::Delivery;
use crate::settings::Settings;
use crate::wakers::{BATCH, Interest, Key, Wakers};
use crate::{Error, SendError, meter};

pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) close_timeout: Duration,
}

/// The stage of a client as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The first session is being opened.
    Connecting,
    /// A session is open, or just ended.
    Open,
    /// The client will open another session, or is doing so.
    BetweenSessions,
    /// It would, but the application has to read first, which must not wait for the client in turn.
    WaitsForReader,
    /// No session could be opened.
    Failed,
    /// The last session is over.
    Finished,
    /// And the handlers have returned.
    Done,
}

impl Phase {
    /// Returns whether no other session will be opened.
    pub(crate) const fn is_over(self) -> bool {
        matches!(self, Self::Failed | Self::Finished | Self::Done)
    }

    /// Returns whether the handlers have returned too.
    pub(crate) const fn is_done(self) -> bool {
        matches!(self, Self::Failed | Self::Done)
    }
}

pub(crate) struct State {
    pub(crate) session: Session,
    pub(crate) delivery: Delivery,
    phase: Phase,
    wakers: Wakers,
    pub(crate) senders: SendQueue,
    driver: Option<Waker>,
    /// The application ends the client: close, abort or drop.
    pub(crate) stopping: bool,
    /// Another session is opened after one that ended.
    may_return: bool,
    /// The time at which the current session was opened.
    pub(crate) open_since: Option<Instant>,
    /// The current session has moved to WebSocket.
    pub(crate) upgraded: bool,
    /// The handler for the first opening has been called, or there is none.
    pub(crate) is_connect_handled: bool,
    /// The number of messages that were still queued when sessions before the current one ended.
    dropped: u64,
    /// Why the last session that was open ended, or why none could be opened.
    pub(crate) reason: Option<DisconnectReason>,
    pub(crate) error: Option<Error>,
}

/// Without messages and ids, which must not be logged.
impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.lock();
        f.debug_struct("Session")
            .field("transport", &state.session.transport())
            .field("is_open", &state.session.is_open())
            .field("reason", &state.session.closed())
            .field("queued", &state.session.queued_messages())
            .finish()
    }
}

/// Removes its waker from the list when it is dropped.
struct Waiter<'a> {
    shared: &'a Shared,
    slot: Option<Key>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if self.slot.is_some() {
            self.shared.lock().wakers.remove(&mut self.slot);
        }
    }
}

/// Gives its place in the queue up when it is dropped.
struct Sender<'a> {
    shared: &'a Shared,
    ticket: Ticket,
}

impl Drop for Sender<'_> {
    fn drop(&mut self) {
        if self.ticket.is_queued() {
            let mut state = self.shared.lock();
            let next = state.senders.leave(&mut self.ticket);
            let was_last = state.senders.is_empty();
            drop(state);
            next.into_iter().for_each(Waker::wake);
            if was_last {
                // A sink lets the senders go first, and nothing else may tell it that the last one gave up.
                self.shared.wake(Interest::Outbox);
            }
        }
    }
}

impl Shared {
    pub(crate) fn new(session: Session, delivery: Delivery, settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            close_timeout: settings.session.close_timeout,
            state: Mutex::new(State {
                session,
                delivery,
                phase: Phase::Connecting,
                wakers: Wakers::default(),
                senders: SendQueue::default(),
                driver: None,
                stopping: false,
                may_return: settings.reconnect.is_some(),
                open_since: None,
                upgraded: false,
                is_connect_handled: true,
                dropped: 0,
                reason: None,
                error: None,
            }),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `check` has an answer; it is asked again after each change of that kind.
    pub(crate) async fn wait<T>(
        &self,
        interest: Interest,
        mut check: impl FnMut(&mut State) -> Option<T>,
    ) -> T {
        let mut waiter = Waiter {
            shared: self,
            slot: None,
        };
        poll_fn(|cx| self.poll_wait(&mut waiter.slot, interest, cx, &mut check)).await
    }

    /// As [`wait`](Self::wait); `slot` has the place of the waker in the list between two calls.
    pub(crate) fn poll_wait<T>(
        &self,
        slot: &mut Option<Key>,
        interest: Interest,
        cx: &Context<'_>,
        check: impl FnOnce(&mut State) -> Option<T>,
    ) -> Poll<T> {
        let mut state = self.lock();
        if let Some(answer) = check(&mut state) {
            state.wakers.remove(slot);
            return Poll::Ready(answer);
        }
        state.wakers.register(slot, interest, cx.waker());
        Poll::Pending
    }

    /// Wakes those who wait for this change, without the lock. Of the senders, one is woken where there may be room, and
    /// all where the session takes nothing any more.
    pub(crate) fn wake(&self, change: Interest) {
        if change != Interest::Events {
            let mut state = self.lock();
            let is_open = state.session.is_open();
            let first = is_open.then(|| state.senders.first()).flatten();
            let all = (!is_open).then(|| state.senders.close());
            drop(state);
            let all = all.into_iter().flatten();
            first.into_iter().chain(all).for_each(Waker::wake);
        }
        let mut woken = [const { None::<Waker> }; BATCH];
        let end = self.lock().wakers.next_key();
        loop {
            let more = self.lock().wakers.take(change, end, &mut woken);
            woken
                .iter_mut()
                .filter_map(Option::take)
                .for_each(Waker::wake);
            if !more {
                return;
            }
        }
    }

    /// Moves on to another phase, unless the last one is reached, and wakes everybody.
    pub(crate) fn enter(&self, phase: Phase) {
        let mut state = self.lock();
        if !state.phase.is_done() {
            state.phase = phase;
        }
        drop(state);
        self.wake(Interest::Phase);
    }

    /// Queues a message if there is room for it and no other sender waits.
    pub(crate) fn try_send(&self, message: Message) -> Result<(), SendError> {
        let bytes = message.len();
        let mut state = self.lock();
        if !state.senders.is_empty() && state.session.is_open() {
            return Err(SendError::Full(message));
        }
        let outcome = state.send(message);
        drop(state);
        if outcome.is_ok() {
            meter::sent(bytes);
        }
        outcome
    }

    /// Queues the message in `unsent` when there is room for it and it is this sender's turn.
    pub(crate) fn poll_send(
        &self,
        ticket: &mut Ticket,
        unsent: &mut Option<Message>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        let bytes = unsent.as_ref().map_or(0, Message::len);
        let mut state = self.lock();
        let outcome = match state.senders.may_send(ticket) {
            true => state.send_when_possible(unsent),
            false => None,
        };
        let Some(outcome) = outcome else {
            state.senders.wait(ticket, cx);
            return Poll::Pending;
        };
        let next = state.senders.leave(ticket);
        drop(state);
        next.into_iter().for_each(Waker::wake);
        if outcome.is_ok() {
            meter::sent(bytes);
        }
        Poll::Ready(outcome)
    }

    /// Queues a message, waiting for room in the order in which senders came.
    pub(crate) async fn send(&self, message: Message) -> Result<(), SendError> {
        let mut sender = Sender {
            shared: self,
            ticket: Ticket::default(),
        };
        let mut unsent = Some(message);
        poll_fn(|cx| self.poll_send(&mut sender.ticket, &mut unsent, cx)).await
    }

    /// Lets `connect` return.
    pub(crate) fn connect_handled(&self) {
        let was_handled = std::mem::replace(&mut self.lock().is_connect_handled, true);
        if !was_handled {
            self.wake(Interest::Phase);
        }
    }

    /// Begins an orderly close, or ends the session at once.
    pub(crate) fn stop(&self, at_once: Option<DisconnectReason>) {
        let mut state = self.lock();
        state.stopping = true;
        match at_once {
            Some(reason) => state.session.abort(reason),
            None => state.session.close(now()),
        }
        state.wake_driver();
        drop(state);
        self.wake(Interest::Outbox);
    }

    /// The next event for the stream, which has nothing but an end where a handler takes the messages.
    pub(crate) fn poll_stream(
        &self,
        slot: &mut Option<Key>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Message>> {
        // A stream that always has a message lets other tasks of the thread run at times, as a socket of tokio does.
        let coop = ready!(tokio::task::coop::poll_proceed(cx));
        let message = self.poll_wait(slot, Interest::Events, cx, |state| {
            if state.delivery.is_to_handler() {
                return state.phase.is_over().then_some(None);
            }
            loop {
                match state.take_event()? {
                    Some(Event::Message(message)) => return Some(Some(message)),
                    Some(_) => {}
                    None => return Some(None),
                }
            }
        });
        if let Poll::Ready(message) = &message {
            coop.made_progress();
            message
                .iter()
                .for_each(|message| meter::received(message.len()));
        }
        message
    }

    /// The next event for the handlers; `None` after the last one.
    pub(crate) async fn next_event(&self) -> Option<Event> {
        let next = self.wait(Interest::Events, |state| {
            match state.delivery.take_lifecycle() {
                Some(Some(event)) => Some(Some(event)),
                Some(None) => state.phase.is_over().then_some(None),
                None => state.take_event(),
            }
        });
        let event = next.await;
        if let Some(Event::Message(message)) = &event {
            meter::received(message.len());
        }
        event
    }
}

impl State {
    pub(crate) const fn phase(&self) -> Phase {
        self.phase
    }

    /// Moves on to another phase; everybody is to be woken then.
    pub(crate) const fn set_phase(&mut self, phase: Phase) {
        self.phase = phase;
    }

    /// Remembers the task that drives the session.
    pub(crate) fn set_driver(&mut self, waker: &Waker) {
        match &mut self.driver {
            Some(driver) => driver.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    pub(crate) fn wake_driver(&self) {
        if let Some(driver) = &self.driver {
            driver.wake_by_ref();
        }
    }

    /// Counts the messages that were still queued when a session ended.
    pub(crate) const fn dropped_messages(&self) -> u64 {
        self.dropped + self.session.dropped_messages() as u64
    }

    /// Returns whether the session that ended, if it did, may not have been the last.
    pub(crate) const fn is_coming_back(&self) -> bool {
        self.may_return
            && !self.stopping
            && !self.phase.is_over()
            && !matches!(self.phase, Phase::WaitsForReader)
    }

    pub(crate) fn send(&mut self, message: Message) -> Result<(), SendError> {
        // A session that is only being opened may not come about, and would take along what it was given. Before the
        // first one nobody has anything to send by.
        if self.phase != Phase::Connecting && self.session.opened().is_none() {
            return Err(SendError::Closed(message));
        }
        self.session.send(message)?;
        self.wake_driver();
        Ok(())
    }

    /// As [`send`](Self::send), for those who wait: `None`, and the message back in `unsent`, while that may still help.
    pub(crate) fn send_when_possible(
        &mut self,
        unsent: &mut Option<Message>,
    ) -> Option<Result<(), SendError>> {
        match self.send(unsent.take()?) {
            Err(SendError::Full(message)) => *unsent = Some(message),
            Err(SendError::Closed(message)) if self.is_coming_back() => *unsent = Some(message),
            outcome => return Some(outcome),
        }
        None
    }

    /// The outer option is `None` if there is nothing yet, the inner one after the last event.
    fn take_event(&mut self) -> Option<Option<Event>> {
        let (event, wake) = self.delivery.take_event(&mut self.session);
        if wake {
            self.wake_driver();
        }
        match event {
            None => self.phase.is_over().then_some(None),
            event => Some(event),
        }
    }

    /// Puts a new session in the place of the one that ended, of which nothing received is lost.
    pub(crate) fn replace(&mut self, session: Session) {
        self.delivery.carry_over(&mut self.session);
        self.dropped = self.dropped_messages();
        self.session = session;
        self.upgraded = false;
        if self.phase == Phase::Connecting {
            // Another transport is tried, and the failure of the one before is not the end of a session.
            (self.reason, self.error) = (None, None);
        }
        if self.stopping {
            // It was asked for between the two sessions.
            self.session.abort(DisconnectReason::Client);
        }
    }
}
