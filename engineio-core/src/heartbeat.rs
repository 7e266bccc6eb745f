//! Who pings, and how long silence is borne.

use std::time::Instant;

use crate::timer::{Timer, Timers, after};
use crate::{Config, Revision};

/// The server's side of the heartbeat: it pings in revision 4 and is pinged in revision 3.
#[derive(Debug)]
pub(crate) enum Heartbeat {
    /// Pings, and waits for a pong.
    Pinger {
        /// When the last ping was due, while its pong is.
        pinged: Option<Instant>,
        /// Whether another packet has already stood in for the pong once.
        excused: bool,
    },
    /// Waits to be pinged.
    Ponger {
        /// The session is closing: a ping is answered, but does not set a deadline any more.
        stopped: bool,
    },
}

/// What a heartbeat packet of the client means.
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
    /// Starts the heartbeat of a session that was just accepted: the first ping is due after one interval, never at
    /// once.
    pub(crate) fn start(
        now: Instant,
        revision: Revision,
        config: &Config,
        timers: &mut Timers,
    ) -> Self {
        match revision {
            Revision::V4 => {
                timers.set(Timer::Ping, after(now, config.ping_interval));
                Self::Pinger {
                    pinged: None,
                    excused: false,
                }
            }
            Revision::V3 => {
                timers.set(Timer::PingTimeout, silence(now, config));
                Self::Ponger { stopped: false }
            }
        }
    }

    /// The session is closing, for which it has a deadline of its own. A heartbeat packet that is still under way must
    /// not start the heartbeat anew.
    pub(crate) fn stop(&mut self, timers: &mut Timers) {
        timers.stop(Timer::Ping);
        timers.stop(Timer::PingTimeout);
        match self {
            Self::Pinger { pinged, .. } => *pinged = None,
            Self::Ponger { stopped } => *stopped = true,
        }
    }

    /// The ping timer fired: a ping must go out now. Returns whether the wait for a pong begins with it; if that has
    /// begun before and goes on, the ping is only there to be heard.
    pub(crate) fn on_ping_due(
        &mut self,
        now: Instant,
        config: &Config,
        timers: &mut Timers,
    ) -> bool {
        let Self::Pinger { pinged, excused } = self else {
            return false;
        };
        let begins = pinged.replace(now).is_none();
        if begins {
            *excused = false;
            timers.set(Timer::PingTimeout, after(now, config.ping_timeout));
        }
        timers.set(Timer::Ping, latest_ping(now, config));
        begins
    }

    /// A pong came. One that nobody asked for changes nothing, so that a peer cannot put pings off.
    pub(crate) fn on_pong(&mut self, now: Instant, config: &Config, timers: &mut Timers) -> Beat {
        match self {
            Self::Ponger { .. } => Beat::WrongDirection,
            Self::Pinger { pinged, .. } => {
                if let Some(pinged) = pinged.take() {
                    timers.stop(Timer::PingTimeout);
                    let next = after(now, config.ping_interval);
                    timers.set(Timer::Ping, next.min(latest_ping(pinged, config)));
                }
                Beat::Fine
            }
        }
    }

    /// A ping came.
    pub(crate) fn on_ping(&self, now: Instant, config: &Config, timers: &mut Timers) -> Beat {
        match self {
            Self::Pinger { .. } => Beat::WrongDirection,
            Self::Ponger { stopped } => {
                if !stopped {
                    timers.set(Timer::PingTimeout, silence(now, config));
                }
                Beat::Answer
            }
        }
    }

    /// Any other packet came. The first one while a pong is outstanding restarts the wait, once for each ping: a peer
    /// whose pong stands behind a long upload is alive (the reference does so since 6.6.11).
    pub(crate) fn on_other(&mut self, now: Instant, config: &Config, timers: &mut Timers) {
        if let Self::Pinger {
            pinged: Some(_),
            excused: excused @ false,
        } = self
        {
            *excused = true;
            timers.set(Timer::PingTimeout, after(now, config.ping_timeout));
        }
    }
}

/// When the ping that follows another must go out at the latest, pong or not.
///
/// A client takes the server for dead when it has heard no ping for interval and timeout together, and it knows nothing
/// of a pong that was waited for longer. With the reference, whose next ping comes an interval after the pong and never
/// before it, a client whose pong stood behind a long upload closes. Half the timeout is left for the way of the ping.
fn latest_ping(pinged: Instant, config: &Config) -> Instant {
    after(after(pinged, config.ping_interval), config.ping_timeout / 2)
}

/// When a peer is taken for dead that has not pinged since `now`.
fn silence(now: Instant, config: &Config) -> Instant {
    after(after(now, config.ping_interval), config.ping_timeout)
}
