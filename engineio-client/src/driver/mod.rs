//! The task of a client: one session after the other, and the handlers at the same time.

mod connection;
mod socket;
mod verdict;

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use engineio_core::DisconnectReason;
use tokio::time::{sleep, timeout};

use self::connection::Connection;
use crate::clock::now;
use crate::handlers::Handlers;
use crate::settings::Settings;
use crate::shared::{Phase, Shared};
use crate::{Error, ErrorKind, TARGET, meter};

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
                           or of the source of headers, that it was given; connect again, in a runtime that lasts";
            state.error = Some(Error::new(ErrorKind::Transport, message));
            if state.phase() == Phase::Connecting {
                state.set_phase(Phase::Failed);
            } else if let Some(reason) = reason {
                state.delivery.record_end(reason);
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

async fn sessions(shared: &Arc<Shared>, settings: &mut Settings) {
    let mut transport = 0;
    let mut attempt = 0;
    let mut refusal = None;
    loop {
        let (was_open, reason, error) = session(shared, settings).await;
        if shared.lock().stopping {
            break;
        }
        if was_open {
            attempt = 0;
        } else if settings.try_all
            && let Some(session) = settings.session(transport + 1)
        {
            transport += 1;
            // What the server said is worth more than how another transport failed.
            refusal = refusal.or_else(|| error.filter(|error| error.kind() == ErrorKind::Refused));
            tracing::debug!(target: TARGET, %reason, "not connected; trying the next transport");
            shared.lock().replace(session);
            continue;
        }
        attempt += 1;
        let ever_open = shared.lock().phase() != Phase::Connecting;
        let Some(policy) = settings.reconnect.as_ref().filter(|_| ever_open) else {
            break;
        };
        let Some(delay) = policy.next(attempt, reason) else {
            if !was_open {
                // Why the client gives up.
                shared.lock().error = error;
            }
            break;
        };
        tracing::debug!(target: TARGET, %reason, attempt, ?delay, "connecting again");
        shared.enter(Phase::BetweenSessions);
        let mut fresh = None;
        let until = async {
            sleep(delay).await;
            fresh = timeout(settings.request_timeout, policy.renewed())
                .await
                .ok();
        };
        if !pause(shared, until).await {
            break;
        }
        settings.renew_headers(fresh.unwrap_or_default());
        transport = 0;
        if let Some(session) = settings.session(0) {
            shared.lock().replace(session);
        }
    }
    let mut state = shared.lock();
    let phase = match state.phase() {
        Phase::Connecting => Phase::Failed,
        _ => Phase::Finished,
    };
    if let (Phase::Failed, Some(refusal)) = (phase, refusal) {
        let last = state.error.as_ref().map(Error::kind);
        if last != Some(ErrorKind::Refused) {
            state.error = Some(refusal);
        }
    }
    drop(state);
    shared.enter(phase);
}

/// Waits for `until`, and then until the application has read what earlier sessions brought. Returns whether to go on:
/// `false` as soon as the application ends the client.
async fn pause(shared: &Shared, until: impl Future<Output = ()>) -> bool {
    let mut until = std::pin::pin!(until);
    let mut is_over = false;
    poll_fn(|cx| {
        // Without the lock: it runs code of the application.
        is_over = is_over || until.as_mut().poll(cx).is_ready();
        let mut state = shared.lock();
        state.set_driver(cx.waker());
        if state.stopping {
            return Poll::Ready(false);
        }
        if !is_over {
            return Poll::Pending;
        }
        let has_room = state.delivery.has_room(&state.session);
        let phase = match has_room {
            true => Phase::BetweenSessions,
            false => Phase::WaitsForReader,
        };
        let is_news = state.phase() != phase;
        state.set_phase(phase);
        drop(state);
        if is_news {
            shared.wake(crate::wakers::Interest::Phase);
        }
        match has_room {
            true => Poll::Ready(true),
            false => Poll::Pending,
        }
    })
    .await
}

/// Drives one session to its end. Returns whether it was opened, and why it ended.
async fn session(
    shared: &Arc<Shared>,
    settings: &Settings,
) -> (bool, DisconnectReason, Option<Error>) {
    let mut connection = Connection::new(shared, settings);
    poll_fn(|cx| connection.poll(cx)).await;
    let verdict = connection.into_verdict();
    let mut state = shared.lock();
    let open_since = state.open_since.take();
    let was_open = open_since.is_some();
    let error = verdict.into_error(&state.session, was_open, &settings.target);
    let reason = state
        .session
        .closed()
        .unwrap_or(DisconnectReason::TransportError);
    let transport = state.session.transport();
    let mut before = error.clone();
    // A failed attempt to come back says nothing about the end of the last session.
    if was_open || state.phase() == Phase::Connecting {
        state.reason = Some(reason);
        std::mem::swap(&mut before, &mut state.error);
    }
    if was_open {
        state.delivery.record_end(reason);
    }
    // The rest without the lock, which the application's code may need in turn.
    drop(state);
    drop(before);
    match &error {
        Some(error) => tracing::debug!(target: TARGET, %reason, %error, "session closed"),
        None => tracing::debug!(target: TARGET, %reason, "session closed"),
    }
    match open_since {
        Some(since) => meter::disconnected(transport, reason, now() - since),
        None => meter::failed(reason),
    }
    shared.wake(crate::wakers::Interest::Phase);
    (was_open, reason, error)
}
