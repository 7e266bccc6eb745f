//! What the application's side and the driver have in common: the session, behind a lock that is never held across an
//! `await`, and who waits for what.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use engineio_core::client::{Event, Session};
use engineio_core::{DisconnectReason, Message};
use tokio::sync::{Notify, watch};

use crate::driver::Settings;
use crate::handlers::Handlers;
use crate::{Error, SendError, meter};

pub(crate) struct Shared {
    state: Mutex<State>,
    /// Woken when the outbox became shorter, and when the session is over.
    pub(crate) room: Notify,
    /// Woken when the client is to end, and when the application has read between two sessions.
    pub(crate) away: Notify,
    pub(crate) phase: watch::Sender<Phase>,
}

/// Where the client as a whole stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Connecting,
    Open,
    /// Between two sessions.
    Away,
    /// The last session is over.
    Finished,
    /// And the handlers have returned.
    Done,
}

impl Phase {
    pub(crate) const fn is_finished(self) -> bool {
        matches!(self, Self::Finished | Self::Done)
    }
}

pub(crate) struct State {
    pub(crate) session: Session,
    /// What the application has not taken yet of sessions before this one.
    leftover: VecDeque<Event>,
    leftover_bytes: usize,
    leftover_limit: usize,
    /// For handlers where no handler takes messages: openings and ends, in order.
    pub(crate) life: Option<VecDeque<Event>>,
    pub(crate) driver: Option<Waker>,
    reader: Option<Waker>,
    /// Who waits for the end of a client whose messages go to a handler.
    watcher: Option<Waker>,
    pub(crate) flusher: Option<Waker>,
    life_reader: Option<Waker>,
    /// Messages go to a handler.
    is_handled: bool,
    /// The application wants no more of it: close, abort or drop.
    pub(crate) stopping: bool,
    pub(crate) was_open: bool,
    /// Since when the session is open that is counted as one that lasts.
    pub(crate) counted: Option<Instant>,
    pub(crate) upgraded: bool,
    pub(crate) finished: bool,
    /// A new session may take the place of one that ended.
    may_return: bool,
    /// It waits for the application to read, which must not wait for it in turn.
    pub(crate) is_held: bool,
    /// Why the last session ended.
    pub(crate) reason: Option<DisconnectReason>,
    pub(crate) error: Option<Error>,
}

/// Without messages and ids, which do not belong into a log.
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

