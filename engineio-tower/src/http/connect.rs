//! A request that opens a session.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::http::driver::Driver;
use crate::http::over::Over;
use crate::http::poll::PollFuture;
use crate::http::response::{Answer, EngineResponse};
use crate::http::time_limit::{CONNECT_HANDLER, GENERATE_SID, TimeLimit};
use crate::http::upgrade;
use crate::policy::admission::Permit;
use crate::policy::multiplexed::MultiplexedHandshake;
use crate::policy::options::SidSource;
use crate::repeated::log_repeated;
use crate::server::{PendingWork, ServerInner, random};
use crate::session::driver::LinkDriver;
use crate::session::handler::{BoxFuture, Started};
use crate::session::rejection::Rejection;
use crate::session::request::ConnectRequest;
use crate::session::socket::Socket;
use crate::session::{Opening, Session, WaiterId, now};
use engineio_core as proto;
use engineio_core::driver::catch_panic;
use engineio_core::server::{ExchangeId, First};
use engineio_core::{DisconnectReason, LinkId, Refusal, SendOptions, Sid, Transport};
use http::HeaderValue;
use http::header::SET_COOKIE;
use http::request::Parts;

/// The number of ids that are drawn before one is free. A source that goes on returning taken ids is broken.
const DRAWS: usize = 16;

/// Runs the connect handler; answers with the open packet, the 101, or the application's rejection.
///
/// Dropping it while the handler runs lets a task finish the handler, so that what the handler began is completed, and
/// `on_disconnect` runs if it accepted.
pub(crate) struct ConnectFuture {
    server: Arc<ServerInner>,
    stage: Stage,
    over: Over,
}

enum Stage {
    /// The application generates the session's id. The handler has not been called, so this may be dropped.
    GeneratingSid(BoxFuture<Result<(Request, Sid, TimeLimit), Rejection>>),
    /// The handler has been called.
    RunningHandler(Arc<Session>, BoxFuture<Answer>),
    Answered,
}

impl ConnectFuture {
    pub(crate) fn open(
        server: &Arc<ServerInner>,
        mut head: Parts,
        peer: Option<SocketAddr>,
        opening: Opening,
        limit: TimeLimit,
    ) -> Result<Self, Refusal> {
        let handshake = match opening.transport {
            Transport::WebSocket => Some(upgrade::Handshake::check(&mut head, &server.options)?),
            _ => None,
        };
        let multiplexed = server.multiplexed.begin(peer)?;
        let permit = server.admission.admit(peer.map(|peer| peer.ip()))?;
        if let Err(error) = server.enter_runtime() {
            log_repeated!(error, target: "engineio::connect", "{error}");
            return Err(Refusal::Unavailable);
        }
        let request = Request {
            head,
            peer,
            opening,
            handshake,
            permit,
            multiplexed,
        };
        let stage = match &server.options.sids {
            Some(sids) => Stage::GeneratingSid(Box::pin(generate_sid(
                Arc::clone(server),
                Arc::clone(sids),
                request,
                limit,
            ))),
            None => request.handle(server, random_sid(server)?, limit),
        };
        Ok(Self {
            server: Arc::clone(server),
            stage,
            over: Over::default(),
        })
    }
}

impl Future for ConnectFuture {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let this = &mut *self;
        loop {
            let (next, answer) = match &mut this.stage {
                Stage::GeneratingSid(generating) => match generating.as_mut().poll(cx) {
                    Poll::Ready(Ok((request, sid, limit))) => {
                        (request.handle(&this.server, sid, limit), None)
                    }
                    Poll::Ready(Err(rejection)) => {
                        (Stage::Answered, Some(Answer::Refused(rejection)))
                    }
                    // After the end of a shutdown, the rest is as if the client had left.
                    Poll::Pending => return this.over.poll(&this.server, cx).map(Answer::from),
                },
                Stage::RunningHandler(_, answer) => match answer.as_mut().poll(cx) {
                    Poll::Ready(answer) => (Stage::Answered, Some(answer)),
                    Poll::Pending => return this.over.poll(&this.server, cx).map(Answer::from),
                },
                Stage::Answered => panic!("`ConnectFuture` polled after completion"),
            };
            this.stage = next;
            if let Some(answer) = answer {
                return Poll::Ready(answer);
            }
        }
    }
}

