//! One client: the protocol's machine behind a lock, and the tasks that wait for it.
//!
//! The methods of [`Session`] are grouped by caller: `turn` for the task that runs the handlers, `websocket` for the
//! WebSocket's task, `exchange` for GETs and POSTs, and `sending` for the application's handles.

pub(crate) mod closing;
mod data;
pub(crate) mod direct;
pub(crate) mod driver;
mod exchange;
pub(crate) mod handler;
mod link;
pub(crate) mod pump;
pub(crate) mod rejection;
pub(crate) mod request;
mod sending;
pub(crate) mod socket;
mod state;
mod turn;
mod wait;
mod waiter;
mod waiting;
mod websocket;

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use engineio_core as proto;
use engineio_core::driver::{Budget, SendQueue};
use engineio_core::server::{First, Input};
use engineio_core::{DisconnectReason, Revision, Sid, Transport};
use smallvec::SmallVec;

use self::data::Data;
use self::direct::Leave;
pub(crate) use self::exchange::Posted;
use self::state::{Effects, State};
pub(crate) use self::turn::{Next, give_way};
pub(crate) use self::waiter::WaiterId;
use self::waiting::{Until, Wait};
pub(crate) use self::websocket::{Outgoing, Park, Progress};
use crate::policy::admission::Permit;
use crate::server::{PendingWork, ServerInner, meter};
use crate::sync::{Mutex, MutexGuard};

/// Returns the time that is passed to the machines. Tests can pause it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The parameters of a new session, from the query of its first request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    pub(crate) transport: Transport,
    pub(crate) revision: Revision,
    pub(crate) base64: bool,
}

/// A client's session, shared by the application's handles, its requests, its WebSocket and the deadline watcher.
///
/// Code of the application (handlers, metrics recorders, log subscribers, the `Drop` of its values) never runs under
/// the lock, because it may ask for the same session: effects are collected under the lock and applied after it.
pub(crate) struct Session {
    pub(crate) server: Arc<ServerInner>,
    pub(crate) sid: Sid,
    pub(crate) revision: Revision,
    /// Binary data is sent as text, so that every transport can carry it.
    pub(crate) base64: bool,
    pub(crate) peer: Option<SocketAddr>,
    state: Mutex<State>,
    pub(crate) data: Data,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("sid", &self.sid).finish()
    }
}

impl Session {
    pub(crate) fn new(
        server: Arc<ServerInner>,
        sid: Sid,
        machine: proto::server::Session,
        opening: Opening,
        peer: Option<SocketAddr>,
        permit: Permit,
    ) -> Arc<Self> {
        Arc::new(Self {
            sid,
            revision: machine.revision(),
            server,
            base64: opening.base64,
            peer,
            state: Mutex::new(State {
                machine,
                permit: Some(permit),
                pending: None,
                waiters: SmallVec::new(),
                waiting: None,
                senders: SendQueue::default(),
                pumping: false,
                concurrent: 0,
                is_saturated: false,
                concurrent_bytes: 0,
                pending_close: None,
                events: Budget::for_events(),
                driver: None,
                direct: None,
                waiting_for_inbox: false,
                watched: None,
                accepted: None,
                counted_as: None,
            }),
            data: Data::default(),
        })
    }

    /// No handler runs under this lock, so the state is consistent even if a thread has panicked.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads from the machine.
    pub(crate) fn ask<R>(&self, question: impl FnOnce(&proto::server::Session) -> R) -> R {
        question(&self.lock().machine)
    }

    /// Returns the current transport, or the last one once the session has ended.
    pub(crate) fn transport(&self) -> Transport {
        self.lock().machine.transport()
    }

