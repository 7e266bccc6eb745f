//! What waits to be sent.

use std::collections::VecDeque;

use crate::codec::v4;
use crate::{Config, Message, Packet};

/// The queue of messages for one client, bounded in bytes, and the control packets, which never wait behind it.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    messages: VecDeque<Message>,
    /// The cost of `messages`.
    bytes: usize,
    /// The open packet is still to be sent.
    pub(crate) open: bool,
    /// A ping is still to be sent.
    pub(crate) ping: bool,
    /// A pong is still to be sent (revision 3).
    pub(crate) pong: bool,
}

/// What a message costs while it is queued.
pub(crate) const fn cost(message: &Message) -> usize {
    message.len() + Config::PACKET_OVERHEAD
}

/// Whether a packet may follow these in one payload; an empty payload takes any packet.
pub(crate) fn fits(packet: &Packet, packets: &[Packet], config: &Config) -> bool {
    let size: usize = packets
        .iter()
        .map(|packet| v4::encoded_len(packet) + 1)
        .sum();
    packets.is_empty()
        || (packets.len() < config.max_poll_packets
            && size + v4::encoded_len(packet) <= config.max_payload)
}

impl Outbox {
    /// Whether a message may be queued. An empty queue takes any message, so that none is too large for ever.
    pub(crate) fn has_room(&self, bytes: usize, config: &Config) -> bool {
        self.messages.is_empty() || self.bytes.saturating_add(bytes) <= config.outbox_limit
    }

    pub(crate) fn push(&mut self, message: Message) {
        self.bytes += cost(&message);
        self.messages.push_back(message);
    }

    pub(crate) fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.bytes -= cost(&message);
        Some(message)
    }

    /// Takes the longest run of messages that fits into a payload beside what it holds already; always one if the
    /// payload is empty.
    pub(crate) fn pop_payload(&mut self, config: &Config, into: &mut Vec<Packet>) {
        let mut size: usize = into.iter().map(|packet| v4::encoded_len(packet) + 1).sum();
        while into.len() < config.max_poll_packets.max(1) {
            let Some(next) = self.messages.pop_front() else {
                break;
            };
            let spent = cost(&next);
            let packet = Packet::Message(next);
            let len = v4::encoded_len(&packet);
            if size + len > config.max_payload && !into.is_empty() {
                if let Packet::Message(message) = packet {
                    self.messages.push_front(message);
                }
                break;
            }
            self.bytes -= spent;
            size += len + 1;
            into.push(packet);
        }
    }

    pub(crate) fn has_messages(&self) -> bool {
        !self.messages.is_empty()
    }

    /// Whether there is anything to send at all.
    pub(crate) fn is_pending(&self) -> bool {
        self.has_messages() || self.open || self.ping || self.pong
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives the memory of a burst back; called once a heartbeat, so that a busy queue keeps its room.
    pub(crate) fn shrink(&mut self) {
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
    }

    /// How many messages the memory that is held has room for.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.messages.capacity()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
