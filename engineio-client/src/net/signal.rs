//! The waker of a connection, which says whether there is anything to poll it for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Wake, Waker};

use futures_util::task::AtomicWaker;

/// The connection is to be polled.
const WOKEN: u8 = 1;
/// The task is about to look at the state by itself, and need not be woken.
const WATCHED: u8 = 2;

/// Wakes the task of the client, unless the task is just polling the connection: it polls it again then.
#[derive(Debug)]
pub(super) struct Signal {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Signal {
    /// Creates the signal of a connection that has not been polled.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: AtomicU8::new(WOKEN),
            task: AtomicWaker::new(),
        })
    }

    /// Wakes this task from now on.
    pub(super) fn register(&self, task: &Waker) {
        self.task.register(task);
    }

    /// Begins to watch, and returns whether the connection is to be polled.
    pub(super) fn take(&self) -> bool {
        self.state.swap(WATCHED, Ordering::AcqRel) & WOKEN != 0
    }

    /// Begins to watch.
    pub(super) fn watch(&self) {
        self.state.fetch_or(WATCHED, Ordering::AcqRel);
    }

    /// Ends to watch. The caller polls the connection once more if it is to be polled.
    pub(super) fn leave(&self) {
        self.state.fetch_and(!WATCHED, Ordering::AcqRel);
    }

    /// Ends to watch, unless the connection is to be polled again.
    pub(super) fn rest(&self) -> bool {
        let rested = self
            .state
            .compare_exchange(WATCHED, 0, Ordering::AcqRel, Ordering::Acquire);
        rested.is_ok()
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.fetch_or(WOKEN, Ordering::AcqRel) == 0 {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_task_is_woken_only_if_it_does_not_look_by_itself() {
        let (signal, count) = (Signal::new(), Arc::new(Count::default()));
        let (waker, task) = (
            Waker::from(Arc::clone(&signal)),
            Waker::from(Arc::clone(&count)),
        );
        let woken = || count.0.load(Ordering::Relaxed);
        signal.register(&task);
        assert!(signal.take(), "it has never been polled");
        waker.wake_by_ref();
        assert_eq!((woken(), signal.rest()), (0, false));
        assert!(signal.take());
        assert!(signal.rest());
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(woken(), 1);
        signal.register(&task);
        signal.watch();
        signal.leave();
        assert!(signal.take(), "what was not polled for stays");
        assert!(!signal.take());
    }
}
