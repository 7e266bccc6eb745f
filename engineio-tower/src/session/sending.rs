//! What the handles of a client do: sending, and waiting for room, for the end, or for an empty outbox.

use std::sync::Arc;
use std::task::Context;

use engineio_core::{DisconnectReason, Message, SendError, SendManyError, SendOptions};

use super::{Shared, now};
use crate::meter;
use crate::options::WhenFull;

impl Shared {
    pub(crate) fn try_send(
        self: &Arc<Self>,
        message: Message,
        options: SendOptions,
    ) -> Result<(), SendError> {
        let when_full = self.server.options.when_full;
        let bytes = message.len();
        self.update(|session| match session.send_with(message, options) {
            Err(SendError::Full(message)) if when_full == WhenFull::Disconnect => {
                session.abort(now(), DisconnectReason::SlowConsumer);
                Err(SendError::Closed(message))
            }
            result => result,
        })
        .inspect(|()| meter::sent(1, bytes))
    }

    pub(crate) fn send_many(self: &Arc<Self>, messages: Vec<Message>) -> Result<(), SendManyError> {
        let when_full = self.server.options.when_full;
        let count = messages.len();
        let bytes = messages.iter().map(Message::len).sum();
        self.update(|session| match session.send_many(messages) {
            Err(SendManyError::Full(messages)) if when_full == WhenFull::Disconnect => {
                session.abort(now(), DisconnectReason::SlowConsumer);
                Err(SendManyError::Closed(messages))
            }
            result => result,
        })
        .inspect(|()| meter::sent(count, bytes))
    }

    /// Sends, or has the task woken when it is worth trying again.
    ///
    /// While the application has not accepted the client yet, nobody takes anything out of the outbox, so a full one
    /// is an error at once.
    pub(crate) fn poll_send(
        self: &Arc<Self>,
        message: Message,
        options: SendOptions,
        cx: &Context<'_>,
    ) -> Result<(), (SendError, bool)> {
        if self.server.options.when_full != WhenFull::Wait {
            let sent = self.try_send(message, options);
            return sent.map_err(|error| (error, false));
        }
        let bytes = message.len();
        self.change(|state| {
            let sent = state.session.send_with(message, options);
            sent.inspect(|()| meter::sent(1, bytes)).map_err(|error| {
                let wait = state.accepted.is_some() && matches!(error, SendError::Full(_));
                if wait {
                    state.wait(cx);
                }
                (error, wait)
            })
        })
    }

    /// Why the session is closed, or has the task woken when it may be.
    pub(crate) fn poll_closed(&self, cx: &Context<'_>) -> Option<DisconnectReason> {
        let mut state = self.lock();
        let closed = state.session.closed();
        if closed.is_none() {
            state.wait(cx);
        }
        closed
    }

    /// Whether the outbox is empty, or has the task woken when it may be.
    pub(crate) fn poll_flushed(&self, cx: &Context<'_>) -> bool {
        let mut state = self.lock();
        // Nobody takes anything before the application has accepted the client; it would wait for itself.
        let flushed = state.accepted.is_none()
            || state.session.queued_messages() == 0
            || state.session.closed().is_some();
        if !flushed {
            state.wait(cx);
        }
        flushed
    }
}
