//! The task of a client: one session after the other, and the handlers beside them.

mod connection;
mod socket;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use engineio_core::client::{Config, Event, Session};
use engineio_core::{DisconnectReason, Transport};
use http::HeaderMap;
use tokio::time::{sleep, timeout};

use self::connection::Connection;
use crate::handlers::Handlers;
use crate::net::http::Http;
use crate::net::websocket::WebSockets;
use crate::shared::{Phase, Shared, now};
use crate::target::Target;
use crate::{Error, ErrorKind, Reconnect, TARGET, meter};

/// What the builder decided.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) target: Target,
    /// Never empty.
    pub(crate) transports: Vec<Transport>,
    pub(crate) try_all: bool,
    pub(crate) session: Config,
    /// The name of the parameter that makes requests unique.
    pub(crate) stamp: Option<String>,
    pub(crate) request_timeout: Duration,
    pub(crate) http: Http,
    pub(crate) websockets: WebSockets,
    pub(crate) reconnect: Option<Reconnect>,
}

impl Settings {
    /// A session over the n-th transport, or `None` if there are fewer.
    pub(crate) fn session(&self, n: usize) -> Option<Session> {
        let transport = *self.transports.get(n)?;
        Some(Session::new(now(), self.session.clone(), transport))
    }

    /// Sends these headers too from now on, in place of others of the same names.
    fn renew_headers(&mut self, fresh: HeaderMap) {
        if !fresh.is_empty() {
            let mut headers = HeaderMap::clone(&self.http.headers);
            headers.extend(fresh);
            self.http.headers = Arc::new(headers);
            self.websockets.headers = Arc::clone(&self.http.headers);
        }
    }
}

/// Drives a client to its end.
pub(crate) fn run(
    shared: Arc<Shared>,
    mut settings: Settings,
    handlers: Handlers,
) -> impl Future<Output = ()> + Send {
    // Made here and not in the task: a runtime that is gone already drops that before it has begun.
    let last_will = LastWill {
        shared: Arc::clone(&shared),
        done_elsewhere: handlers.done_elsewhere,
    };
    async move {
        // Both in one task: what belongs to a client ends with it.
        futures_util::future::join(sessions(&shared, &mut settings), handlers.run(&shared)).await;
        drop(last_will);
    }
}

/// Whatever ends the task of a client, nobody waits for it any more: it may be dropped with its runtime, or panic with the
/// application's HTTP service.
struct LastWill {
    shared: Arc<Shared>,
    done_elsewhere: bool,
}

impl Drop for LastWill {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let counted = state.counted.take();
        if !state.finished {
            state.finished = true;
            state.session.abort(DisconnectReason::TransportError);
            let reason = state.session.closed();
            state.reason = reason;
            let message = "the task of the client was stopped, by the end of its runtime or a panic of the HTTP service, \
                           or of the source of headers, that it was given; connect again, in a runtime that lasts";
            state.error = Some(Error::new(ErrorKind::Transport, message));
            let was_open = state.was_open;
            if let (true, Some(reason), Some(life)) = (was_open, reason, &mut state.life) {
                life.push_back(Event::Closed(reason));
            }
        }
        let ended = state.session.closed().zip(counted);
        let transport = state.session.transport();
        drop(state);
        if let Some((reason, since)) = ended {
            meter::disconnected(transport, reason, now() - since);
        }
        self.shared.end(match self.done_elsewhere {
            true => Phase::Finished,
            false => Phase::Done,
        });
        self.shared.wake_application();
    }
}

async fn sessions(shared: &Arc<Shared>, settings: &mut Settings) {
    let mut transport = 0;
    let mut attempt = 0;
    loop {
        let (was_open, reason) = session(shared, settings).await;
        if shared.lock().stopping {
            break;
        }
        if was_open {
            attempt = 0;
        } else if settings.try_all
            && let Some(session) = settings.session(transport + 1)
        {
            transport += 1;
            tracing::debug!(target: TARGET, %reason, "not connected; trying the next transport");
            shared.lock().replace(session);
            continue;
        }
        attempt += 1;
        let ever_open = shared.lock().was_open;
        let Some(policy) = settings.reconnect.as_ref().filter(|_| ever_open) else {
            break;
        };
        let Some(delay) = policy.next(attempt, reason) else {
            break;
        };
        tracing::debug!(target: TARGET, %reason, attempt, ?delay, "connecting again");
        shared.phase.send_replace(Phase::Away);
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
    shared.lock().finished = true;
    shared.end(Phase::Finished);
    shared.wake_application();
}

/// Waits for that, and until the application has read what earlier sessions brought, unless it ends the client. Returns whether to
/// go on.
async fn pause(shared: &Shared, until: impl Future<Output = ()>) -> bool {
    let mut until = std::pin::pin!(until);
    let mut is_over = false;
    loop {
        let news = shared.away.notified();
        let mut news = std::pin::pin!(news);
        news.as_mut().enable();
        {
            let mut state = shared.lock();
            if state.stopping {
                return false;
            }
            state.is_held = is_over && !state.has_room_to_return();
            if is_over && !state.is_held {
                return true;
            }
        }
        if is_over {
            shared.wake_application();
        }
        tokio::select! {
            () = news => {}
            () = &mut until, if !is_over => is_over = true,
        }
    }
}

/// Drives one session to its end. Returns whether it was opened, and why it ended.
async fn session(shared: &Arc<Shared>, settings: &Settings) -> (bool, DisconnectReason) {
    let mut connection = Connection::new(shared, settings);
    std::future::poll_fn(|cx| connection.poll(cx)).await;
    let open_since = connection.open_since();
    let was_open = open_since.is_some();
    let error = connection.into_error();
    let mut state = shared.lock();
    let reason = state
        .session
        .closed()
        .unwrap_or(DisconnectReason::TransportError);
    let transport = state.session.transport();
    state.counted = None;
    state.reason = Some(reason);
    let before = std::mem::replace(&mut state.error, error.clone());
    if was_open && let Some(life) = &mut state.life {
        life.push_back(Event::Closed(reason));
    }
    // The rest without the lock, for which the application's code may ask in turn.
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
    shared.wake_application();
    (was_open, reason)
}
