//! The heartbeat of the server ([`Heartbeat`]) and the ping timeout of both sides ([`SilenceTimer`]). The client's pings
//! and pongs are in `client::machine`.

use std::time::{Duration, Instant};

use crate::timer::{Timer, Timers, after, bounded};
use crate::{Config, Revision};

/// The server's side of the heartbeat: it pings in revision 4 and is pinged in revision 3.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    role: Role,
    pub(crate) silence: SilenceTimer,
}

#[derive(Debug)]
enum Role {
    /// Pings, and waits for a pong.
    Pinger {
        /// The time at which the last ping was due, while its pong is.
        pinged: Option<Instant>,
        /// The time at which the client took that ping. A pong that comes before answers nothing.
        taken: Option<Instant>,
        /// Another packet has already stood in for the pong once.
        excused: bool,
    },
    /// Waits to be pinged.
    Ponger {
        /// The session is closing: a ping is answered, but does not set a deadline any more.
        stopped: bool,
    },
}

/// The meaning of a heartbeat packet of the client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// Noted.
    Fine,
    /// Answer with a pong.
    Answer,
    /// The client must not send this in this revision.
    WrongDirection,
}

impl Heartbeat {
    /// Returns the heartbeat of a session that is not accepted yet.
    pub(crate) fn new() -> Self {
        Self {
            role: Role::Ponger { stopped: false },
            silence: SilenceTimer::default(),
        }
    }

    /// Starts the heartbeat of a session that was just accepted: the first ping is due after one interval, never at
    /// once.
    pub(crate) fn start(
        &mut self,
        now: Instant,
        revision: Revision,
        config: &Config,
        timers: &mut Timers,
    ) {
        match revision {
            Revision::V4 => {
                timers.set(Timer::Ping, after(now, config.ping_interval));
                self.role = Role::Pinger {
                    pinged: None,
                    taken: None,
                    excused: false,
                };
            }
            Revision::V3 => self.silence.start(now, patience(config), timers),
        }
    }

    /// Stops the timer of a session that is closing, which has a deadline of its own. A heartbeat packet that arrives
    /// later does not start it again.
    pub(crate) fn stop(&mut self, timers: &mut Timers) {
        timers.stop(Timer::Ping);
        self.silence.stop(timers);
        match &mut self.role {
            Role::Pinger { pinged, .. } => *pinged = None,
            Role::Ponger { stopped } => *stopped = true,
        }
    }

    /// Takes in that the ping timer fired and a ping must go out. The wait for a pong begins with it; if that has begun
    /// before, it goes on, and the ping is only there to be heard.
    pub(crate) fn on_ping_due(&mut self, now: Instant, config: &Config, timers: &mut Timers) {
        let Role::Pinger {
            pinged,
            taken,
            excused,
        } = &mut self.role
        else {
            return;
        };
        if pinged.replace(now).is_none() {
            *taken = None;
            *excused = false;
            self.silence
                .start(now, bounded(config.ping_timeout), timers);
        }
        timers.set(Timer::Ping, latest_ping(now, config));
    }

    /// Takes in that a ping leaves. The pong that is due answers the first one.
    pub(crate) fn on_ping_taken(&mut self, now: Instant) {
        if let Role::Pinger { taken, .. } = &mut self.role {
            taken.get_or_insert(now);
        }
    }

    /// Returns the time since the ping left, if a pong that comes now answers one.
    pub(crate) fn round_trip(&self, now: Instant) -> Option<Duration> {
        match &self.role {
            Role::Pinger {
                pinged: Some(_),
                taken: Some(taken),
                ..
            } => Some(now.saturating_duration_since(*taken)),
            _ => None,
        }
    }

    /// Handles a pong. An unsolicited one changes nothing, so that a peer cannot put pings off, nor does one to a ping
    /// that the peer has not taken: it may send pongs unseen, and read nothing.
    pub(crate) fn on_pong(&mut self, now: Instant, config: &Config, timers: &mut Timers) -> Beat {
        match &mut self.role {
            Role::Ponger { .. } => Beat::WrongDirection,
            Role::Pinger { pinged, taken, .. } => {
                if let Some(pinged) = pinged.take_if(|_| taken.is_some()) {
                    self.silence.stop(timers);
                    let next = after(now, config.ping_interval);
                    timers.set(Timer::Ping, next.min(latest_ping(pinged, config)));
                }
                Beat::Fine
            }
        }
    }

    /// Handles a ping. It is not a sign of life if the pong to the one before, `owed`, has not been taken yet: the peer
    /// may send pings and read nothing.
    pub(crate) fn on_ping(
        &mut self,
        now: Instant,
        owed: bool,
        config: &Config,
        timers: &mut Timers,
    ) -> Beat {
        match &mut self.role {
            Role::Pinger { .. } => Beat::WrongDirection,
            Role::Ponger { stopped } => {
                if !*stopped && !owed {
                    self.silence.start(now, patience(config), timers);
                }
                Beat::Answer
            }
        }
    }

