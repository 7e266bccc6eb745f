//! The state that all handles of a server share.

use std::sync::{Arc, OnceLock, PoisonError};

use engineio_core::{Config, Sid};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::Server;
use super::deadlines::Deadlines;
use super::hook;
use super::listening::Listening;
use super::pending::Pending;
use super::registry::Registry;
use crate::forward::Forward;
use crate::http::template::Templates;
use crate::policy::admission::Admission;
use crate::policy::multiplexed::Multiplexed;
use crate::policy::options::Options;
use crate::session::handler::Handlers;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{self, Mutex, MutexGuard};

/// The reason why the server cannot run where a request came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoRuntime {
    #[error("an Engine.IO server needs a tokio runtime, and was called outside of one")]
    None,
    #[error("an Engine.IO server needs a tokio runtime with time enabled (`Builder::enable_time`)")]
    WithoutTime,
}

pub(crate) struct ServerInner {
    pub(crate) config: Arc<Config>,
    pub(crate) options: Options,
    pub(crate) templates: Templates,
    pub(crate) admission: Arc<Admission>,
    pub(crate) multiplexed: Arc<Multiplexed>,
    pub(crate) path: String,
    pub(crate) handlers: Handlers,
    pub(crate) registry: Registry,
    pub(crate) deadlines: Arc<Deadlines>,
    /// The runtime of the first request. It may have ended.
    runtime: OnceLock<Handle>,
    connected: AtomicUsize,
    pub(super) pending: Pending,
    pub(super) leaving: AtomicBool,
    /// New clients are refused, before a shutdown.
    pub(super) refusing: AtomicBool,
    /// The listeners for WebTransport.
    pub(crate) listening: Listening,
    /// Closed when the server has shut down. It has no permits.
    pub(crate) over: Semaphore,
    /// Leads to the sessions of other processes.
    pub(super) forward: OnceLock<Arc<dyn Forward>>,
    /// The tasks to abort at the end. None after it.
    background: Mutex<Option<Vec<AbortHandle>>>,
}

impl ServerInner {
    pub(super) fn new(config: Config, options: Options, path: String, handlers: Handlers) -> Self {
        let config = Arc::new(config);
        Self {
            admission: Admission::new(&options),
            multiplexed: Arc::default(),
            templates: Templates::new(&options),
            options,
            listening: Listening::new(&config),
            over: Semaphore::new(0),
            config,
            path,
            handlers,
            registry: Registry::new(),
            deadlines: Arc::default(),
            runtime: OnceLock::new(),
            connected: AtomicUsize::new(0),
            pending: Pending::default(),
            leaving: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            forward: OnceLock::new(),
            background: Mutex::new(Some(Vec::new())),
        }
    }

    /// Returns the number of connected clients.
    pub(super) fn len(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }

    /// Lets the server use the runtime of the caller, a request that opens a session, and makes sure that the deadlines
    /// are watched.
    pub(crate) fn enter_runtime(self: &Arc<Self>) -> Result<(), NoRuntime> {
        self.deadlines.watch(self)?;
        if self.runtime.get().is_none() {
            let runtime = Handle::try_current().map_err(|_| NoRuntime::None)?;
            if self.runtime.set(runtime).is_ok() {
                let server = Server::from_inner(Arc::clone(self));
                if let Some(hook) = &self.handlers.start {
                    let started = hook::call("on_start", hook, &server);
                    drop(started.map(|task| server.spawn(task)));
                }
            }
        }
        Ok(())
    }

    /// Returns the runtime of the caller. A thread that belongs to none gets one that serves requests and has not ended,
    /// if there is one.
    pub(super) fn runtime(&self) -> Option<Handle> {
        Handle::try_current()
            .ok()
            .or_else(|| self.deadlines.runtime())
            .or_else(|| self.runtime.get().cloned())
    }

    /// Runs a task that must outlive its caller. Without a runtime there has been no request, so there is nothing to
    /// run.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = self.runtime() {
            sync::spawn(&runtime, task);
        }
    }

    /// Counts a client that was accepted.
    pub(crate) fn connected(&self) {
        self.connected.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a client as gone; its `on_disconnect` may still have to run.
    pub(crate) fn disconnected(&self) {
        self.connected.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed) || self.refusing.load(Ordering::Relaxed)
    }

    pub(crate) fn forward(&self) -> Option<&dyn Forward> {
        self.forward.get().map(|forward| &**forward)
    }

    /// Returns the id that a session of this process gets: in a cluster it ends with the name of the node. `None` if that
    /// is too long.
    pub(crate) fn own_sid(&self, sid: Sid) -> Option<Sid> {
        match self.forward() {
            None => Some(sid),
            Some(forward) => format!("{sid}.{}", forward.node()).parse().ok(),
        }
    }

    pub(super) fn lock_background(&self) -> MutexGuard<'_, Option<Vec<AbortHandle>>> {
        self.background
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn end_background_tasks(&self) {
        // Not under the lock: the last handle of a task may drop what the task holds.
        let tasks = self.lock_background().take();
        for task in tasks.into_iter().flatten() {
            task.abort();
        }
    }
}

impl Drop for ServerInner {
    fn drop(&mut self) {
        self.end_background_tasks();
        self.deadlines.stop();
    }
}

impl std::fmt::Debug for ServerInner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerInner")
            .field("config", &self.config)
            .field("handlers", &self.handlers)
            .finish_non_exhaustive()
    }
}
