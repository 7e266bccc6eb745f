//! The queue of messages and control packets that are to be sent.

use std::collections::VecDeque;

use crate::codec::{Coding, PayloadSize};
use crate::driver::catch_panic;
use crate::{Config, Message, Packet, SendError, Text, Transport};

/// The queue of messages for one client, bounded in bytes, and the control packets, which never wait behind it.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    messages: VecDeque<Queued>,
    /// The cost of `messages`.
    bytes: usize,
    /// The open packet is still to be sent, over this transport.
    pub(crate) open: Option<Transport>,
    /// A ping is still to be sent.
    pub(crate) ping: bool,
    /// A pong is still to be sent (revision 3).
    pub(crate) pong: bool,
}

/// The bounds of an outbox and of what is taken out of it at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The maximum number of bytes that may be queued.
    pub(crate) bytes: usize,
    /// The largest payload of more than one packet, in bytes.
    pub(crate) payload: usize,
    /// The maximum number of packets in one payload.
    pub(crate) packets: usize,
}

/// A queued message.
#[derive(Debug)]
pub(crate) struct Queued {
    message: Message,
    /// It may be compressed.
    compress: bool,
}

/// Returns the cost of a message while it is queued.
pub(crate) const fn cost(message: &Message) -> usize {
    message.len() + Config::PACKET_OVERHEAD
}

impl Outbox {
    /// Returns whether a message may be queued. An empty queue takes any message, so that none is too large for ever.
    pub(crate) fn has_room(&self, bytes: usize, limits: Limits) -> bool {
        self.messages.is_empty() || self.bytes.saturating_add(bytes) <= limits.bytes
    }

    /// Checks that all these messages may be queued now, together.
    ///
    /// With `refuse_separator`, they may leave by polling, and a text must not hold the character that separates packets.
    pub(crate) fn admit(
        &self,
        messages: &[Message],
        refuse_separator: bool,
        limits: Limits,
    ) -> Result<(), SendError<()>> {
        if refuse_separator && messages.iter().any(Message::holds_separator) {
            return Err(SendError::Separator(()));
        }
        let costs = messages.iter().map(cost);
        let total = costs.fold(0, usize::saturating_add);
        // A single message is never too large, see `has_room`.
        if messages.len() > 1 && total > limits.bytes {
            return Err(SendError::TooLarge(()));
        }
        // An empty list needs none, even if a single large message has exceeded the limit.
        match messages.is_empty() || self.has_room(total, limits) {
            true => Ok(()),
            false => Err(SendError::Full(())),
        }
    }

    pub(crate) fn push(&mut self, message: Message, compress: bool) {
        self.bytes += cost(&message);
        self.messages.push_back(Queued { message, compress });
    }

    /// Takes the next message, and whether it may be compressed.
    pub(crate) fn pop(&mut self) -> Option<(Message, bool)> {
        let Queued { message, compress } = self.messages.pop_front()?;
        self.bytes -= cost(&message);
        Some((message, compress))
    }

    /// Takes the only message if it is a text, and whether it may be compressed.
    pub(crate) fn pop_only_text(&mut self) -> Option<(Text, bool)> {
        if self.messages.len() != 1 {
            return None;
        }
        let Queued {
            message: Message::Text(text),
            compress,
        } = self
            .messages
            .pop_front_if(|next| !next.message.is_binary())?
        else {
            return None;
        };
        self.bytes = 0;
        Some((text, compress))
    }

    /// Takes the longest run of messages that fits into the payload beside what it holds already; always one if the
    /// payload is empty.
    ///
    /// The run ends where messages that may be compressed and messages that may not meet. A payload is compressed as a
    /// whole, and its size would tell how much the one has in common with the other (CRIME, BREACH).
    pub(crate) fn pop_payload(&mut self, limits: Limits, into: &mut Batch) {
        while let Some(Queued { message, compress }) = self
            .messages
            .pop_front_if(|next| into.compress.is_none_or(|run| run == next.compress))
        {
            let spent = cost(&message);
            if let Err(Packet::Message(message)) = into.push(Packet::Message(message), limits) {
                self.messages.push_front(Queued { message, compress });
                break;
            }
            into.compress = Some(compress);
            self.bytes -= spent;
        }
    }