    /// Takes in any other packet. The first one while a pong is outstanding restarts the wait, once for each ping: a peer
    /// whose pong stands behind a long upload is alive (the reference does so since 6.6.11).
    pub(crate) fn on_other(&mut self, now: Instant, config: &Config, timers: &mut Timers) {
        if let Role::Pinger {
            pinged: Some(_),
            excused: excused @ false,
            ..
        } = &mut self.role
        {
            *excused = true;
            self.silence
                .restart(now, bounded(config.ping_timeout), timers);
        }
    }
}

/// The time by which a driver may look late at a timer without its clients having more time for it.
const LATE: Duration = Duration::from_millis(50);

/// Returns the time from which the timeout of a ping counts that was due a while ago.
///
/// A driver that watches thousands of sessions together is some milliseconds late, and a client that has not answered
/// is gone after interval and timeout all the same. A process that was frozen for longer gives its clients their time.
pub(crate) fn ping_time(due: Instant, now: Instant, config: &Config) -> Instant {
    let late = LATE.min(config.ping_timeout / 4);
    now.checked_sub(late)
        .map_or(now, |earliest| due.max(earliest))
}

/// Returns when the ping that follows another must go out at the latest, pong or not.
///
/// A client takes the server for dead when it has heard no ping for interval and timeout together, and it knows nothing
/// of a pong that was waited for longer. With the reference, whose next ping comes an interval after the pong and never
/// before it, a client whose pong stood behind a long upload closes. Half the timeout is left for the way of the ping.
fn latest_ping(pinged: Instant, config: &Config) -> Instant {
    after(after(pinged, config.ping_interval), config.ping_timeout / 2)
}

/// Returns how long a client of revision 3 may be silent between two pings.
pub(crate) fn patience(config: &Config) -> Duration {
    bounded(config.ping_interval) + bounded(config.ping_timeout)
}

/// The ping timeout of either side, and what excuses a silent peer.
///
/// Silence counts only while the peer is listened to. While the inbox is full its transport is not read, so the timeout
/// stands still: when there is room again, as much of it is left as when the inbox became full. An inbox that is full
/// for a moment excuses nothing.
///
/// A peer that does not listen either has no excuse. If a message found no room in the outbox, and nothing was taken out
/// of it for a whole timeout, the inbox may be full because the application waits for room. The only exception is a
/// client that moves to a link: it listens to no transport until its POST is answered. Its time is counted from the
/// first attempt since it took something, so that further attempts win nothing.
#[derive(Debug, Default)]
pub(crate) struct SilenceTimer {
    /// The part that was left of the timeout when the inbox became full.
    left: Option<Duration>,
    /// The inbox is full.
    paused: bool,
    /// A message found no room in the outbox, and the peer has taken nothing since.
    refused: bool,
    /// That was so when the timeout was set, and still is.
    untaken: bool,
    /// The time until which an upgrade can excuse a peer that takes nothing.
    upgrading_until: Option<Instant>,
}

impl SilenceTimer {
    /// Sets the timeout, because a new wait for the peer begins.
    pub(crate) fn start(&mut self, now: Instant, wait: Duration, timers: &mut Timers) {
        self.untaken = self.refused;
        self.restart(now, wait, timers);
    }

    /// Sets the timeout anew within one wait.
    fn restart(&mut self, now: Instant, wait: Duration, timers: &mut Timers) {
        self.left = self.paused.then_some(wait);
        timers.set(Timer::PingTimeout, now + wait);
    }

    pub(crate) fn stop(&mut self, timers: &mut Timers) {
        self.left = None;
        timers.stop(Timer::PingTimeout);
    }

    /// Stops the timer while the inbox is full.
    pub(crate) fn pause(&mut self, now: Instant, timers: &Timers) {
        if !self.paused {
            self.paused = true;
            let end = timers.at(Timer::PingTimeout);
            self.left = end.map(|end| end.saturating_duration_since(now));
        }
    }

    pub(crate) const fn is_paused(&self) -> bool {
        self.paused
    }

    /// Continues when the inbox has room again.
    pub(crate) fn resume(&mut self, now: Instant, timers: &mut Timers) {
        self.paused = false;
        if let Some(left) = self.left.take() {
            timers.set(Timer::PingTimeout, now + left);
        }
    }

    /// Notes that a message found no room in the outbox.
    pub(crate) const fn on_refused(&mut self) {
        self.refused = true;
    }

    /// Notes that the peer takes something out of the outbox.
    pub(crate) const fn on_taken(&mut self) {
        self.refused = false;
        self.untaken = false;
        self.upgrading_until = None;
    }

    /// Notes that an upgrade begins, which is over at `end`.
    pub(crate) fn on_upgrade(&mut self, end: Instant) {
        self.upgrading_until.get_or_insert(end);
    }

    /// Returns whether nothing was taken out of a full outbox since the timeout was set.
    pub(crate) const fn is_untaken(&self) -> bool {
        self.untaken
    }

    /// Returns whether the silence is excused now that the timeout is over. Then it is looked at again after `wait`.
    pub(crate) fn excuses(&mut self, now: Instant, wait: Duration, timers: &mut Timers) -> bool {
        let upgrading = self.upgrading_until.is_some_and(|end| now < end);
        let excused = self.paused && (!self.untaken || upgrading);
        if excused {
            self.untaken = self.refused;
            // A peer that announced no time at all must not be excused over and over in one moment.
            timers.set(Timer::PingTimeout, after(now, wait));
        }
        excused
    }
}
