//! The session as seen by the task of its link: frames in, frames out, and when to sleep.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant;

use engineio_core as proto;
use engineio_core::server::Input;
use engineio_core::{DisconnectReason, Frame, LinkId, Refusal, Transport};

use super::direct::{Direct, TryWrite};
use super::waiter::{Signal, WaiterId};
use super::{Session, now};

/// The state in which the task of a link wants to sleep.
pub(crate) struct Progress {
    /// The connection takes no more bytes for now.
    pub(crate) write_blocked: bool,
    /// There was room for everything that was read.
    pub(crate) wants_input: bool,
    /// A handler is running, which wakes the task itself.
    pub(crate) pumping: bool,
}

/// The next bytes for a link.
pub(crate) enum Outgoing {
    /// The rest of frames that were written in part while the task slept.
    Rest(Vec<u8>),
    Frame(Frame),
}

/// The next step of the task of a link.
pub(crate) enum Park {
    /// Sleep; the task will be woken.
    Asleep,
    /// Something has come up; run again.
    Again,
    Close(DisconnectReason),
}

impl Session {
    /// Opens a link for an upgrade. `base64` is the wish of its request to have binary data as text.
    pub(crate) fn open_link(
        self: &Arc<Self>,
        transport: Transport,
        base64: bool,
    ) -> Result<LinkId, Refusal> {
        self.change(|state| {
            // The watcher of the deadlines may come round late.
            state.machine.handle_input(now(), Input::Timeout);
            state.machine.may_upgrade(transport)?;
            let id = state.machine.next_link();
            state.enter(WaiterId::Link(id));
            state.machine.handle_input(
                now(),
                Input::LinkOpened {
                    id,
                    transport,
                    base64,
                },
            );
            Ok(id)
        })
    }

    /// Makes the task of this link run the handlers from now on.
    ///
    /// Others may write to the `connection` while the task sleeps.
    ///
    /// Fails for a second link of the session, which is to be closed without taking the handlers from the first one.
    pub(crate) fn start_driver(
        &self,
        id: LinkId,
        connection: Option<Arc<dyn TryWrite>>,
    ) -> Result<(), DisconnectReason> {
        let mut state = self.lock();
        let waiter = state.waiter(WaiterId::Link(id));
        if let Some(reason) = waiter.and_then(|waiter| waiter.close_signal()) {
            return Err(reason);
        }
        state.driver = Some(id);
        if let Some(connection) = connection {
            state.direct = Some(Box::new(Direct::new(id, connection)));
        }
        Ok(())
    }

    /// Passes on everything that has been read, under one lock. Returns whether more input is wanted.
    ///
    /// The task of the link is awake then, and checks for itself what there is to do until it [parks](Self::park).
    /// `read` runs under the lock: it must not call code of the application, such as a log subscriber.
    pub(crate) fn feed(
        self: &Arc<Self>,
        id: LinkId,
        now: Instant,
        mut read: impl FnMut() -> Option<Input>,
    ) -> bool {
        self.change(|state| {
            state.stay_awake(id);
            loop {
                if !state.machine.wants_input() {
                    return false;
                }
                match read() {
                    Some(input) => state.machine.handle_input(now, input),
                    None => return true,
                }
            }
        })
    }

    /// Takes the next frames for a link, under one lock, until `take` has enough of them: what has left the outbox
    /// and cannot be written yet stays small. Returns whether there may be more.
    pub(crate) fn take_frames(
        self: &Arc<Self>,
        id: LinkId,
        now: Instant,
        mut take: impl FnMut(Outgoing, &proto::server::Session) -> bool,
    ) -> bool {
        self.change(|state| {
            state.stay_awake(id);
            let mut rest = state.direct.as_mut().and_then(|direct| direct.take_rest());
            // One call of `take`, so that it is compiled into this loop.
            while let Some(outgoing) = match rest.take() {
                Some(rest) => Some(Outgoing::Rest(rest)),
                None => state.machine.take_frame(now, id).map(Outgoing::Frame),
            } {
                if !take(outgoing, &state.machine) {
                    return true;
                }
            }
            false
        })
    }

    /// Lets the task of a link sleep until there is more to do, unless something has come up meanwhile.
    ///
    /// A `waker` is a clone of that of the task. Without one, it is made if it is needed.
    pub(crate) fn park(
        &self,
        id: LinkId,
        progress: Progress,
        cx: &Context<'_>,
        mut waker: Option<Waker>,
    ) -> Park {
        let mut state = self.lock();
        let events = !progress.pumping && !state.pumping && state.has_events();
        let waiting_for_inbox = !progress.wants_input && !state.machine.wants_input();
        let Some(waiter) = state.waiter(WaiterId::Link(id)) else {
            return Park::Asleep;
        };
        match waiter.take_signal() {
            Some(Signal::Close(reason)) => return Park::Close(reason),
            // A connection that takes nothing wakes the task itself when it does.
            Some(_) if !progress.write_blocked => return Park::Again,
            _ => {}
        }
        if events || (!progress.wants_input && !waiting_for_inbox) {
            return Park::Again;
        }
        if waker.is_some() {
            waiter.sleep(&mut waker);
        } else if !waiter.sleep_again(cx) {
            // The clone may be the application's code, as the `Drop` may.
            drop(state);
            return self.park(id, progress, cx, Some(cx.waker().clone()));
        }
        state.waiting_for_inbox = waiting_for_inbox;
        if let Some(direct) = &mut state.direct {
            direct.flushed = !progress.write_blocked;
        }
        drop(state);
        drop(waker);
        Park::Asleep
    }
}
