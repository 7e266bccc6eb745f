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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
pub(crate) struct Timers([Option<Instant>; 5]);

impl Timers {
    const ALL: [Timer; 5] = [
        Timer::Ping,
        Timer::PingTimeout,
        Timer::Upgrade,
        Timer::Noop,
        Timer::Close,
    ];

    pub(crate) const fn set(&mut self, timer: Timer, at: Instant) {
        self.0[timer as usize] = Some(at);
    }

    pub(crate) const fn stop(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    pub(crate) const fn is_set(&self, timer: Timer) -> bool {
        self.0[timer as usize].is_some()
    }

    pub(crate) fn clear(&mut self) {
        self.0 = Default::default();
    }

    /// The next deadline and what waits for it.
    pub(crate) fn next(&self) -> Option<(Instant, Timer)> {
        Self::ALL
            .into_iter()
            .filter_map(|timer| Some((self.0[timer as usize]?, timer)))
            .min_by_key(|&(at, _)| at)
    }

    /// Takes a timer that is due.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let (_, timer) = self.next().filter(|&(at, _)| at <= now)?;
        self.stop(timer);
        Some(timer)
    }
}
