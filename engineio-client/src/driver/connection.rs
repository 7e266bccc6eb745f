//! One session and its network: what the session asks for is done, and what happens is told to it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use engineio_core::client::{Event, Fault, Input, Output, RequestId, Session, WebSocketId};
use engineio_core::{DisconnectReason, Payload, Transport};
use futures_core::future::BoxFuture;
use tokio::time::Sleep;

use super::Settings;
use super::socket::{Farewell, Socket};
use crate::error::excerpt;
use crate::net::websocket::WebSocket;
use crate::shared::{Phase, Shared, now};
use crate::{Error, ErrorKind, TARGET, meter};

/// How many frames are read before anything else gets its turn.
pub(super) const READ_BUDGET: usize = 64;

/// How often everything gets its turn before other tasks do: a service that answers at once would hold the thread.
const ROUNDS: usize = 64;

type Request = (RequestId, BoxFuture<'static, Result<Payload, Error>>);

pub(super) struct Connection<'a> {
    shared: &'a Arc<Shared>,
    settings: &'a Settings,
    poll: Option<Request>,
    post: Option<Request>,
    opening: Option<(WebSocketId, BoxFuture<'static, Result<WebSocket, Error>>)>,
    /// Requests that were given up and are still to be dropped: they may be those of the application's service, whose code
    /// must not run under the lock.
    given_up: Vec<Request>,
    socket: Option<Socket>,
    farewells: Vec<Farewell>,
    timer: Pin<Box<Sleep>>,
    armed: Option<Instant>,
    /// By what the session was opened.
    first: Transport,
    /// Since when the session is open.
    open_since: Option<Instant>,
    /// The session was last seen on its way to WebSocket.
    was_upgrading: bool,
    /// What the network said when it failed.
    error: Option<Error>,
    /// The POST that is under way is larger than the server takes: its bytes, and the limit.
    oversized: Option<(usize, usize)>,
    /// The answer to the handshake, until it is known to be one.
    first_answer: Bytes,
    finished: bool,
}

impl<'a> Connection<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, settings: &'a Settings) -> Self {
        Self {
            shared,
            settings,
            poll: None,
            post: None,
            opening: None,
            given_up: Vec::new(),
            socket: None,
            farewells: Vec::new(),
            timer: Box::pin(tokio::time::sleep(std::time::Duration::ZERO)),
            armed: None,
            first: shared.lock().session.transport(),
            open_since: None,
            was_upgrading: false,
            error: None,
            oversized: None,
            first_answer: Bytes::new(),
            finished: false,
        }
    }

    /// When the session was opened, if it was.
    pub(super) const fn open_since(&self) -> Option<Instant> {
        self.open_since
    }

    const fn was_open(&self) -> bool {
        self.open_since.is_some()
    }

    /// Goes as far as it can; ready when the session is over and the WebSocket has been closed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut progress = true;
        for _ in 0..ROUNDS {
            progress = self.follow(cx)
                | self.poll_requests(cx)
                | self.poll_opening(cx)
                | self.poll_socket(cx)
                | self.poll_timer(cx);
            if !progress {
                break;
            }
        }
        if progress {
            cx.waker().wake_by_ref();
        }
        self.farewells
            .retain_mut(|farewell| farewell.poll(cx).is_pending());
        if self.finished && self.farewells.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn input(&self, input: Input) {
        self.shared.lock().session.handle_input(now(), input);
    }

    /// Does what the session asks for. Returns whether it asked for anything.
    fn follow(&mut self, cx: &Context<'_>) -> bool {
        let shared = self.shared;
        let mut state = shared.lock();
        match &mut state.driver {
            Some(driver) => driver.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        let mut progress = false;
        let mut wake = false;
        while let Some(output) = state.session.poll_output() {
            progress = true;
            match output {
                Output::Events | Output::Room => wake = true,
                Output::Finished => self.finished = true,
                output => self.act(output, &mut state.session),
            }
        }
        let mut opened = None;
        if !self.was_open() && state.session.opened().is_some() {
            self.open_since = Some(now());
            state.counted = self.open_since;
            state.was_open = true;
            wake = true;
            self.first_answer = Bytes::new();
            if let Some(life) = &mut state.life {
                life.push_back(Event::Opened);
            }
            opened = state.session.opened().cloned();
        }
        if state.session.is_upgrading() != self.was_upgrading {
            // Who waits for that may have read no event for long, and would not hear of this one.
            self.was_upgrading = !self.was_upgrading;
            wake = true;
        }
        let has_moved = state.session.transport() != self.first && !state.upgraded;
        state.upgraded |= has_moved;
        drop(state);
        // Without the lock, for which the application's code may ask in turn.
        self.given_up.clear();
        if let Some(opened) = opened {
            meter::connected(self.first);
            tracing::debug!(target: TARGET, sid = opened.short_sid(), transport = %self.first, "session opened");
            shared.phase.send_replace(Phase::Open);
        }
        if has_moved {
            meter::upgraded();
            tracing::debug!(target: TARGET, "upgraded to websocket");
        }
        if wake {
            shared.wake_application();
        }
        progress
    }

    fn act(&mut self, output: Output, session: &mut Session) {
        match output {
            Output::Poll(id) => self.poll = Some((id, self.request(session, None))),
            Output::Post(id) => {
                if let Some(body) = session.take_payload(id) {
                    let limit = session.opened().and_then(|opened| opened.max_payload());
                    let sizes = limit.map(|limit| (body.body.len(), limit));
                    self.oversized = sizes.filter(|(len, limit)| len > limit);
                    self.post = Some((id, self.request(session, Some(body))));
                }
            }
            Output::Cancel(id) => {
                let poll = self.poll.take_if(|(poll, _)| *poll == id);
                self.given_up.extend(poll);
                let post = self.post.take_if(|(post, _)| *post == id);
                self.given_up.extend(post);
            }
            Output::OpenWebSocket(id) => {
                let websockets = self.settings.websockets.clone();
                let uri = self.uri(Transport::WebSocket, session);
                let opening = async move { websockets.open(uri?).await };
                self.opening = Some((id, Box::pin(opening)));
            }
            Output::SendFrames(id) => {
                if let Some(socket) = self.socket.as_mut().filter(|socket| socket.id == id) {
                    socket.has_frames = true;
                }
            }
            Output::CloseWebSocket(id, reason) => {
                self.opening.take_if(|(opening, _)| *opening == id);
                if let Some(socket) = self.socket.take_if(|socket| socket.id == id) {
                    self.farewells.push(socket.close(reason));
                }
            }
            _ => {}
        }
    }

    fn uri(&self, transport: Transport, session: &Session) -> Result<http::Uri, Error> {
        let sid = session.opened().map(|opened| opened.sid());
        let stamp = self.settings.stamp.as_deref();
        let stamp = stamp.filter(|_| transport == Transport::Polling);
        self.settings.target.uri(transport, sid, stamp)
    }

    /// A GET, which the heartbeat bounds, or a POST, which has a time of its own.
    fn request(
        &self,
        session: &Session,
        body: Option<Payload>,
    ) -> BoxFuture<'static, Result<Payload, Error>> {
        let http = self.settings.http.clone();
        let uri = self.uri(Transport::Polling, session);
        let timeout = body.is_some().then_some(self.settings.request_timeout);
        Box::pin(async move {
            let uri = uri?;
            let attempt = crate::net::http::attempt(&http::Method::POST, &uri);
            let request = http.request(uri, body);
            let Some(timeout) = timeout else {
                return request.await;
            };
            tokio::time::timeout(timeout, request).await.unwrap_or_else(|_| {
                let message =
                    format!("{attempt} had no answer after {timeout:?}; raise `request_timeout` if the server is slow");
                Err(Error::new(ErrorKind::Timeout, message))
            })
        })
    }

    fn poll_requests(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        if let Some((id, answer)) = ready(&mut self.poll, cx) {
            progress = true;
            match answer {
                Ok(body) => {
                    if !self.was_open() {
                        self.first_answer = body.body.clone();
                    }
                    self.input(Input::PollAnswered(id, body));
                }
                Err(error) => {
                    let reason = self.failed(error);
                    self.input(Input::PollFailed(id, reason));
                }
            }
        }
        if let Some((id, answer)) = ready(&mut self.post, cx) {
            progress = true;
            match answer {
                Ok(_) => {
                    self.oversized = None;
                    self.input(Input::PostAnswered(id));
                }
                Err(error) => {
                    let reason = self.failed(error);
                    self.input(Input::PostFailed(id, reason));
                }
            }
        }
        progress
    }

    fn poll_opening(&mut self, cx: &mut Context<'_>) -> bool {
        let Some((id, websocket)) = ready(&mut self.opening, cx) else {
            return false;
        };
        match websocket {
            Ok(websocket) => {
                self.socket = Some(Socket::new(id, websocket));
                self.input(Input::WebSocketOpened(id));
            }
            Err(error) => {
                if self.was_open() {
                    tracing::warn!(target: TARGET, %error, "the upgrade to websocket failed; going on by polling");
                }
                self.websocket_closed(id, error.reason(), Some(error));
            }
        }
        true
    }

    fn poll_socket(&mut self, cx: &mut Context<'_>) -> bool {
        let shared = self.shared;
        let Some(socket) = &mut self.socket else {
            return false;
        };
        let id = socket.id;
        let mut progress = false;
        let mut ended = None;
        for _ in 0..READ_BUDGET {
            let wants_input = {
                let session = &shared.lock().session;
                // What comes while it is closing is dropped, and a server that waits for it to be read would not read.
                (session.wants_input() || !session.is_open()) && session.closed().is_none()
            };
            if !wants_input {
                break;
            }
            match socket.poll_frame(cx) {
                Poll::Ready(Ok(frame)) => {
                    progress = true;
                    let input = Input::WebSocketFrame(id, frame);
                    shared.lock().session.handle_input(now(), input);
                }
                Poll::Ready(Err(end)) => {
                    ended = Some(end);
                    break;
                }
                Poll::Pending => break,
            }
        }
        if ended.is_none() {
            let is_closing = !shared.lock().session.is_open();
            let next = |id| shared.lock().session.take_frame(id);
            match socket.poll_send(cx, is_closing, next) {
                Ok(sent) => progress |= sent,
                Err(end) => ended = Some(end),
            }
        }
        let Some((reason, error)) = ended else {
            return progress;
        };
        self.socket = None;
        self.websocket_closed(id, reason, error);
        true
    }

    fn websocket_closed(
        &mut self,
        id: WebSocketId,
        reason: DisconnectReason,
        error: Option<Error>,
    ) {
        self.input(Input::WebSocketClosed(id, reason));
        // If it was only the upgrade that failed, that is nobody's error when the session ends later.
        if error.is_some() && self.shared.lock().session.closed().is_some() {
            self.error = error;
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let due = self.shared.lock().session.poll_timeout();
        let Some(at) = due else {
            self.armed = None;
            return false;
        };
        if self.armed != Some(at) {
            self.armed = Some(at);
            self.timer.as_mut().reset(at.into());
        }
        // The runtime keeps even the time from a task that has read much, and a server may send without a pause.
        if self.timer.as_mut().poll(cx).is_pending() && now() < at {
            return false;
        }
        self.armed = None;
        self.input(Input::Timeout);
        true
    }

    /// Remembers an error, whose reason goes to the session.
    fn failed(&mut self, error: Error) -> DisconnectReason {
        let reason = error.reason();
        self.error = Some(error);
        reason
    }

    /// What there is to say about the end of the session, unless one side wished it.
    pub(super) fn into_error(self) -> Option<Error> {
        let state = self.shared.lock();
        let target = &self.settings.target;
        if let Some(fault) = state.session.fault() {
            let answer = match &*self.first_answer {
                [] => String::new(),
                answer => format!(" ({})", excerpt(answer)),
            };
            let (kind, advice) = match fault {
                Fault::OpenTimeout => (
                    ErrorKind::Timeout,
                    "check that the server runs and can be reached, or raise `request_timeout`",
                ),
                Fault::TooManyPackets(_) => (ErrorKind::TooLarge, "no sane server does that"),
                _ if self.was_open() => {
                    (ErrorKind::Protocol, "see the server's log for what it sent")
                }
                _ => (
                    ErrorKind::Protocol,
                    "check that the URL and the path are those of an Engine.IO server of revision 4",
                ),
            };
            let what = if self.was_open() {
                "the session ended"
            } else {
                "no session was opened"
            };
            let message = format!("{what} at {target}: {fault}{answer}; {advice}");
            let source = std::error::Error::source(fault).map(ToString::to_string);
            let error = Error::new(kind, message);
            return Some(match source {
                Some(source) => error.with_source(source),
                None => error,
            });
        }
        match state.session.closed() {
            Some(DisconnectReason::PingTimeout) => {
                let patience = state.session.opened().map(|opened| opened.patience());
                let message = format!(
                    "{target} sent no heartbeat for {:?}; the server or the network is gone, connect again",
                    patience.unwrap_or_default()
                );
                Some(Error::new(ErrorKind::PingTimeout, message))
            }
            Some(DisconnectReason::TransportClose) if !self.was_open() && self.error.is_none() => {
                let message = format!(
                    "{target} closed the WebSocket before it opened a session; check that the URL and the path are \
                     those of an Engine.IO server, or see its log"
                );
                Some(Error::new(ErrorKind::Transport, message))
            }
            // The word of the server may be here before its answer to the POST.
            Some(DisconnectReason::Server) if self.was_open() => {
                let (len, limit) = self.oversized?;
                let message = format!(
                    "{target} closed the session while it was sent a message in {len} bytes, and takes {limit} at most; \
                     send smaller messages, or raise the server's limit"
                );
                Some(Error::new(ErrorKind::Refused, message))
            }
            Some(DisconnectReason::Client) if self.was_open() => None,
            _ => self.error,
        }
    }
}

/// Polls what is under way, and takes it out when it is done.
fn ready<I: Copy, T>(
    slot: &mut Option<(I, BoxFuture<'static, T>)>,
    cx: &mut Context<'_>,
) -> Option<(I, T)> {
    let (id, future) = slot.as_mut()?;
    let id = *id;
    match future.as_mut().poll(cx) {
        Poll::Ready(output) => {
            *slot = None;
            Some((id, output))
        }
        Poll::Pending => None,
    }
}