    /// Changes the machine and applies the effects.
    pub(crate) fn update<R>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut proto::server::Session) -> R,
    ) -> R {
        self.change(|state| change(&mut state.machine))
    }

    fn change<R>(self: &Arc<Self>, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let queued_before = state.machine.queued_bytes();
        let result = change(&mut state);
        let effects = state.collect_effects(Leave::ByTask);
        self.finish_change(state, queued_before, effects);
        result
    }

    /// Changes the state and applies the effects. Frames that are due leave as `leave` says; returns whether somebody
    /// has to [write](Self::write_directly) them.
    fn change_and<R>(
        self: &Arc<Self>,
        leave: Leave,
        change: impl FnOnce(&mut State) -> R,
    ) -> (R, bool) {
        let mut state = self.lock();
        let queued_before = state.machine.queued_bytes();
        let result = change(&mut state);
        let effects = state.collect_effects(leave);
        let deferred = self.finish_change(state, queued_before, effects);
        (result, deferred)
    }

    /// Ends a change: gives the lock back, and applies the effects if there are any. Returns whether frames are still to
    /// be written.
    #[inline(always)]
    fn finish_change(
        self: &Arc<Self>,
        state: MutexGuard<'_, State>,
        queued_before: usize,
        effects: Option<Effects>,
    ) -> bool {
        let queued = state.machine.queued_bytes();
        drop(state);
        meter::queued(queued_before, queued);
        match effects {
            Some(effects) => self.apply_effects(effects),
            None => false,
        }
    }

    /// Applies the effects of a change, without the lock. Returns whether frames are still to be written.
    fn apply_effects(self: &Arc<Self>, effects: Effects) -> bool {
        if let Some(at) = effects.watch {
            self.server.deadlines.add(at, self.sid);
        }
        if let Some(waker) = effects.wake {
            waker.wake();
        }
        for waker in effects.wake_more {
            waker.wake();
        }
        if let Some(transport) = effects.upgraded {
            meter::upgraded(transport);
        }
        if let Some(end) = effects.end {
            self.server.disconnected();
            meter::disconnected(end.transport, end.reason);
            meter::stayed(end.stayed);
        }
        // The session leaves the registry once the machine has finished.
        if effects.finished {
            self.server.registry.remove(self);
        }
        if effects.pump {
            self.pump_elsewhere();
        }
        // Last: a `Drop` that panics leaves nothing undone.
        drop(effects.discarded);
        effects.deferred
    }

    /// Processes the deadline that the watcher has found due.
    ///
    /// An entry of the watcher that was overtaken by an earlier one is left over. If it were followed by a new one,
    /// each heartbeat would leave one more of them, wherever the interval is shorter than the timeout.
    pub(crate) fn on_deadline(self: &Arc<Self>, now: Instant, leave: Leave) {
        self.change_and(leave, |state| {
            if state.watched.is_some_and(|watched| watched <= now) {
                state.watched = None;
                state.machine.handle_input(now, Input::Timeout);
            }
        });
    }

    /// Opens the session after the application has accepted the client: from now on there is a deadline, and
    /// `on_disconnect` will run. Returns `false`, and changes nothing, if the session was closed first.
    pub(crate) fn accept(self: &Arc<Self>, first: First, waiter: WaiterId) -> bool {
        let transport = match first {
            First::Polling(_) => Transport::Polling,
            First::Link(_, transport) => transport,
        };
        let pending = PendingWork::begin(&self.server);
        let accepted = self.change(|state| {
            if state.machine.closed().is_some() {
                return false;
            }
            // Under the lock, since the session may end as soon as it is released.
            self.server.connected();
            state.pending = Some(pending);
            if let Some(permit) = &mut state.permit {
                permit.set_connected();
            }
            state.accepted = Some(now());
            state.counted_as = Some(transport);
            state.enter(waiter);
            state.machine.handle_input(now(), Input::Accepted(first));
            true
        });
        if accepted {
            meter::connected(transport);
        }
        accepted
    }

    /// Ends the session, unless it is in the registry and not accepted yet. If it were closed then, the application
    /// would not hear of the end of a client that it has accepted; `connect` looks for a shutdown after it has accepted
    /// one.
    ///
    /// Returns whether it was accepted.
    pub(crate) fn end_if_accepted(
        self: &Arc<Self>,
        end: impl FnOnce(&mut proto::server::Session),
    ) -> bool {
        self.change(|state| {
            let accepted = state.accepted.is_some();
            if accepted {
                end(&mut state.machine);
            }
            accepted
        })
    }

    /// Ends the session of a client whose connect handler returned `Ok`, but which cannot be accepted because it was
    /// closed meanwhile or its id is taken. `on_disconnect` runs, as it does for every client that was accepted.
    pub(crate) fn accepted_in_vain(self: &Arc<Self>) {
        let pending = PendingWork::begin(&self.server);
        let claimed = self.change(|state| {
            state.machine.abort(now(), DisconnectReason::Server);
            // The machine tells of no end of what was never opened.
            state.pending_close = state.machine.closed();
            state.pending = Some(pending);
            !std::mem::replace(&mut state.pumping, true)
        });
        if claimed {
            self.pump_on(pump::Pump::default());
        }
    }

    /// Closes the session of a client that the application has refused, for handles of the socket that were kept.
    pub(crate) fn never_accepted(self: &Arc<Self>) {
        let permit = self.change(|state| {
            state.machine.abort(now(), DisconnectReason::Server);
            state.permit.take()
        });
        drop(permit);
        self.data.clear();
    }
}

#[cfg(all(test, not(engineio_shuttle), target_pointer_width = "64"))]
mod tests {
    use super::Session;

    /// Idle sessions are many. What few of them need, or not for long, belongs into a box.
    #[test]
    fn a_session_stays_small() {
        assert!(size_of::<Session>() <= 816, "{}", size_of::<Session>());
    }
}