impl Drop for ConnectFuture {
    fn drop(&mut self) {
        let stage = std::mem::replace(&mut self.stage, Stage::Answered);
        // A plain handler has run even if nobody has polled since. A runtime that shuts down drops the task as well;
        // that is the end of it.
        if let Stage::RunningHandler(session, answer) = stage {
            self.server.spawn(async move {
                let answer = answer.await;
                session.update(|session| session.abort(now(), DisconnectReason::TransportClose));
                drop(answer);
            });
        }
    }
}

/// Draws ids from the application's source until one is free.
async fn generate_sid(
    server: Arc<ServerInner>,
    sids: Arc<SidSource>,
    request: Request,
    mut limit: TimeLimit,
) -> Result<(Request, Sid, TimeLimit), Rejection> {
    for _ in 0..DRAWS {
        let drawing = catch_panic(|| sids(&request.head));
        let drawing = drawing.map_err(|_| GENERATE_SID.panicked())?;
        let sid = limit.run(&GENERATE_SID, drawing).await?;
        let Some(sid) = server.own_sid(sid) else {
            log_repeated!(error, target: "engineio::connect", "`generate_sid` returned an id that leaves no room for the name of the node");
            return Err(Rejection::unavailable());
        };
        if server.registry.get(&sid).is_none() {
            return Ok((request, sid, limit));
        }
    }
    log_repeated!(error, target: "engineio::connect", "`generate_sid` returned ids that are already in use, {DRAWS} times in a row");
    Err(Rejection::unavailable())
}

/// Draws a session id from the system's random source.
fn random_sid(server: &ServerInner) -> Result<Sid, Refusal> {
    loop {
        let random = random::draw().map_err(|error| {
            log_repeated!(error, target: "engineio::connect", %error, "the system gives no random bytes");
            Refusal::Unavailable
        })?;
        let sid = Sid::from_random(random);
        let sid = server.own_sid(sid).unwrap_or(sid);
        if server.registry.get(&sid).is_none() {
            return Ok(sid);
        }
    }
}

/// A request to open a session, before there is one.
struct Request {
    head: Parts,
    peer: Option<SocketAddr>,
    opening: Opening,
    handshake: Option<upgrade::Handshake>,
    permit: Permit,
    multiplexed: Option<MultiplexedHandshake>,
}

/// The means by which the client reaches the session once it is accepted.
#[derive(Debug)]
enum OpenedBy {
    Polling(ExchangeId),
    WebSocket(LinkId, upgrade::Handshake),
    /// The stream is open already.
    WebTransport(LinkId),
}

impl Request {
    /// Creates the session, which is not registered yet, and calls the connect handler.
    fn handle(self, server: &Arc<ServerInner>, sid: Sid, limit: TimeLimit) -> Stage {
        let Self {
            head,
            peer,
            opening,
            handshake,
            permit,
            multiplexed,
        } = self;
        let config = Arc::clone(server.listening.rules(&server.config));
        let mut machine =
            proto::server::Session::new(config, sid, opening.revision, opening.base64);
        machine.begins_over(opening.transport);
        let opened_by = match (opening.transport, handshake) {
            (_, Some(handshake)) => OpenedBy::WebSocket(machine.next_link(), handshake),
            (Transport::WebTransport, None) => OpenedBy::WebTransport(machine.next_link()),
            (_, None) => OpenedBy::Polling(machine.next_exchange()),
        };
        let session = Session::new(Arc::clone(server), sid, machine, opening, peer, permit);
        if let Some(message) = &server.options.initial_message {
            // An empty queue takes any message but a text that polling would tear.
            if let Err(error) = session.try_send(message.clone(), SendOptions::new()) {
                log_repeated!(error, target: "engineio::connect", %error, "the initial message was not sent");
            }
        }
        // The session cookie, for the response that opens the session.
        let cookie = server.options.cookie.as_ref();
        let cookie = cookie.and_then(|cookie| cookie.header(&sid, &head));
        let pending = PendingWork::begin(server);
        let socket = Socket::new(Arc::clone(&session));
        let request = ConnectRequest::new(head, opening.transport, opening.revision, peer);
        let handler = catch_panic(|| server.handlers.connect(socket, request));
        let handler = handler.unwrap_or_else(|_| Started::Done(Err(CONNECT_HANDLER.panicked())));
        let opened = Arc::clone(&session);
        let answer = Box::pin(async move {
            // A shutdown waits until the client is accepted or refused.
            let _pending = pending;
            let _multiplexed = multiplexed;
            finish(opened, handler, limit, opened_by, cookie).await
        });
        Stage::RunningHandler(session, answer)
    }
}

