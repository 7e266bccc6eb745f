//! The deadlines of all sessions of a server, watched by one task.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use engineio_core::Sid;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::server::ServerInner;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};

/// The pause of the watcher after it has woken sessions. A lone deadline is met at once; those of a crowd are met
/// together (a batch), so that thousands of pings a second cost fifty wake-ups of the thread and not thousands.
const REST: Duration = Duration::from_millis(20);

/// A heap of (deadline, session id).
///
/// An idle session costs 64 bytes here and no task. Entries are never removed early: one that fires before its
/// session's deadline has come is put back at the right time, so a deadline that moves away costs nothing. Compared
/// with `tokio_util::time::DelayQueue`, an entry can be added outside a runtime (a session may be closed from a plain
/// thread), needs no key to be kept, and is found to be stale without being told.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    heap: Mutex<BinaryHeap<Reverse<(Instant, Sid)>>>,
    earlier: Notify,
    watched: AtomicBool,
}

impl Deadlines {
    /// Has the watcher look at the session at that time.
    pub(crate) fn add(&self, at: Instant, sid: Sid) {
        let mut heap = self.heap.lock().unwrap_or_else(PoisonError::into_inner);
        let first = heap.peek().is_none_or(|Reverse((first, _))| at < *first);
        heap.push(Reverse((at, sid)));
        drop(heap);
        if first {
            self.earlier.notify_one();
        }
    }

    /// Starts the watcher's task, unless it is running or the caller has no runtime.
    pub(crate) fn watch(self: &Arc<Self>, server: &Arc<ServerInner>) {
        if self.watched.load(Ordering::Relaxed) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if !self.watched.swap(true, Ordering::AcqRel) {
            let watcher = Watcher(Arc::clone(self));
            crate::sync::spawn(&runtime, watcher.run(Arc::downgrade(server)));
        }
    }

    /// Ends the task of a server that is gone.
    pub(crate) fn stop(&self) {
        self.earlier.notify_one();
    }

    fn pop_due(&self, now: Instant) -> Result<Sid, Option<Instant>> {
        let mut heap = self.heap.lock().unwrap_or_else(PoisonError::into_inner);
        match heap.peek() {
            Some(Reverse((at, sid))) if *at <= now => {
                let sid = *sid;
                heap.pop();
                if heap.capacity() > 1024 && heap.len() * 4 < heap.capacity() {
                    heap.shrink_to_fit();
                }
                Ok(sid)
            }
            next => Err(next.map(|Reverse((at, _))| *at)),
        }
    }
}

/// The running task. A runtime that is shut down drops it, and the next request starts another one elsewhere.
struct Watcher(Arc<Deadlines>);

impl Watcher {
    async fn run(self, server: Weak<ServerInner>) {
        let mut rested = tokio::time::Instant::now().into_std();
        loop {
            let now = tokio::time::Instant::now().into_std();
            match self.0.pop_due(now) {
                Ok(sid) => {
                    let Some(server) = server.upgrade() else {
                        return;
                    };
                    rested = now + REST;
                    // Thousands may be due at once; requests want the thread too.
                    tokio::task::consume_budget().await;
                    if let Some(session) = server.registry.get(&sid) {
                        session.on_deadline(now);
                    }
                }
                Err(next) => {
                    if server.strong_count() == 0 {
                        return;
                    }
                    let earlier = self.0.earlier.notified();
                    match next {
                        Some(at) => {
                            let at = at.max(rested);
                            let _ = tokio::time::timeout_at(at.into(), earlier).await;
                        }
                        None => earlier.await,
                    }
                }
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.watched.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::Request;
    use http_body_util::Empty;
    use tokio::time::{Instant, sleep_until};
    use tower::ServiceExt;

    use crate::{EngineIoService, Server};

    #[tokio::test(start_paused = true)]
    async fn clients_that_came_and_went_are_forgotten_however_long_the_heartbeat_takes() {
        let day = Duration::from_secs(24 * 60 * 60);
        let server = Server::builder().ping_interval(day).build();
        for _ in 0..100 {
            let request = Request::get("/engine.io/?EIO=4&transport=polling");
            let request = request.body(Empty::<Bytes>::new()).unwrap();
            let service = EngineIoService::new(server.clone());
            service.oneshot(request).await.unwrap();
        }
        let sockets = server.sockets();
        for socket in &sockets[1..] {
            socket.abort();
        }
        let start = Instant::now();
        sleep_until(start + Duration::from_secs(5 * 60)).await;
        assert_eq!(server.inner().deadlines.heap.lock().unwrap().len(), 1);
        // The one that stayed has its heartbeat.
        sleep_until(start + day + Duration::from_secs(60)).await;
        assert!(server.is_empty());
    }
}
