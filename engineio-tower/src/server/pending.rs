//! The work that a shutdown waits for.

use std::sync::Arc;

use tokio::sync::Notify;

use super::ServerInner;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// Counts the work that is pending.
#[derive(Default)]
pub(super) struct Pending {
    count: AtomicUsize,
    idle: Notify,
}

impl Pending {
    /// Waits until no work is pending.
    pub(super) async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.count.load(Ordering::Acquire) == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// Work that a shutdown waits for until this is dropped: a client whose `on_disconnect` has not returned, a WebSocket
/// whose close handshake is not over, or a handler that runs for neither.
pub(crate) struct PendingWork(Arc<ServerInner>);

impl PendingWork {
    pub(crate) fn begin(server: &Arc<ServerInner>) -> Self {
        server.pending.count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(server))
    }
}

impl Drop for PendingWork {
    fn drop(&mut self) {
        let pending = &self.0.pending;
        if pending.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            pending.idle.notify_waiters();
        }
    }
}

impl std::fmt::Debug for PendingWork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PendingWork")
    }
}