    pub(crate) fn has_messages(&self) -> bool {
        !self.messages.is_empty()
    }

    /// Returns whether a control packet is to be sent.
    pub(crate) const fn has_control(&self) -> bool {
        self.open.is_some() || self.ping || self.pong
    }

    /// Returns whether there is anything to send at all.
    pub(crate) fn is_pending(&self) -> bool {
        self.has_messages() || self.has_control()
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Frees the memory of a burst. Called once a heartbeat, so that a busy queue keeps its capacity.
    pub(crate) fn shrink(&mut self) {
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
    }

    /// Returns how many messages the allocated memory has room for.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.messages.capacity()
    }

    /// Empties the queue and returns its messages in their order. They may own memory of the application.
    pub(crate) fn take_messages(&mut self) -> Vec<Message> {
        let messages = std::mem::take(self).messages;
        messages.into_iter().map(|queued| queued.message).collect()
    }
}

/// Messages that a session is done with, to be dropped by its driver.
///
/// A message may own memory of the application (`Bytes::from_owner`), whose `Drop` is the application's code and may
/// use the same session. A driver that keeps the session behind a lock takes these with `take_discarded`
/// ([server](crate::server::Session::take_discarded), [client](crate::client::Session::take_discarded)) and drops them
/// after it has released the lock.
///
/// A panic of such a `Drop` goes no further: what the driver does next concerns the whole session.
#[derive(Debug, Default)]
#[must_use = "to be dropped without the lock of the session"]
pub struct Discarded(Vec<Packet>);

impl Discarded {
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the packets of a payload, whose list is taken over without a copy if there are no others.
    pub(crate) fn add_all(&mut self, mut packets: Vec<Packet>) {
        if self.0.is_empty() {
            self.0 = packets;
        } else {
            self.0.append(&mut packets);
        }
    }

    pub(crate) fn extend(&mut self, messages: impl Iterator<Item = Message>) {
        self.0.extend(messages.map(Packet::Message));
    }
}

impl Drop for Discarded {
    fn drop(&mut self) {
        for packet in self.0.drain(..) {
            // The panic hook has logged the details.
            let _ = catch_panic(|| drop(packet));
        }
    }
}

/// The packets of a payload that is being put together, within the limits of one poll.
#[derive(Debug)]
pub(crate) struct Batch {
    packets: Vec<Packet>,
    size: PayloadSize,
    /// Whether the messages may be compressed, if there are any.
    compress: Option<bool>,
}

impl Batch {
    pub(crate) const fn new(coding: Coding) -> Self {
        Self {
            packets: Vec::new(),
            size: coding.empty_payload(),
            compress: None,
        }
    }

    /// Adds a packet, or hands it back if it does not fit. The first one always fits, however large it is: it could
    /// never be sent otherwise.
    pub(crate) fn push(&mut self, packet: Packet, limits: Limits) -> Result<(), Packet> {
        let size = self.size.with(&packet);
        let fits = size.bytes() <= limits.payload && self.packets.len() < limits.packets;
        if !fits && !self.packets.is_empty() {
            return Err(packet);
        }
        self.size = size;
        self.packets.push(packet);
        Ok(())
    }

    /// Adds a packet that cannot wait. There are at most three of them, and they come before any message.
    pub(crate) fn push_control(&mut self, packet: Packet) {
        self.size = self.size.with(&packet);
        self.packets.push(packet);
    }

    /// Returns the packets, and whether a body that carries them may be compressed.
    pub(crate) fn into_packets(self) -> (Vec<Packet>, bool) {
        (self.packets, self.compress.unwrap_or(true))
    }
}
