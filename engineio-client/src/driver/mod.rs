//! The task of a client: one session after the other, and the handlers at the same time.

mod alarm;
mod connection;
mod sessions;
mod socket;
mod verdict;

use std::future::Future;
use std::sync::Arc;

use engineio_core::DisconnectReason;

use self::sessions::sessions;
use crate::clock::now;
use crate::handlers::Handlers;
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
        let handling = async {
            if let Some(handlers) = handlers {
                handlers.run(&shared).await;
            }
        };
        // Both in one task: what belongs to a client ends with it.
        futures_util::future::join(sessions(&shared, &mut settings), handling).await;
        drop(guard);
    }
}

/// Ends the client however its task ends, so that nobody waits for it any more: the task may be dropped with its runtime,
/// or panic with the application's connector.
struct TaskGuard {
    shared: Arc<Shared>,
    last_phase: Phase,
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let open_since = state.open_since.take();
        if !state.phase().is_over() {
            state.session.abort(DisconnectReason::TransportError);
            let reason = state.session.closed();
            state.reason = reason;
            let message = "the task of the client was stopped, by the end of its runtime or a panic of the connector, \
                           or of a closure of its `Reconnect`, that it was given; connect again, in a runtime that lasts";
            state.error = Some(Error::new(ErrorKind::Transport, message));
            if state.phase() == Phase::Connecting {
                state.set_phase(Phase::Failed);
            } else if let (Some(reason), Some(_)) = (reason, open_since) {
                state.record_end(reason);
            }
        }
        let ended = state.session.closed().zip(open_since);
        let transport = state.session.transport();
        drop(state);
        if let Some((reason, since)) = ended {
            meter::disconnected(transport, reason, now() - since);
        }
        self.shared.enter(self.last_phase);
    }
}
