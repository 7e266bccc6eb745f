//! The state of a client: its session, its phase, and the numbers of queued and lost messages.

use std::task::Waker;
use std::time::{Duration, Instant};

use engineio_core::client::{Input, Session};
use engineio_core::driver::SendQueue;
use engineio_core::{DisconnectReason, Message, Transport};

use crate::clock::{SessionClock, now};
use crate::delivery::{Delivery, Event};
use crate::disconnect::Disconnect;
use crate::wakers::Wakers;
use crate::{Error, SendError};

/// The longest timeout that a clock is asked to add.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(86_400);

/// The stage of a client as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The first session is being opened.
    Connecting,
    /// A session is open, or just ended.
    Open,
    /// The client will open another session, or is doing so.
    BetweenSessions,
    /// It would, but the application has to read messages first, which must not wait for the client in turn.
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

/// A message of the sink.
struct Held {
    message: Message,
    /// The mark in the queue of senders at which the sink took it.
    mark: u64,
}

pub(crate) struct State {
    pub(crate) session: Session,
    pub(crate) clock: SessionClock,
    pub(crate) delivery: Delivery,
    phase: Phase,
    pub(crate) wakers: Wakers,
    pub(crate) senders: SendQueue,
    driver: Option<Waker>,
    /// The application ends the client: close, abort or drop.
    pub(crate) stopping: bool,
    /// The time limit of a graceful close.
    close_timeout: Duration,
    /// The end of that time, once the close has begun.
    close_until: Option<Instant>,
    /// Another session is opened after one that ended.
    may_return: bool,
    /// The time at which the current session was opened; `None` before the driver has noticed, and after its end.
    pub(crate) open_since: Option<Instant>,
    /// The current session has moved away from polling.
    pub(crate) upgraded: bool,
    /// The error of the current session's upgrade, if that failed.
    pub(crate) upgrade_error: Option<Error>,
    /// The handler for the first opening has been called, or there is none.
    pub(crate) is_connect_handled: bool,
    /// The number of messages that were ever queued.
    queued: u64,
    /// The number of those that sessions before the current one have not sent, or may not have sent.
    pub(crate) lost: u64,
    /// All frames that were taken from the session have been written to the network, or with WebTransport, once the session is
    /// over, the server has them.
    pub(crate) is_written: bool,
    /// The messages that the last session has not sent, unless a handler gets them.
    unsent: Vec<Message>,
    /// A message that the sink has taken, and that waits for room or for the next session.
    held: Option<Held>,
    /// The position of the last message that was queued for the sink after it had to wait.
    pub(crate) sink_position: u64,
    /// Those that the sink had taken and no session would.
    pub(crate) left_over: Vec<Message>,
    /// The end of the current session has been noted, with its error.
    is_noted: bool,
    /// The reason why the last session that was open ended, or why none could be opened.
    pub(crate) reason: Option<DisconnectReason>,
    pub(crate) error: Option<Error>,
    /// A handler has panicked, perhaps after the session for whose events it was called.
    pub(crate) has_panicked: bool,
}

impl State {
    pub(crate) fn new(
        session: Session,
        delivery: Delivery,
        may_return: bool,
        close_timeout: Duration,
    ) -> Self {
        Self {
            session,
            clock: SessionClock::new(),
            delivery,
            phase: Phase::Connecting,
            wakers: Wakers::default(),
            senders: SendQueue::default(),
            driver: None,
            stopping: false,
            close_timeout: close_timeout.min(LONGEST_TIMEOUT),
            close_until: None,
            may_return,
            open_since: None,
            upgraded: false,
            upgrade_error: None,
            is_connect_handled: true,
            queued: 0,
            lost: 0,
            is_written: true,
            unsent: Vec::new(),
            held: None,
            sink_position: 0,
            left_over: Vec::new(),
            is_noted: false,
            reason: None,
            error: None,
            has_panicked: false,
        }
    }

    pub(crate) const fn phase(&self) -> Phase {
        self.phase
    }

    /// Moves on to another phase; all waiting tasks must then be woken.
    pub(crate) fn set_phase(&mut self, phase: Phase) {
        self.phase = phase;
        if phase.is_over() {
            self.give_up_held();
        }
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

    /// Returns the time of the runtime at which [`on_timeout`](Self::on_timeout) is due.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        let at = self.session.poll_timeout();
        at.map(|at| self.clock.in_runtime(at))
    }

    /// Does what is due.
    pub(crate) fn on_timeout(&mut self) {
        let session_now = self.clock.now();
        self.session.handle_input(session_now, Input::Timeout);
    }

