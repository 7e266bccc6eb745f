//! The measurements of a session: its queues, its heartbeat, and its remaining time.

use std::time::{Duration, Instant};

use super::Session;
use crate::Config;

impl Session {
    /// Returns whether a message whose data has `len` bytes would be queued.
    #[must_use]
    pub fn has_room_for(&self, len: usize) -> bool {
        let cost = len.saturating_add(Config::PACKET_OVERHEAD);
        self.machine.outbox_has_room(cost)
    }

    /// Returns the round-trip time of the last heartbeat: from the moment at which the ping was taken for writing to its
    /// pong. `None` before the first pong, and in revision 3, where the client pings.
    #[must_use]
    pub const fn round_trip(&self) -> Option<Duration> {
        self.machine.round_trip
    }

    /// Returns the number of messages queued for the client.
    #[must_use]
    pub fn queued_messages(&self) -> usize {
        self.machine.outbox.len()
    }

    /// Returns the number of bytes queued for the client, including packet overhead.
    #[must_use]
    pub const fn queued_bytes(&self) -> usize {
        self.machine.outbox.bytes()
    }

    /// Returns the number of received bytes that wait for the application, including packet overhead. It exceeds
    /// [`Config::inbox_limit`] by at most one message.
    #[must_use]
    pub const fn inbox_bytes(&self) -> usize {
        self.machine.inbox.bytes()
    }

    /// Returns the deadline of a graceful [`close`](Self::close); `None` unless one has begun. It stays when the
    /// session is closed: until then, a driver may go on writing what it has taken.
    #[must_use]
    pub const fn close_deadline(&self) -> Option<Instant> {
        self.machine.close_deadline
    }
}
