//! What the application's side and the driver have in common: the session, behind a lock that is never held across an
//! `await`, and who waits for what.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use engineio_core::client::{Event, Session};
use engineio_core::{DisconnectReason, Message};
use tokio::sync::{Notify, watch};

use crate::handlers::Handlers;
use crate::{Error, SendError, meter};

pub(crate) struct Shared {
    state: Mutex<State>,
    /// Woken when the outbox became shorter, and when the session is over.
    pub(crate) room: Notify,
    /// Woken when the client is to end.
    pub(crate) stopped: Notify,
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
    pub(crate) upgraded: bool,
    pub(crate) finished: bool,
    /// A new session may take the place of one that ended.
    may_return: bool,
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
    pub(crate) fn new(session: Session, handlers: &Handlers, may_return: bool) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                session,
                leftover: VecDeque::new(),
                life: handlers.need_life().then(VecDeque::new),
                driver: None,
                reader: None,
                watcher: None,
                flusher: None,
                life_reader: None,
                is_handled: handlers.take_messages(),
                stopping: false,
                was_open: false,
                upgraded: false,
                finished: false,
                may_return,
                reason: None,
                error: None,
            }),
            room: Notify::new(),
            stopped: Notify::new(),
            phase: watch::Sender::new(Phase::Connecting),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn try_send(&self, message: Message) -> Result<(), SendError> {
        let bytes = message.len();
        let mut state = self.lock();
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
        self.stopped.notify_waiters();
        self.room.notify_waiters();
    }

    /// The next event for the handler of messages; `None` after the last one.
    pub(crate) fn poll_event(&self, cx: &Context<'_>) -> Poll<Option<Event>> {
        self.lock().poll_event(cx)
    }

    /// The next event for the stream, which has nothing but an end where a handler takes the messages.
    pub(crate) fn poll_stream(&self, cx: &Context<'_>) -> Poll<Option<Event>> {
        let mut state = self.lock();
        if !state.is_handled {
            return state.poll_event(cx);
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
        self.may_return && !self.stopping && !self.finished
    }

    fn take_event(&mut self) -> Option<Event> {
        if let Some(event) = self.leftover.pop_front() {
            return Some(event);
        }
        let was_full = !self.session.wants_input();
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
            self.leftover.push_back(event);
        }
        self.session = session;
        self.upgraded = false;
        if self.stopping {
            // It was asked for between the two sessions.
            self.session.abort(DisconnectReason::Client);
        }
    }
}