    /// Begins a graceful close. Returns the size of the message that the sink held, if it was queued.
    pub(crate) fn close(&mut self) -> Option<usize> {
        // The application was told that it was taken, so it is sent, whether or not there is room.
        let bytes = self.held.as_ref().map(|held| held.message.len());
        let queued = self.queue_held(Session::send_beyond_limit);
        self.give_up_held();
        let session_now = self.clock.now();
        self.session.close(session_now);
        let until = now() + self.close_timeout;
        self.close_until.get_or_insert(until);
        bytes.filter(|_| matches!(queued, Some(Ok(()))))
    }

    /// Ends the session at once.
    pub(crate) fn abort(&mut self, reason: DisconnectReason) {
        self.session.abort(reason);
        self.close_until = None;
        self.give_up_held();
    }

    /// Returns the time that is left of a graceful close, or zero without one.
    pub(crate) fn close_patience(&self) -> Duration {
        let until = self.close_until;
        until.map_or(Duration::ZERO, |at| at.saturating_duration_since(now()))
    }

    /// Returns the number of messages that were ever queued: the position of the next one.
    pub(crate) const fn queued(&self) -> u64 {
        self.queued
    }

    /// Returns whether the messages before this position have left for the server: its answer to their POST is here, or
    /// their frames are written. So they have if they never will, which [`lost`](Self::lost) counts.
    pub(crate) fn has_sent(&self, position: u64) -> bool {
        if self.phase.is_over() || self.is_noted {
            return true;
        }
        let waiting = self.session.queued_messages() + self.session.messages_in_flight();
        let is_written = self.is_written || self.session.transport() == Transport::Polling;
        is_written && self.queued - waiting as u64 >= position
    }

    /// Counts the messages that were still queued when a session ended, or that the server may or may not have
    /// received.
    pub(crate) fn lost(&self) -> u64 {
        if self.session.closed().is_none() {
            return self.lost;
        }
        let is_framed = self.session.transport() != Transport::Polling;
        let in_doubt = match is_framed && !self.is_written {
            true => 1,
            false => self.session.messages_in_flight(),
        };
        self.lost + (self.session.dropped_messages() + in_doubt) as u64
    }

    /// Returns whether the session that ended, if it did, may not have been the last.
    pub(crate) const fn is_coming_back(&self) -> bool {
        self.may_return
            && !self.stopping
            && !self.phase.is_over()
            && !matches!(self.phase, Phase::WaitsForReader)
    }

    pub(crate) fn send(&mut self, message: Message) -> Result<(), SendError> {
        self.queue(message, Session::send)
    }

    fn queue(
        &mut self,
        message: Message,
        send: impl FnOnce(&mut Session, Message) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        // A session that is only being opened may not come about, and would take along what it was given. Before the
        // first one nobody has anything to send by.
        if self.phase != Phase::Connecting && self.session.opened().is_none() {
            return Err(SendError::Closed(message));
        }
        send(&mut self.session, message)?;
        self.queued += 1;
        self.wake_driver();
        Ok(())
    }

    /// Sends like [`send`](Self::send), for a caller that can wait: returns `None`, and the message in `unsent`, as
    /// long as waiting may help.
    pub(crate) fn send_when_possible(
        &mut self,
        unsent: &mut Option<Message>,
    ) -> Option<Result<(), SendError>> {
        let outcome = self.send(unsent.take()?);
        self.unless_waiting_helps(outcome, unsent)
    }

    /// Keeps a message for the sink, which takes no place in the queue of senders.
    pub(crate) fn hold(&mut self, message: Message) {
        let mark = self.senders.mark();
        self.held = Some(Held { message, mark });
    }

    /// Returns the size of the message that the sink holds.
    pub(crate) fn held_bytes(&self) -> Option<usize> {
        self.held.as_ref().map(|held| held.message.len())
    }

    /// Queues the message that the sink holds, once no sender waits for room that came before it. Those that came later may
    /// always take the room first, so that it does not wait for room if there are some. Returns `None` as long as it waits.
    pub(crate) fn send_held(&mut self) -> Option<Result<(), SendError>> {
        let Some(held) = &self.held else {
            return Some(Ok(()));
        };
        if self.session.is_open() && !self.senders.has_passed(held.mark) {
            return None;
        }
        let outcome = match self.senders.is_empty() {
            true => self.queue_held(Session::send),
            false => self.queue_held(Session::send_beyond_limit),
        };
        if self.held.is_some() && !self.session.is_open() && !self.is_coming_back() {
            self.give_up_held();
            return Some(Ok(()));
        }
        outcome
    }

