//! The deadlines of a session.

use std::time::{Duration, Instant};

/// A timer that is due at once could fire for ever.
const SHORTEST: Duration = Duration::from_millis(1);

/// Clients wait for the sum of two announced durations, and the timers of JavaScript end after 24 days.
const LONGEST: Duration = Duration::from_secs(10 * 24 * 60 * 60);

/// What a configured duration counts as: every one is waited for, and none for ever.
pub(crate) fn bounded(wait: Duration) -> Duration {
    wait.clamp(SHORTEST, LONGEST)
}

/// When a configured duration is over.
pub(crate) fn after(now: Instant, wait: Duration) -> Instant {
    // No clock tells a time after which ten days cannot be told.
    now.checked_add(bounded(wait)).unwrap_or(now)
}

/// What a session can wait for; each may have one deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Timer {
    /// When due, a ping is sent.
    Ping,
    /// When due, the peer is taken for dead.
    PingTimeout,
    /// When due, an unfinished upgrade is given up, and so is a client's unfinished handshake.
    Upgrade,
    /// When due, a poll that waits during an upgrade is answered with a noop.
    Noop,
    /// When due, a close that the peer did not fetch is over, and so is the farewell to a client that closed.
    Close,
}

/// A table of deadlines.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    at: [Option<Instant>; 5],
    /// The earliest of them. It is asked for after every change of a session, and hardly ever another one.
    next: Option<(Instant, Timer)>,
}

impl Timers {
    const ALL: [Timer; 5] = [
        Timer::Ping,
        Timer::PingTimeout,
        Timer::Upgrade,
        Timer::Noop,
        Timer::Close,
    ];

    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        self.put(timer, Some(at));
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.put(timer, None);
    }

    fn put(&mut self, timer: Timer, at: Option<Instant>) {
        self.at[timer as usize] = at;
        self.next = Self::ALL
            .into_iter()
            .filter_map(|timer| Some((self.at[timer as usize]?, timer)))
            .min_by_key(|&(at, _)| at);
    }

    pub(crate) const fn is_set(&self, timer: Timer) -> bool {
        self.at[timer as usize].is_some()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The next deadline and what waits for it.
    pub(crate) const fn next(&self) -> Option<(Instant, Timer)> {
        self.next
    }

    /// Takes a timer that is due.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let (_, timer) = self.next().filter(|&(at, _)| at <= now)?;
        self.stop(timer);
        Some(timer)
    }
}
