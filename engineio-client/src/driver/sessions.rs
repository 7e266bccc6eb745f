//! One session after the other, with the pauses in between.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use engineio_core::{DisconnectReason, Transport};
use tokio::time::sleep;

use super::connection::Connection;
use crate::clock::now;
use crate::log::TARGET;
use crate::reconnect::Outcome;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::state::Phase;
use crate::wakers::Interest;
use crate::{Error, ErrorKind, Renewal, meter};

/// Connects, and reconnects as long as the policy allows it.
pub(super) async fn sessions(shared: &Arc<Shared>, settings: &mut Settings) {
    // 0 for the first connection; then those in a row of which none brought a session that lasted.
    let mut attempt = 0_u32;
    let mut renewed: Result<Renewal, Error> = Ok(Renewal::new());
    let mut remembered = None;
    loop {
        let outcome = match renewed {
            Ok(renewal) => {
                settings.renew(renewal);
                let transports = settings.transports(remembered);
                connect(shared, settings, transports, attempt).await
            }
            Err(error) => Outcome {
                lasted: None,
                reason: error.reason(),
                error: Some(error),
                link: None,
            },
        };
        if shared.lock().stopping {
            break;
        }
        let is_first = shared.lock().phase() == Phase::Connecting;
        let policy = settings.reconnect.as_ref();
        let policy = policy.filter(|policy| !is_first || policy.first_connection);
        let was_open = outcome.lasted;
        if was_open
            .zip(policy)
            .is_some_and(|(lasted, policy)| lasted >= policy.reset_after)
        {
            attempt = 0;
        }
        let delay = policy.and_then(|policy| policy.next(attempt.saturating_add(1), &outcome));
        if let (None, Some(policy)) = (was_open, policy) {
            policy.tell(attempt, &outcome, delay);
        }
        let reason = outcome.reason;
        let Some((delay, policy)) = delay.zip(policy) else {
            if was_open.is_none() {
                // The reason why the client gives up.
                let mut state = shared.lock();
                state.reason = state.reason.or(Some(reason));
                let before = std::mem::replace(&mut state.error, outcome.error);
                drop(state);
                drop(before);
            }
            break;
        };
        attempt = attempt.saturating_add(1);
        remembered = outcome.link.filter(|_| policy.remember_upgrade);
        tracing::debug!(target: TARGET, %reason, attempt, ?delay, "connecting again");
        if !is_first {
            shared.enter(Phase::BetweenSessions);
        }
        renewed = Ok(Renewal::new());
        let until = async {
            sleep(delay).await;
            renewed = policy.renewal(settings.request_timeout).await;
        };
        if !pause(shared, until).await {
            break;
        }
    }
    let phase = match shared.lock().phase() {
        Phase::Connecting => Phase::Failed,
        _ => Phase::Finished,
    };
    shared.enter(phase);
}

/// Opens a session over the first of these transports that can, and drives it to its end.
async fn connect(
    shared: &Arc<Shared>,
    settings: &Settings,
    transports: Vec<Transport>,
    attempt: u32,
) -> Outcome {
    let mut refusal: Option<Error> = None;
    let mut transports = transports.into_iter().enumerate().peekable();
    loop {
        // There is always one, and the first of the first attempt has its session already.
        if let Some((n, transport)) = transports.next()
            && (n, attempt) != (0, 0)
        {
            let mut state = shared.lock();
            let now = state.clock.now();
            let before = state.replace(settings.session(now, transport));
            drop(state);
            drop(before);
        }
        let mut outcome = session(shared, settings).await;
        if outcome.lasted.is_some() || transports.peek().is_none() || shared.lock().stopping {
            if outcome.lasted.is_none() && !is_refusal(outcome.error.as_ref()) {
                outcome.error = refusal.or(outcome.error);
            }
            return outcome;
        }
        tracing::debug!(target: TARGET, reason = %outcome.reason, "not connected; trying the next transport");
        // What the server said is worth more than how another transport failed.
        refusal = refusal.or_else(|| outcome.error.filter(|error| is_refusal(Some(error))));
    }
}

fn is_refusal(error: Option<&Error>) -> bool {
    error.is_some_and(|error| error.kind() == ErrorKind::Refused)
}

/// Waits for `until`, and then until the application has read the messages of earlier sessions. Returns whether to go
/// on: `false` as soon as the application ends the client.
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
        let has_room = state.delivery.has_room();
        let phase = match (state.phase(), has_room) {
            (Phase::Connecting, _) => Phase::Connecting,
            (_, true) => Phase::BetweenSessions,
            (_, false) => Phase::WaitsForReader,
        };
        let is_news = state.phase() != phase;
        state.set_phase(phase);
        drop(state);
        if is_news {
            shared.wake(Interest::Phase);
        }
        match has_room {
            true => Poll::Ready(true),
            false => Poll::Pending,
        }
    })
    .await
}

/// Drives one session to its end.
async fn session(shared: &Arc<Shared>, settings: &Settings) -> Outcome {
    let mut connection = Connection::new(shared, settings);
    poll_fn(|cx| connection.poll(cx)).await;
    let mut state = shared.lock();
    let open_since = state.open_since.take();
    let was_open = open_since.is_some();
    let error = connection.error(&state.session);
    let reason = state
        .session
        .closed()
        .unwrap_or(DisconnectReason::TransportError);
    let transport = state.session.transport();
    // A failed attempt to come back says nothing about the end of the last session.
    let replaced = was_open.then(|| state.record_end(reason));
    // The rest without the lock, which the application's code may need in turn.
    drop(state);
    drop(replaced);
    match &error {
        Some(error) => tracing::debug!(target: TARGET, %reason, %error, "session closed"),
        None => tracing::debug!(target: TARGET, %reason, "session closed"),
    }
    let lasted = open_since.map(|since| now() - since);
    match lasted {
        Some(lasted) => meter::disconnected(transport, reason, lasted),
        None => meter::failed(reason),
    }
    shared.wake(Interest::Phase);
    Outcome {
        lasted,
        reason,
        error,
        link: Some(transport).filter(|by| was_open && *by != Transport::Polling),
    }
}