    /// Queues the message that the sink holds, which it goes on to hold as long as waiting may help, or the session is over.
    fn queue_held(
        &mut self,
        send: impl FnOnce(&mut Session, Message) -> Result<(), SendError>,
    ) -> Option<Result<(), SendError>> {
        let Held { message, mark } = self.held.take()?;
        match self.queue(message, send) {
            Err(SendError::Full(message) | SendError::Closed(message)) => {
                self.held = Some(Held { message, mark });
                None
            }
            Ok(()) => {
                self.sink_position = self.queued;
                Some(Ok(()))
            }
            refused => Some(refused),
        }
    }

    /// Counts the message that the sink holds as lost, and keeps it for the application.
    fn give_up_held(&mut self) {
        if let Some(held) = self.held.take() {
            self.left_over.push(held.message);
            self.lost += 1;
        }
    }

    fn unless_waiting_helps(
        &self,
        outcome: Result<(), SendError>,
        unsent: &mut Option<Message>,
    ) -> Option<Result<(), SendError>> {
        match outcome {
            Err(SendError::Full(message)) => *unsent = Some(message),
            Err(SendError::Closed(message)) if self.is_coming_back() => *unsent = Some(message),
            outcome => return Some(outcome),
        }
        None
    }

    /// Takes the next event. The outer option is `None` if there is nothing yet, the inner one after the last event.
    pub(crate) fn take_event(&mut self) -> Option<Option<Event>> {
        // The opening is recorded before the first message is taken.
        let is_open = self.open_since.is_some();
        let (event, wake) = self
            .delivery
            .take_event(&mut self.session, is_open, &self.clock);
        if wake {
            self.wake_driver();
        }
        match event {
            None => self.phase.is_over().then_some(None),
            event => Some(event),
        }
    }

    /// Notes that the current session has ended, with the error to report, and returns the error of the one before. From now
    /// on, `disconnect_reason` and `disconnect_error` describe this end.
    pub(crate) fn note_end(&mut self, error: Option<Error>) -> Option<Error> {
        self.is_noted = true;
        // A failed attempt to come back says nothing about the end of the last session.
        self.open_since?;
        self.reason = self.session.closed();
        std::mem::replace(&mut self.error, error)
    }

    /// Returns the error of the last end. That of a handler which panicked says more than what ended the session before.
    pub(crate) fn told_error(&self) -> Option<Error> {
        match self.has_panicked {
            true => Some(Error::handler_panicked(self.error.clone())),
            false => self.error.clone(),
        }
    }

    /// Records the end of a session that was open, behind its last message. Returns the messages that the session before had
    /// not sent and that nobody has taken, to be dropped without the lock.
    #[must_use = "the `Drop` of a message may be the application's code"]
    pub(crate) fn record_end(&mut self, reason: DisconnectReason) -> Vec<Message> {
        self.delivery.carry_over(&mut self.session, &self.clock);
        if !self.is_coming_back() {
            self.give_up_held();
        }
        let mut end = Disconnect {
            reason,
            transport: self.session.transport(),
            error: self.error.clone(),
            unsent: self.session.take_unsent(),
        };
        let mut replaced = Vec::new();
        if self.delivery.takes_unsent() {
            end.unsent.append(&mut self.left_over);
        } else {
            let unsent = std::mem::take(&mut end.unsent);
            replaced = std::mem::replace(&mut self.unsent, unsent);
        }
        self.delivery.record(Event::Closed(end));
        replaced
    }

    /// Keeps the messages for the application that a handler was to get, after the handlers' end.
    pub(crate) fn take_back_unsent(&mut self) {
        self.unsent.append(&mut self.delivery.take_back_unsent());
    }

    /// Takes the messages that the last session has not sent, unless a handler gets them, and those of the one before, to be
    /// dropped without the lock.
    pub(crate) fn take_unsent(&mut self) -> (Vec<Message>, Vec<Message>) {
        let mut unsent = std::mem::take(&mut self.unsent);
        let mut replaced = Vec::new();
        let is_for_handler = self.delivery.takes_unsent() && self.open_since.is_some();
        if !is_for_handler {
            // A flush may have failed already, although the connection has not been closed yet.
            if self.session.closed().is_some() && self.open_since.is_some() {
                replaced = std::mem::replace(&mut unsent, self.session.take_unsent());
            }
            unsent.append(&mut self.left_over);
        }
        (unsent, replaced)
    }

    /// Puts a new session in the place of the one that ended, which is returned, to be dropped without the lock.
    #[must_use = "the `Drop` of its messages may be the application's code"]
    pub(crate) fn replace(&mut self, session: Session) -> Session {
        self.lost = self.lost();
        let before = std::mem::replace(&mut self.session, session);
        self.close_until = None;
        self.is_noted = false;
        self.is_written = true;
        self.upgraded = false;
        self.upgrade_error = None;
        if self.stopping {
            // It was asked for between the two sessions.
            self.session.abort(DisconnectReason::Client);
        }
        before
    }
}
