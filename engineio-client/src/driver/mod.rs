//! The task of a client: one session after the other, and the handlers at the same time.

mod alarm;
mod connection;
mod links;
mod requests;
mod sessions;
mod socket;
mod verdict;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Context;

use futures_util::future::OptionFuture;

use self::sessions::sessions;
use crate::clock::now;
use crate::handlers::Handlers;
use crate::log::TARGET;
use crate::panics::{catch_panics, report};
use crate::settings::Settings;
use crate::shared::Shared;
use crate::state::Phase;
use crate::{Error, ErrorKind, meter};

/// Drives a client to its end. The handlers are `None` where another thread calls them.
pub(crate) fn run(
    shared: Arc<Shared>,
    mut settings: Settings,
    handlers: Option<Handlers>,
) -> impl Future<Output = ()> + Send {
    // Created here and not in the task: a runtime that is shutting down drops the task before it is polled.
    let guard = TaskGuard {
        shared: Arc::clone(&shared),
        last_phase: match handlers {
            Some(_) => Phase::Done,
            None => Phase::Finished,
        },
    };
    async move {
        // Without handlers, events are for the stream. In a box, for the room that they would take there.
        let handlers = handlers.filter(|handlers| !handlers.is_empty());
        let handling = handlers.map(|handlers| Box::pin(handlers.run(&shared)));
        let driving = async {
            let sessions = catch_panics(sessions(&shared, &mut settings));
            if sessions.await.is_err() {
                report(|| {
                    tracing::error!(target: TARGET, "code of the application panicked; the client is closed");
                });
                give_up(&shared, panic_error());
                shared.enter(Phase::Finished);
            }
        };
        // Both in one task: what belongs to a client ends with it.
        futures_util::future::join(driving, OptionFuture::from(handling)).await;
        drop(guard);
    }
}

/// Wakes the task after others have run and the runtime has polled its I/O. A task that wakes itself directly lets the
/// runtime do so only once in some sixty turns, and all others would wait for that.
fn give_way(cx: &mut Context<'_>) {
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}

fn panic_error() -> Error {
    let message = "code of the application panicked: its connector, a stream of that, a closure of its `Reconnect`, a \
                   metrics recorder or a log subscriber; the client was closed";
    Error::new(ErrorKind::Panicked, message)
}

/// Ends a client whose sessions are no longer driven, and returns its unsent messages to the application.
fn give_up(shared: &Shared, error: Error) {
    let mut state = shared.lock();
    let open_since = state.open_since.take();
    let mut replaced = Vec::new();
    if !state.phase().is_over() {
        state.session.abort(error.reason());
        let reason = state.session.closed();
        // The end of a session that was told already stays as it is, and is the source.
        state.reason = state.reason.or(reason);
        state.error = Some(match state.error.take() {
            Some(first) => error.with_source(first),
            None => error,
        });
        if state.phase() == Phase::Connecting {
            state.set_phase(Phase::Failed);
        } else if let (Some(reason), Some(_)) = (reason, open_since) {
            state.reason = Some(reason);
            replaced = state.record_end(reason);
        }
    }
    let ended = state.session.closed().zip(open_since);
    let transport = state.session.transport();
    drop(state);
    // Without the lock, which the application's code may need in turn.
    drop(replaced);
    if let Some((reason, since)) = ended {
        report(|| meter::disconnected(transport, reason, now() - since));
    }
}

/// Ends the client however its task ends, so that nobody waits for it any more: the task may be dropped with its runtime.
struct TaskGuard {
    shared: Arc<Shared>,
    last_phase: Phase,
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        let message = "the task of the client was stopped by the end of its runtime; connect again, in a runtime that lasts";
        give_up(&self.shared, Error::new(ErrorKind::Transport, message));
        if self.last_phase == Phase::Done {
            // The handlers ran in this task.
            self.shared.lock().take_back_unsent();
        }
        self.shared.enter(self.last_phase);
    }
}
