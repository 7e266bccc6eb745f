//! Writes a broadcast to many clients without waking a task for each.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

use crate::session::{Session, give_way, now};
use crate::sync;

/// The clients that are written to in one turn, half a millisecond of work, before other tasks run.
const TURN: usize = 128;

/// Writes the frames that were left for later to these clients.
///
/// A few tasks do that, as many as the runtime of the clients has threads, since most of the time is spent in the kernel.
pub(super) fn deliver(runtime: &Handle, sessions: Vec<Arc<Session>>) {
    let tasks = sessions.len().div_ceil(TURN);
    let tasks = tasks.min(runtime.metrics().num_workers());
    let each = sessions.len().div_ceil(tasks.max(1));
    let mut sessions = sessions.into_iter();
    for _ in 0..tasks {
        let part: Vec<_> = sessions.by_ref().take(each).collect();
        sync::spawn(runtime, Delivery(part.into_iter()));
    }
}

/// The clients that a task has still to write to. If it is dropped with its runtime, their tasks do it.
struct Delivery(std::vec::IntoIter<Arc<Session>>);

impl Future for Delivery {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let now = now();
        for session in self.0.by_ref().take(TURN) {
            session.write_directly(now);
        }
        if self.0.len() == 0 {
            return Poll::Ready(());
        }
        give_way(cx);
        Poll::Pending
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        for session in self.0.by_ref() {
            session.write_by_task();
        }
    }
}
