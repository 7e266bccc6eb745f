//! Locks, counters and tasks. The race tests replace them with those of shuttle, which decides at each of them which
//! task continues (`cargo xtask races`).

#[cfg(engineio_shuttle)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, RwLock, RwLockWriteGuard, atomic};
#[cfg(not(engineio_shuttle))]
pub(crate) use std::sync::{Mutex, MutexGuard, RwLock, RwLockWriteGuard, atomic};

/// Runs a task that nobody waits for.
pub(crate) fn spawn(
    runtime: &tokio::runtime::Handle,
    task: impl Future<Output = ()> + Send + 'static,
) {
    #[cfg(engineio_shuttle)]
    {
        let _ = runtime;
        drop(shuttle::future::spawn(task));
    }
    #[cfg(not(engineio_shuttle))]
    drop(runtime.spawn(task));
}