/// The time, of the runtime's clock, which tests can hold.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Shared {
    pub(crate) fn new(session: Session, handlers: &Handlers, settings: &Settings) -> Arc<Self> {
        let leftover_limit = settings.session.inbox_limit;
        Arc::new(Self {
            state: Mutex::new(State {
                session,
                leftover: VecDeque::new(),
                leftover_bytes: 0,
                leftover_limit,
                life: handlers.need_life().then(VecDeque::new),
                driver: None,
                reader: None,
                watcher: None,
                flusher: None,
                life_reader: None,
                is_handled: handlers.take_messages(),
                stopping: false,
                was_open: false,
                counted: None,
                upgraded: false,
                finished: false,
                may_return: settings.reconnect.is_some(),
                is_held: false,
                reason: None,
                error: None,
            }),
            room: Notify::new(),
            away: Notify::new(),
            phase: watch::Sender::new(Phase::Connecting),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn try_send(&self, message: Message) -> Result<(), SendError> {
        let bytes = message.len();
        let mut state = self.lock();
        // A session that is only being opened may not come about, and would take along what it was given. Before the
        // first one nobody has anything to send by.
        if state.was_open && state.session.opened().is_none() {
            return Err(SendError::Closed(message));
        }
        state.session.send(message)?;
        state.wake_driver();
        meter::sent(bytes);
        Ok(())
    }

    /// The last session is over, or the handlers have returned as well, which may be known first where they run in another
    /// thread.
    pub(crate) fn end(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let is_news = *now != Phase::Done;
            if is_news {
                *now = phase;
            }
            is_news
        });
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
        self.away.notify_waiters();
        self.room.notify_waiters();
    }

    /// The next event for the handler of messages; `None` after the last one.
    pub(crate) fn poll_event(&self, cx: &Context<'_>) -> Poll<Option<Event>> {
        let mut state = self.lock();
        let event = state.poll_event(cx);
        let has_read = state.session.closed().is_some() && matches!(event, Poll::Ready(Some(_)));
        drop(state);
        if has_read {
            self.away.notify_waiters();
        }
        event
    }

    /// The next event for the stream, which has nothing but an end where a handler takes the messages.
    pub(crate) fn poll_stream(&self, cx: &Context<'_>) -> Poll<Option<Event>> {
        let mut state = self.lock();
        if !state.is_handled {
            drop(state);
            return self.poll_event(cx);
        }
        if state.finished {
            return Poll::Ready(None);
        }
        state.watcher = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The next opening or end, where no handler takes messages.
    pub(crate) fn poll_life(&self, cx: &Context<'_>) -> Poll<Option<Event>> {
        let mut state = self.lock();
        match state.life.as_mut().and_then(VecDeque::pop_front) {
            Some(event) => Poll::Ready(Some(event)),
            None if state.finished => Poll::Ready(None),
            None => {
                state.life_reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Wakes everybody who waits for the application's side.
    pub(crate) fn wake_application(&self) {
        let mut state = self.lock();
        let wakers = [
            state.reader.take(),
            state.watcher.take(),
            state.flusher.take(),
            state.life_reader.take(),
        ];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
        self.room.notify_waiters();
    }
}

impl State {
    pub(crate) fn wake_driver(&self) {
        if let Some(driver) = &self.driver {
            driver.wake_by_ref();
        }
    }

    /// Whether the session that ended, if it did, may not have been the last.
    pub(crate) const fn is_coming_back(&self) -> bool {
        self.may_return && !self.stopping && !self.finished && !self.is_held
    }

    /// Whether there is room for what another session brings, beside what nobody has read yet.
    pub(crate) const fn has_room_to_return(&self) -> bool {
        self.leftover_bytes <= self.leftover_limit && self.session.wants_input()
    }

    fn take_event(&mut self) -> Option<Event> {
        if let Some(event) = self.leftover.pop_front() {
            self.leftover_bytes -= cost(&event);
            return Some(event);
        }
        // During an upgrade it wants input in any case, and the room may be for a poll.
        let was_full = !self.session.wants_input() || self.session.is_upgrading();
        let event = self.session.take_event();
        if was_full && self.session.wants_input() {
            self.wake_driver();
        }
        event
    }

    fn poll_event(&mut self, cx: &Context<'_>) -> Poll<Option<Event>> {
        if let Some(event) = self.take_event() {
            if let Event::Message(message) = &event {
                meter::received(message.len());
            }
            return Poll::Ready(Some(event));
        }
        if self.finished {
            return Poll::Ready(None);
        }
        self.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Puts a new session in the place of the one that ended, of which nothing received is lost.
    pub(crate) fn replace(&mut self, session: Session) {
        while let Some(event) = self.session.take_event() {
            // Who reads a stream has no use for the others.
            if self.is_handled || matches!(event, Event::Message(_)) {
                self.leftover_bytes += cost(&event);
                self.leftover.push_back(event);
            }
        }
        self.session = session;
        self.upgraded = false;
        if !self.was_open {
            // Another transport is tried; that the one before did not do is no end of a session.
            (self.reason, self.error) = (None, None);
        }
        if self.stopping {
            // It was asked for between the two sessions.
            self.session.abort(DisconnectReason::Client);
        }
    }
}

/// What an event costs while nobody has taken it.
fn cost(event: &Event) -> usize {
    let bytes = match event {
        Event::Message(message) => message.len(),
        _ => 0,
    };
    bytes + engineio_core::Config::PACKET_OVERHEAD
}
