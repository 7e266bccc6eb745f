//! Runs futures in plain threads.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::task::coop;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future to its end; the thread is parked while it waits.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    let Ok(output) = run(future, || {
        thread::park();
        Ok::<(), Infallible>(())
    });
    output
}

/// Runs a future to its end, or until the deadline if there is one. Returns `None` if the time is up.
pub(super) fn block_on_until<F: Future>(future: F, deadline: Option<Instant>) -> Option<F::Output> {
    let pause = || {
        match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
            None => thread::park(),
            Some(left) if left.is_zero() => return Err(()),
            Some(left) => thread::park_timeout(left),
        }
        Ok(())
    };
    run(future, pause).ok()
}

/// Polls a future until it is ready, or until `pause`, which waits until it is woken, fails.
fn run<F: Future, E>(future: F, mut pause: impl FnMut() -> Result<(), E>) -> Result<F::Output, E> {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return Ok(output),
            Poll::Pending => pause()?,
        }
    }
}

/// More operations than tokio lets a task do in one turn, which are 128.
const MORE_THAN_A_TURN: u32 = 1024;

/// Returns whether the thread is polling a task of tokio, and must not be blocked.
///
/// Such a task has a budget of operations for its turn. The threads of `spawn_blocking`, which are inside the runtime too,
/// have none, and may wait. The rest of the turn is spent: the task lets others run when it returns.
pub(super) fn is_in_task() -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    Handle::try_current().is_ok()
        && (0..MORE_THAN_A_TURN).any(|_| match coop::poll_proceed(&mut cx) {
            Poll::Ready(operation) => {
                operation.made_progress();
                false
            }
            Poll::Pending => true,
        })
}
