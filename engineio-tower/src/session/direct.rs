//! Frames that are written from where they are sent, without waking the task of their WebSocket.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use engineio_core::{Frame, LinkId, Message};
use engineio_websocket::write_frames;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::runtime;

use super::Session;
use super::state::{Effects, State};
use super::waiter::{Signal, WaiterId};

/// The most bytes that are written directly. A kernel takes this much at once from a client that reads, and copying it
/// takes no longer than waking a task.
const MOST_BYTES: usize = 16 * 1024;

/// The writing half of a connection that whoever sends may use while the task of the connection sleeps.
pub(crate) trait TryWrite: Send + Sync {
    /// Writes as many of the bytes as the connection takes now.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;
}

impl TryWrite for OwnedWriteHalf {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        // The method of the type itself.
        Self::try_write(self, bytes)
    }
}

/// A connection of a test.
#[cfg(engineio_shuttle)]
pub(crate) type TryWriteFn = Box<dyn Fn(&[u8]) -> io::Result<usize> + Send + Sync>;

#[cfg(engineio_shuttle)]
impl TryWrite for TryWriteFn {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self(bytes)
    }
}

/// The way of frames that become due while the task of their WebSocket sleeps.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leave {
    /// The task is woken.
    ByTask,
    /// They are written by the change that has made them due.
    AtOnce(Instant),
    /// They are left for whoever has made the change, and may gather until then, if the task runs on this runtime.
    /// Another one may stand still.
    Later(runtime::Id),
}

/// The connection of a WebSocket whose task may be spared.
///
/// The task has the connection for itself from the moment at which it is awake for the session until it sleeps
/// again. It writes nothing before and after, and everybody else writes under the session's lock.
pub(super) struct Direct {
    id: LinkId,
    connection: Arc<dyn TryWrite>,
    /// The runtime of the task.
    runtime: runtime::Id,
    /// The connection has taken everything when the task went to sleep.
    pub(super) flushed: bool,
    /// The bytes that the connection did not take, which the task writes first.
    rest: Vec<u8>,
}

impl Direct {
    pub(super) fn new(id: LinkId, connection: Arc<dyn TryWrite>) -> Self {
        Self {
            id,
            connection,
            runtime: runtime::Handle::current().id(),
            flushed: false,
            rest: Vec::new(),
        }
    }

    pub(super) const fn waiter(&self) -> WaiterId {
        WaiterId::Link(self.id)
    }

    /// Takes what was left of a direct write, for the task that writes it first.
    #[inline]
    pub(super) fn take_rest(&mut self) -> Option<Vec<u8>> {
        (!self.rest.is_empty()).then(|| std::mem::take(&mut self.rest))
    }
}

impl Session {
    /// Writes the frames that were left for later, unless the task of the WebSocket is awake and does it.
    pub(crate) fn write_directly(self: &Arc<Self>, now: Instant) {
        let mut state = self.lock();
        let Some(id) = state.direct.as_ref().map(|direct| direct.id) else {
            return;
        };
        let queued_before = state.machine.queued_bytes();
        let mut effects = Effects::default();
        state.send_frames(id, Leave::AtOnce(now), &mut effects);
        let output = state.next_output();
        if output.is_some() || state.has_silent_effects() || state.machine.has_discarded() {
            state.complete(output, Leave::ByTask, &mut effects);
        }
        self.finish_change(state, queued_before, Some(effects));
    }

    /// Has the task of the WebSocket write the frames that were left for later.
    pub(crate) fn write_by_task(&self) {
        let mut effects = Effects::default();
        let mut state = self.lock();
        if let Some(id) = state.direct.as_ref().map(|direct| direct.id) {
            state.signal(WaiterId::Link(id), Signal::Ready, &mut effects);
        }
        drop(state);
        if let Some(waker) = effects.wake {
            waker.wake();
        }
    }

    /// Ends the direct writes to a link, and returns what is left of them, for the task that goes on without the session.
    pub(crate) fn take_connection(&self, id: LinkId) -> Option<Vec<u8>> {
        let mut state = self.lock();
        let direct = state.direct.take_if(|direct| direct.id == id);
        direct?.take_rest()
    }
}

impl State {
    /// Has frames that are due sent.
    pub(super) fn send_frames(&mut self, id: LinkId, leave: Leave, effects: &mut Effects) {
        let idle_on = match leave {
            Leave::ByTask => None,
            Leave::AtOnce(_) | Leave::Later(_) => self.idle_on(id),
        };
        match (leave, idle_on) {
            (Leave::AtOnce(now), Some(_)) => self.write(id, now, effects),
            // The task looks for frames if it wakes in the meantime.
            (Leave::Later(runtime), Some(own)) if runtime == own => effects.deferred = true,
            _ => self.signal(WaiterId::Link(id), Signal::Ready, effects),
        }
    }

    /// Returns the runtime of the WebSocket's task if it sleeps, everything before was written, and what is due is not
    /// much.
    fn idle_on(&mut self, id: LinkId) -> Option<runtime::Id> {
        let direct = self.direct.as_ref()?;
        let runtime = direct.runtime;
        let may_write = direct.id == id
            && direct.flushed
            && self.machine.queued_bytes() <= MOST_BYTES
            && self.waiter(WaiterId::Link(id))?.is_asleep();
        may_write.then_some(runtime)
    }

    /// Writes the frames that are due to the connection of a task that sleeps, and wakes it for the rest.
    fn write(&mut self, id: LinkId, now: Instant, effects: &mut Effects) {
        let Self {
            machine, direct, ..
        } = self;
        let Some(direct) = direct else {
            return;
        };
        let frames = std::iter::from_fn(|| {
            let frame = machine.take_frame(now, id)?;
            if let Frame::Binary(bytes) = &frame {
                // Its `Drop` may be the application's code, which must not run under the lock.
                machine.discard(Message::Binary(bytes.clone()));
            }
            Some(frame)
        });
        // An error is met again by the task.
        let write = |bytes: &[u8]| direct.connection.try_write(bytes).unwrap_or(0);
        let rest = write_frames(frames, write);
        if !rest.is_empty() {
            direct.rest = rest;
            direct.flushed = false;
            self.signal(WaiterId::Link(id), Signal::Ready, effects);
        }
    }
}
