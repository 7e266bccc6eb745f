//! The deadlines of all sessions of a server, watched by one task for each runtime.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use engineio_core::Sid;
use engineio_core::driver::catch_panic;
use tokio::runtime::{self, Handle};
use tokio::sync::Notify;

use crate::server::ServerInner;
use crate::server::inner::NoRuntime;
use crate::session::direct::Leave;
use crate::sync::{Mutex, RwLock, RwLockWriteGuard};

/// The pause of 20 ms of the watcher after it has woken sessions. A single deadline is handled at once; many are handled
/// together (a batch), so that thousands of pings a second cost fifty wake-ups of the thread and not thousands.
const REST: Duration = Duration::from_millis(20);

/// The time after which an overdue deadline shows that the runtime of the leading watcher is blocked. It is longer than
/// the tasks of a loaded runtime wait for their turn, and short against any heartbeat.
const PATIENCE: Duration = Duration::from_millis(100);

/// The maximum number of deadlines handled in one turn of the watcher, some milliseconds of work, before other tasks
/// run.
///
/// A broadcast wakes the task of every client, and the watcher has one turn in the time in which all of them have theirs: a
/// second with 100,000 clients, of which 4,000 are to be pinged in each second.
const TURN: u32 = 4_096;

/// The deadlines of one turn whose pings are written at once, half a millisecond of work. For the others tasks are woken.
const AT_ONCE: u32 = 128;

/// A heap of (deadline, session id).
///
/// An idle session costs 72 bytes here and no task. Entries are never removed early: one that fires before its
/// session's deadline has come is put back at the right time, so a deadline that moves away costs nothing. Compared
/// with `tokio_util::time::DelayQueue`, an entry can be added outside a runtime (a session may be closed from a plain
/// thread), needs no key to be kept, and is found to be stale without being told.
///
/// Each runtime that serves requests has a watcher, because any of them may block or end: in actix-web each worker has
/// one. The first of the list leads and handles the deadlines. The others look only at those that are overdue by
/// [`PATIENCE`], and the one that finds such a deadline leads from then on.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    heap: Mutex<BinaryHeap<Reverse<(Instant, Sid)>>>,
    /// Notified when the first deadline comes nearer, and when the leader changes.
    changed: Notify,
    watchers: RwLock<Vec<Handle>>,
}

impl Deadlines {
    /// Has the watcher look at the session at that time.
    pub(crate) fn add(&self, at: Instant, sid: Sid) {
        let mut heap = self.heap.lock().unwrap_or_else(PoisonError::into_inner);
        let first = heap.peek().is_none_or(|Reverse((first, _))| at < *first);
        heap.push(Reverse((at, sid)));
        drop(heap);
        if first {
            self.changed.notify_waiters();
        }
    }

    /// Starts the watcher of the caller's runtime, unless it is running.
    ///
    /// Fails if the caller has no runtime, or one without time, on which a watcher could not wait.
    pub(crate) fn watch(self: &Arc<Self>, server: &Arc<ServerInner>) -> Result<(), NoRuntime> {
        let runtime = Handle::try_current().map_err(|_| NoRuntime::None)?;
        let id = runtime.id();
        let watchers = self.watchers.read().unwrap_or_else(PoisonError::into_inner);
        let watched = watchers.iter().any(|watcher| watcher.id() == id);
        drop(watchers);
        if watched {
            return Ok(());
        }
        if catch_panic(|| tokio::time::sleep(Duration::ZERO)).is_err() {
            return Err(NoRuntime::WithoutTime);
        }
        let mut watchers = self.lock_watchers();
        if watchers.iter().any(|watcher| watcher.id() == id) {
            return Ok(());
        }
        watchers.push(runtime.clone());
        drop(watchers);
        let watcher = Watcher {
            deadlines: Arc::clone(self),
            runtime: id,
        };
        crate::sync::spawn(&runtime, watcher.run(Arc::downgrade(server)));
        Ok(())
    }

    /// Returns the runtime whose watcher leads. `None` if all runtimes that served requests have ended.
    pub(crate) fn runtime(&self) -> Option<Handle> {
        let watchers = self.watchers.read().unwrap_or_else(PoisonError::into_inner);
        watchers.first().cloned()
    }

    /// Ends the tasks of a server that is gone.
    pub(crate) fn stop(&self) {
        self.changed.notify_waiters();
    }

