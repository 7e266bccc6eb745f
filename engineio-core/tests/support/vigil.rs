//! How long a server's session goes on without the signs of a client that the documentation of `server::Session` asks for.

use std::time::{Duration, Instant};

use engineio_core::server::Session;
use engineio_core::{Config, Packet, Revision};

/// The last signs of a client. The time during which the inbox is full does not count, and none is expected of a session
/// that is not open.
pub(crate) struct Vigil {
    revision: Revision,
    inbox_limit: usize,
    /// The time of the last check, and whether the inbox was full then.
    checked: (Instant, bool),
    /// The time at which something was taken to be written.
    taken: Instant,
    /// The time at which a heartbeat packet came.
    heartbeat: Instant,
    /// The longest time for which a client may take nothing, whatever it sends.
    untaken: Duration,
    /// The longest time for which a client may send no heartbeat packet, whatever else it does.
    silent: Duration,
}

impl Vigil {
    pub(crate) fn new(now: Instant, config: &Config, revision: Revision) -> Self {
        let longest = Duration::from_secs(10 * 24 * 60 * 60);
        let bounded = |wait: Duration| wait.clamp(Duration::from_millis(1), longest);
        let interval = bounded(config.ping_interval);
        let timeout = bounded(config.ping_timeout);
        let untaken = interval + 5 * timeout + bounded(config.upgrade_timeout);
        Self {
            revision,
            inbox_limit: config.inbox_limit,
            checked: (now, false),
            taken: now,
            heartbeat: now,
            untaken: match revision {
                Revision::V3 => untaken.max(2 * (interval + timeout)),
                _ => untaken,
            },
            silent: interval + 2 * timeout,
        }
    }

    pub(crate) const fn on_taken(&mut self, now: Instant) {
        self.taken = now;
    }

    /// The client sends this packet. In revision 4 it answers pings, in revision 3 it pings.
    pub(crate) fn on_packet(&mut self, now: Instant, packet: &Packet) {
        let is_heartbeat = match self.revision {
            Revision::V3 => matches!(packet, Packet::Ping(_)),
            _ => matches!(packet, Packet::Pong(_)),
        };
        if is_heartbeat {
            self.heartbeat = now;
        }
    }

    /// Called after every change, and whenever time has passed.
    pub(crate) fn check(&mut self, now: Instant, session: &Session) {
        if let (before, true) = self.checked {
            self.taken += now - before;
            self.heartbeat += now - before;
        }
        self.checked = (now, session.inbox_bytes() > self.inbox_limit);
        if !session.is_open() {
            self.taken = now;
            self.heartbeat = now;
        }
        assert!(now <= self.taken + self.untaken, "it takes nothing");
        assert!(now <= self.heartbeat + self.silent, "it has no heartbeat");
    }
}
