//! The sending of messages, and the reasons why one is not queued.

use super::Session;
use super::state::State;
use crate::{Message, SendError, SendOptions, Transport};

impl Session {
    /// Sets the transport over which the session will begin, which determines the messages that may be sent before it
    /// is accepted. Default: polling.
    pub const fn begins_over(&mut self, transport: Transport) {
        self.machine.begins_over = transport;
    }

    /// Queues a message for the client.
    ///
    /// # Errors
    ///
    /// Returns the message as [`SendError::Full`] if the outbox has no room for it, as [`SendError::Closed`] if the session
    /// is closing or closed, or as [`SendError::Separator`] if it is a text with U+001E that may leave by polling.
    pub fn send(&mut self, message: Message) -> Result<(), SendError> {
        self.send_with(message, SendOptions::new())
    }

    /// Queues a message for the client, with per-message options.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    #[inline]
    pub fn send_with(&mut self, message: Message, options: SendOptions) -> Result<(), SendError> {
        if let Err(error) = self.admit(std::slice::from_ref(&message)) {
            return Err(error.with(message));
        }
        self.machine.outbox.push(message, options.compress);
        self.state.flush(&mut self.machine);
        Ok(())
    }

    /// Queues several messages, all of them or none; no other message comes between them.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), with all messages handed back, and [`SendError::TooLarge`] if there are several and they
    /// exceed [`Config::outbox_limit`](crate::Config::outbox_limit) together. A single one is treated as by `send`.
    pub fn send_many(&mut self, messages: Vec<Message>) -> Result<(), SendError<Vec<Message>>> {
        if let Err(error) = self.admit(&messages) {
            return Err(error.with(messages));
        }
        for message in messages {
            self.machine.outbox.push(message, true);
        }
        self.state.flush(&mut self.machine);
        Ok(())
    }

    /// Checks that all these messages may be queued now, together.
    #[inline]
    fn admit(&mut self, messages: &[Message]) -> Result<(), SendError<()>> {
        let by_polling = match &self.state {
            State::Opening => self.machine.begins_over == Transport::Polling,
            State::Open(link) => link.transport() == Transport::Polling,
            State::Closing(..) | State::Closed(_) => return Err(SendError::Closed(())),
        };
        let machine = &mut self.machine;
        let may_split = by_polling && machine.coding.separates_packets();
        let refuse_separator = may_split && !machine.config.allow_separator;
        let limits = machine.limits();
        let admitted = machine.outbox.admit(messages, refuse_separator, limits);
        if let Err(SendError::Full(())) = admitted {
            machine.heartbeat.silence.on_refused();
        }
        admitted
    }
}
