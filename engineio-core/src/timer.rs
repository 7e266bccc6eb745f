//! The deadlines of a session.

use std::time::{Duration, Instant};

/// A timer that is due at once could fire for ever.
const SHORTEST: Duration = Duration::from_millis(1);

/// Clients wait for the sum of two announced durations, and the timers of JavaScript end after 24 days.
const LONGEST: Duration = Duration::from_secs(10 * 24 * 60 * 60);

/// Clamps a configured duration so that it is neither zero nor infinite.
pub(crate) fn bounded(wait: Duration) -> Duration {
    wait.clamp(SHORTEST, LONGEST)
}

/// Returns when a configured duration is over.
pub(crate) fn after(now: Instant, wait: Duration) -> Instant {
    // A clock that is ten days before the end of its range does not exist.
    now.checked_add(bounded(wait)).unwrap_or(now)
}

/// A deadline of a session. Each is set at most once at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Timer {
    /// When due, a client abandons its unfinished handshake.
    Open,
    /// When due, a ping is sent.
    Ping,
    /// When due, the peer is considered dead.
    PingTimeout,
    /// When due, an unfinished upgrade is abandoned.
    Upgrade,
    /// When due, an upgrade goes on: a server answers the waiting poll with a noop, a client tries the next transport.
    UpgradeStep,
    /// When due, a graceful close is abandoned.
    Close,
    /// When due, a session that its peer has ended no longer waits for the last poll.
    Linger,
    /// When due, a client polls again after polls that brought no messages.
    Poll,
}

/// The table of deadlines.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    ping: Option<Instant>,
    ping_timeout: Option<Instant>,
    /// The other timers, by their number. In a box that exists only while one of them is set, because they belong to the
    /// beginning, the upgrade and the end of a session, and idle sessions are many.
    others: Option<Box<[Option<Instant>; 8]>>,
    /// The earliest deadline, which is read after every change of a session.
    next: Option<(Instant, Timer)>,
}

impl Timers {
    const ALL: [Timer; 8] = [
        Timer::Open,
        Timer::Ping,
        Timer::PingTimeout,
        Timer::Upgrade,
        Timer::UpgradeStep,
        Timer::Close,
        Timer::Linger,
        Timer::Poll,
    ];

    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        self.put(timer, Some(at));
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.put(timer, None);
    }

    fn put(&mut self, timer: Timer, at: Option<Instant>) {
        match timer {
            Timer::Ping => self.ping = at,
            Timer::PingTimeout => self.ping_timeout = at,
            other => self.put_other(other, at),
        }
        // Of timers that are due together the first one of `Timer` comes first.
        let order = |(at, timer): (Instant, Timer)| (at, timer as usize);
        match (at.map(|at| (at, timer)), self.next) {
            (Some(new), Some(next)) if order(new) <= order(next) => self.next = Some(new),
            (_, Some((_, next))) if next == timer => self.next = self.earliest(),
            (new, None) => self.next = new,
            _ => {}
        }
    }

    fn put_other(&mut self, timer: Timer, at: Option<Instant>) {
        if at.is_none() && self.others.is_none() {
            return;
        }
        let others = self.others.get_or_insert_default();
        others[timer as usize] = at;
        if others.iter().all(Option::is_none) {
            self.others = None;
        }
    }

    fn earliest(&self) -> Option<(Instant, Timer)> {
        Self::ALL
            .into_iter()
            .filter_map(|timer| Some((self.at(timer)?, timer)))
            .min_by_key(|&(at, _)| at)
    }

    /// Returns when the timer is due.
    pub(crate) const fn at(&self, timer: Timer) -> Option<Instant> {
        match (timer, &self.others) {
            (Timer::Ping, _) => self.ping,
            (Timer::PingTimeout, _) => self.ping_timeout,
            (other, Some(others)) => others[other as usize],
            (_, None) => None,
        }
    }

    pub(crate) const fn is_set(&self, timer: Timer) -> bool {
        self.at(timer).is_some()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns the next deadline and its timer.
    pub(crate) const fn next(&self) -> Option<(Instant, Timer)> {
        self.next
    }

    /// Takes a timer that is due, and the time since when it is.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<(Instant, Timer)> {
        let due = self.next().filter(|&(at, _)| at <= now)?;
        self.stop(due.1);
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Timer, Timers};

    #[test]
    fn timers_have_memory_of_their_own_only_while_one_is_set_that_is_rare() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut timers = Timers::default();
        timers.set(Timer::Ping, at(3));
        timers.set(Timer::PingTimeout, at(4));
        timers.stop(Timer::Upgrade);
        assert!(timers.others.is_none());

        timers.set(Timer::Upgrade, at(2));
        timers.set(Timer::UpgradeStep, at(1));
        assert_eq!(timers.take_due(at(4)), Some((at(1), Timer::UpgradeStep)));
        assert!(timers.others.is_some());
        assert_eq!(timers.take_due(at(4)), Some((at(2), Timer::Upgrade)));
        assert!(timers.others.is_none());
        assert_eq!(timers.take_due(at(4)), Some((at(3), Timer::Ping)));
        assert_eq!(timers.next(), Some((at(4), Timer::PingTimeout)));
    }
}