    fn pop_due(&self, now: Instant, late: Duration) -> Result<Sid, Option<Instant>> {
        let mut heap = self.heap.lock().unwrap_or_else(PoisonError::into_inner);
        match heap.peek() {
            Some(Reverse((at, sid))) if *at + late <= now => {
                let sid = *sid;
                heap.pop();
                if heap.capacity() > 1024 && heap.len() * 4 < heap.capacity() {
                    heap.shrink_to_fit();
                }
                Ok(sid)
            }
            next => Err(next.map(|Reverse((at, _))| *at + late)),
        }
    }

    fn lock_watchers(&self) -> RwLockWriteGuard<'_, Vec<Handle>> {
        self.watchers
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running task of one runtime. A runtime that is shut down drops it, and another watcher leads.
struct Watcher {
    deadlines: Arc<Deadlines>,
    runtime: runtime::Id,
}

impl Watcher {
    async fn run(self, server: Weak<ServerInner>) {
        let mut rested = tokio::time::Instant::now().into_std();
        let mut met = 0_u32;
        loop {
            // Before the look: from here on it misses no notification.
            let changed = self.deadlines.changed.notified();
            let now = tokio::time::Instant::now().into_std();
            let leads = self.leads();
            let late = if leads { Duration::ZERO } else { PATIENCE };
            match self.deadlines.pop_due(now, late) {
                Ok(sid) => {
                    let Some(server) = server.upgrade() else {
                        return;
                    };
                    if !leads {
                        self.lead();
                    }
                    rested = now + REST;
                    met += 1;
                    if met == TURN {
                        met = 0;
                        // More may be due at once; requests want the thread too.
                        tokio::task::yield_now().await;
                    }
                    if let Some(session) = server.registry.get(&sid) {
                        // A ping is written from here as long as that takes little of the turn.
                        let leave = match met <= AT_ONCE {
                            true => Leave::AtOnce(now),
                            false => Leave::ByTask,
                        };
                        session.on_deadline(now, leave);
                    }
                }
                Err(next) => {
                    if server.strong_count() == 0 {
                        return;
                    }
                    met = 0;
                    match next {
                        Some(at) => {
                            let at = at.max(rested);
                            let _ = tokio::time::timeout_at(at.into(), changed).await;
                        }
                        None => changed.await,
                    }
                }
            }
        }
    }

    fn leads(&self) -> bool {
        let watchers = self.deadlines.watchers.read();
        let watchers = watchers.unwrap_or_else(PoisonError::into_inner);
        watchers
            .first()
            .is_some_and(|first| first.id() == self.runtime)
    }

    fn lead(&self) {
        tracing::debug!(target: "engineio::session", "the runtime that watched the deadlines is blocked; another one goes on");
        let mut watchers = self.deadlines.lock_watchers();
        if let Some(place) = watchers
            .iter()
            .position(|watcher| watcher.id() == self.runtime)
        {
            watchers.swap(0, place);
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.deadlines
            .lock_watchers()
            .retain(|watcher| watcher.id() != self.runtime);
        self.deadlines.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Poll;
    use std::time::Duration;

    use bytes::Bytes;
    use http::Request;
    use http_body_util::{BodyExt, Empty};
    use tokio::time::{Instant, sleep_until};
    use tower::ServiceExt;

    use crate::{EngineIoService, Server};

    async fn connect(server: &Server, clients: usize) {
        for _ in 0..clients {
            let request = Request::get("/engine.io/?EIO=4&transport=polling");
            let request = request.body(Empty::<Bytes>::new()).unwrap();
            let service = EngineIoService::new(server.clone());
            let response = service.oneshot(request).await.unwrap();
            response.into_body().collect().await.unwrap();
        }
    }

    /// A broadcast to all clients makes each task wait for all others, and the watcher is one of them.
    #[tokio::test(start_paused = true)]
    async fn the_deadlines_of_a_crowd_are_met_in_few_turns_of_a_busy_runtime() {
        let server = Server::builder().build();
        connect(&server, 3_000).await;
        // As often as each task of the runtime has its turn.
        let turns = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&turns);
        tokio::spawn(poll_fn(move |cx| {
            count.fetch_add(1, Ordering::Relaxed);
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        // Interval and timeout. Without a poll nobody has taken the ping.
        for wait in [26, 21] {
            tokio::time::advance(Duration::from_secs(wait)).await;
            turns.store(0, Ordering::Relaxed);
            while turns.load(Ordering::Relaxed) < 100 && !server.is_empty() {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(server.sockets().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_came_and_went_are_forgotten_however_long_the_heartbeat_takes() {
        let day = Duration::from_secs(24 * 60 * 60);
        let server = Server::builder().ping_interval(day).build();
        connect(&server, 100).await;
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