/// Waits for the handler's decision, and opens the session or refuses the client.
async fn finish(
    session: Arc<Session>,
    handler: Started<Result<(), Rejection>>,
    mut limit: TimeLimit,
    opened_by: OpenedBy,
    cookie: Option<HeaderValue>,
) -> Answer {
    let decision = match handler {
        Started::Done(decision) => decision,
        Started::Running(running) => limit.run(&CONNECT_HANDLER, running).await.flatten(),
    };
    if let Err(rejection) = decision {
        session.never_accepted();
        return Answer::Refused(rejection);
    }
    if let Some(answer) = accept(&session, &opened_by) {
        session.accepted_in_vain();
        return answer;
    }
    let waiter = opened_by.waiter();
    if session.server.is_leaving() {
        // A shutdown that begins after this check finds the accepted session in the registry. The application has
        // accepted the client, so it hears of its end.
        session.leave(waiter, None);
        session.update(|session| session.abort(now(), DisconnectReason::Shutdown));
        return Answer::Refusal(Refusal::Unavailable);
    }
    tracing::debug!(target: "engineio::session", sid = session.sid.short(), ?opened_by, "connected");
    match opened_by {
        OpenedBy::Polling(id) => match PollFuture::waiting(session, id).await {
            Answer::Payload(payload, delivery) => Answer::Opened(payload, cookie, delivery),
            answer => answer,
        },
        OpenedBy::WebSocket(id, handshake) => {
            let mut response = handshake.accept(LinkDriver::new(session, id));
            if let Some(cookie) = cookie {
                response.headers_mut().append(SET_COOKIE, cookie);
            }
            Answer::Response(response)
        }
        OpenedBy::WebTransport(id) => {
            let mut response = EngineResponse::default();
            Driver::new(LinkDriver::new(session, id)).put(&mut response);
            Answer::Response(response)
        }
    }
}

/// Opens the session of a client that the handler has accepted, or returns the answer that refuses it.
fn accept(session: &Arc<Session>, opened_by: &OpenedBy) -> Option<Answer> {
    // The handler may have closed the socket instead of refusing the client.
    if let Some(reason) = session.ask(proto::server::Session::closed) {
        return Some(Answer::Refused(rejection(reason)));
    }
    let registry = &session.server.registry;
    if !registry.insert(session) {
        // The end of this one would be taken for that of the client that has the id.
        return Some(Answer::Refusal(Refusal::Unavailable));
    }
    let first = match opened_by {
        OpenedBy::Polling(id) => First::Polling(*id),
        OpenedBy::WebSocket(id, _) => First::Link(*id, Transport::WebSocket),
        OpenedBy::WebTransport(id) => First::Link(*id, Transport::WebTransport),
    };
    if !session.accept(first, opened_by.waiter()) {
        // Closed by a handle that the connect handler gave away, perhaps before it was entered.
        registry.remove(session);
        let reason = session.ask(proto::server::Session::closed);
        return Some(Answer::Refused(rejection(
            reason.unwrap_or(DisconnectReason::Server),
        )));
    }
    None
}

/// Returns the answer to a client whose session was closed before it was opened.
fn rejection(reason: DisconnectReason) -> Rejection {
    match reason {
        // The handler has sent more than fits, and the server disconnects such clients.
        DisconnectReason::SlowConsumer => Rejection::unavailable(),
        _ => Rejection::default(),
    }
}

impl OpenedBy {
    const fn waiter(&self) -> WaiterId {
        match self {
            Self::Polling(id) => WaiterId::Exchange(*id),
            Self::WebSocket(id, _) | Self::WebTransport(id) => WaiterId::Link(*id),
        }
    }
}
