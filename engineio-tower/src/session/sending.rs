//! The session as seen by the application's handles: sending, and waiting for room, for the end, or for an empty
//! outbox.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use engineio_core::driver::Ticket;
use engineio_core::{DisconnectReason, Message, SendError, SendOptions};

use super::state::State;
use super::{Session, Until, Wait, now};
use crate::policy::options::WhenFull;
use crate::server::meter;

/// A sender's place in the session's queue. Dropping it hands the turn to the next sender.
pub(crate) struct QueuedSender<'a> {
    session: &'a Arc<Session>,
    ticket: Ticket,
}

impl<'a> QueuedSender<'a> {
    pub(crate) fn new(session: &'a Arc<Session>) -> Self {
        Self {
            session,
            ticket: Ticket::default(),
        }
    }
}

impl Drop for QueuedSender<'_> {
    fn drop(&mut self) {
        if self.ticket.is_queued() {
            let next = self.session.lock().senders.leave(&mut self.ticket);
            if let Some(waker) = next {
                waker.wake();
            }
        }
    }
}

impl Session {
    pub(crate) fn try_send(
        self: &Arc<Self>,
        message: Message,
        options: SendOptions,
    ) -> Result<(), SendError> {
        let when_full = self.server.options.when_full;
        let bytes = message.len();
        let sent = self.change(|state| {
            if state.has_queued_senders() {
                return Err(SendError::Full(message));
            }
            let sent = state.machine.send_with(message, options);
            if when_full == WhenFull::Disconnect
                && let Err(SendError::Full(message)) = sent
            {
                let reason = DisconnectReason::SlowConsumer;
                state.machine.abort(now(), reason);
                return Err(SendError::Closed(message));
            }
            sent
        });
        if sent.is_ok() {
            meter::sent(1, bytes);
        }
        sent
    }

    pub(crate) fn send_many(
        self: &Arc<Self>,
        messages: Vec<Message>,
    ) -> Result<(), SendError<Vec<Message>>> {
        let when_full = self.server.options.when_full;
        let count = messages.len();
        let bytes = messages.iter().map(Message::len).sum();
        self.change(|state| {
            if state.has_queued_senders() {
                return Err(SendError::Full(messages));
            }
            match state.machine.send_many(messages) {
                Err(SendError::Full(messages)) if when_full == WhenFull::Disconnect => {
                    let reason = DisconnectReason::SlowConsumer;
                    state.machine.abort(now(), reason);
                    Err(SendError::Closed(messages))
                }
                result => result,
            }
        })
        .inspect(|()| meter::sent(count, bytes))
    }

    /// Sends if the message leaves at once. Returns whether it was sent.
    pub(crate) fn send_volatile(self: &Arc<Self>, message: Message) -> bool {
        let bytes = message.len();
        // A message that is not sent is dropped here, not under the lock.
        let sent = self.change(|state| {
            if state.machine.is_ready() && !state.has_queued_senders() {
                state.machine.send(message)
            } else {
                Err(SendError::Full(message))
            }
        });
        if sent.is_ok() {
            meter::sent(1, bytes);
        }
        sent.is_ok()
    }

    /// Sends, or registers the task to be woken when it is its turn and there is room (back pressure).
    ///
    /// Until the application has accepted the client, nothing leaves the outbox, so a full one is an error at once.
    pub(crate) fn poll_send(
        self: &Arc<Self>,
        message: Message,
        options: SendOptions,
        sender: &mut QueuedSender<'_>,
        cx: &Context<'_>,
    ) -> Result<(), (SendError, bool)> {
        if self.server.options.when_full != WhenFull::Wait {
            let sent = self.try_send(message, options);
            return sent.map_err(|error| (error, false));
        }
        let bytes = message.len();
        let mut next = None;
        let sent = self.change(|state| {
            let sent = if state.machine.is_open() && !state.senders.may_send(&sender.ticket) {
                Err(SendError::Full(message))
            } else {
                state.machine.send_with(message, options)
            };
            let wait = state.accepted.is_some() && matches!(sent, Err(SendError::Full(_)));
            if wait {
                state.senders.wait(&mut sender.ticket, cx);
            } else {
                // There may be room for one more.
                next = state.senders.leave(&mut sender.ticket);
            }
            sent.map_err(|error| (error, wait))
        });
        if let Some(waker) = next {
            waker.wake();
        }
        sent.inspect(|()| meter::sent(1, bytes))
    }

    /// Waits until the session is closed, and returns the reason.
    pub(crate) async fn closed(&self) -> DisconnectReason {
        let mut wait = Wait::new(self, Until::Closed);
        poll_fn(|cx| match wait.poll(cx, |state| state.machine.closed()) {
            Some(reason) => Poll::Ready(reason),
            None => Poll::Pending,
        })
        .await
    }

    /// Waits until the outbox is empty, or the session is closed.
    pub(crate) async fn flushed(&self) {
        let mut wait = Wait::new(self, Until::Flushed);
        // Nobody takes anything before the application has accepted the client; it would wait for itself.
        let is_flushed = |state: &State| {
            state.accepted.is_none()
                || state.machine.queued_messages() == 0
                || state.machine.closed().is_some()
        };
        poll_fn(
            |cx| match wait.poll(cx, |state| is_flushed(state).then_some(())) {
                Some(()) => Poll::Ready(()),
                None => Poll::Pending,
            },
        )
        .await;
    }
}
