//! A request that opens a session.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use engineio_core::server::{ExchangeId, First, Session, WebSocketId};
use engineio_core::{DisconnectReason, Refusal, Revision, SendOptions, Sid, Transport};
use http::HeaderValue;
use http::request::Parts;
use tokio::time::Sleep;

use crate::http::poll::PollFuture;
use crate::http::response::Answer;
use crate::http::upgrade;
use crate::policy::admission::Permit;
use crate::policy::options::Naming;
use crate::server::{Debt, ServerInner};
use crate::session::driver::Driver;
use crate::session::handler::{BoxFuture, Started};
use crate::session::rejection::Rejection;
use crate::session::request::ConnectRequest;
use crate::session::socket::Socket;
use crate::session::{PartyId, Shared, now};

/// How often an id that is taken is drawn anew. A source that goes on giving taken ids is broken.
const DRAWS: usize = 16;

/// What the query says of a new session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    pub(crate) transport: Transport,
    pub(crate) revision: Revision,
    pub(crate) base64: bool,
}

/// Runs the connect handler; answers with the open packet, the 101, or the application's refusal.
///
/// Dropping it while the handler runs lets a task finish the handler, so that what the handler began is completed, and
/// `on_disconnect` runs if it accepted.
pub(crate) struct ConnectFuture {
    server: Arc<ServerInner>,
    stage: Stage,
    /// Begins when the application first has to be waited for.
    timeout: Option<Pin<Box<Sleep>>>,
    /// The request is gone; a task finishes the handler.
    orphaned: bool,
}

enum Stage {
    /// The application draws an id.
    Naming(Naming, usize, Box<Request>),
    Handling(Box<Handling>),
    Done,
}

/// What is known of the request before there is a session.
struct Request {
    head: Parts,
    peer: Option<SocketAddr>,
    opening: Opening,
    handshake: Option<upgrade::Handshake>,
    permit: Permit,
}

struct Handling {
    session: Arc<Shared>,
    via: Via,
    handler: Started<Result<(), Rejection>>,
    /// The cookie with the session's id.
    cookie: Option<HeaderValue>,
    /// Held until the client is let in or not.
    _debt: Debt,
}

/// How the session is reached once it is accepted.
#[derive(Debug)]
enum Via {
    Polling(ExchangeId),
    WebSocket(WebSocketId, upgrade::Handshake),
}

impl ConnectFuture {
    pub(crate) fn open(
        server: &Arc<ServerInner>,
        mut head: Parts,
        peer: Option<SocketAddr>,
        opening: Opening,
    ) -> Result<Self, Refusal> {
        let handshake = match opening.transport {
            Transport::WebSocket => Some(upgrade::Handshake::check(&mut head, &server.options)?),
            _ => None,
        };
        let permit = server.admission.admit(peer.map(|peer| peer.ip()))?;
        server.enter_runtime();
        let request = Request {
            head,
            peer,
            opening,
            handshake,
            permit,
        };
        let stage = match &server.options.sids {
            Some(sids) => Stage::Naming(sids(&request.head), 1, Box::new(request)),
            None => Stage::Handling(Box::new(request.handle(server, random_sid(server)?))),
        };
        Ok(Self {
            server: Arc::clone(server),
            stage,
            timeout: None,
            orphaned: false,
        })
    }

    /// Goes on; with an answer comes the cookie that it sets.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(Answer, Option<HeaderValue>)> {
        let decision = loop {
            match &mut self.stage {
                Stage::Naming(naming, draws, _) => {
                    let drawn = match poll_caught(naming, cx) {
                        Poll::Ready(drawn) => drawn,
                        Poll::Pending => {
                            ready!(self.poll_timeout(cx));
                            return self.refused(Rejection::unavailable());
                        }
                    };
                    let Ok(sid) = drawn else {
                        return self.refused(panicked());
                    };
                    let taken = self.server.registry.get(&sid).is_some();
                    if taken && *draws == DRAWS {
                        tracing::error!(target: "engineio::connect", "the source of session ids gives only taken ones");
                        return self.refused(Rejection::unavailable());
                    }
                    let draws = *draws + 1;
                    let Stage::Naming(_, _, request) =
                        std::mem::replace(&mut self.stage, Stage::Done)
                    else {
                        return Poll::Pending;
                    };
                    self.stage = match (&self.server.options.sids, taken) {
                        (Some(sids), true) => Stage::Naming(sids(&request.head), draws, request),
                        _ => Stage::Handling(Box::new(request.handle(&self.server, sid))),
                    };
                }
                Stage::Handling(handling) => {
                    break match &mut handling.handler {
                        Started::Done(decision) => std::mem::replace(decision, Ok(())),
                        Started::Running(running) => match poll_caught(running, cx) {
                            Poll::Ready(decision) => decision.unwrap_or_else(|()| Err(panicked())),
                            Poll::Pending => {
                                ready!(self.poll_timeout(cx));
                                tracing::warn!(target: "engineio::connect", "a connect handler took too long; the client is refused");
                                Err(Rejection::unavailable())
                            }
                        },
                    };
                }
                Stage::Done => return Poll::Pending,
            }
        };
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Handling(handling) => Poll::Ready(handling.decided(decision, cx)),
            _ => Poll::Pending,
        }
    }

    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.server.options.connect_timeout;
        self.timeout
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)))
            .as_mut()
            .poll(cx)
    }

    fn refused(&mut self, rejection: Rejection) -> Poll<(Answer, Option<HeaderValue>)> {
        self.stage = Stage::Done;
        Poll::Ready((Answer::Refused(rejection), None))
    }
}

fn random_sid(server: &ServerInner) -> Result<Sid, Refusal> {
    let mut random = [0; 15];
    loop {
        if let Err(error) = getrandom::fill(&mut random) {
            tracing::error!(target: "engineio::connect", %error, "the system gives no random bytes");
            return Err(Refusal::Unavailable);
        }
        let sid = Sid::from_random(random);
        if server.registry.get(&sid).is_none() {
            return Ok(sid);
        }
    }
}

/// The panic hook has told the details.
fn panicked() -> Rejection {
    tracing::error!(target: "engineio::connect", "a connect handler panicked; the client is refused");
    Rejection::status_code(http::StatusCode::INTERNAL_SERVER_ERROR).json("Internal server error")
}

/// Polls code of the application, whose panic is an error.
fn poll_caught<T>(running: &mut BoxFuture<T>, cx: &mut Context<'_>) -> Poll<Result<T, ()>> {
    match catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(_) => Poll::Ready(Err(())),
    }
}

impl Request {
    /// Makes the session, which nobody can find yet, and calls the connect handler.
    fn handle(self, server: &Arc<ServerInner>, sid: Sid) -> Handling {
        let Self {
            head,
            peer,
            opening,
            handshake,
            permit,
        } = self;
        let Opening {
            transport,
            revision,
            base64,
        } = opening;
        let mut session = Session::new(Arc::clone(&server.config), sid, revision, base64);
        let via = match handshake {
            Some(handshake) => Via::WebSocket(session.next_websocket(), handshake),
            None => Via::Polling(session.next_exchange()),
        };
        let session = Shared::new(Arc::clone(server), session, opening, peer, permit);
        if let Some(message) = &server.options.initial_message {
            // An empty queue takes any message.
            let _ = session.try_send(message.clone(), SendOptions::new());
        }
        let cookie = server.options.cookie.as_ref();
        let cookie = cookie.and_then(|cookie| cookie.header(&sid, &head));
        let debt = Debt::new(server);
        let socket = Socket::new(Arc::clone(&session));
        let request = ConnectRequest::new(head, transport, revision, peer);
        let handler = catch_unwind(AssertUnwindSafe(|| {
            server.handlers.connect(socket, request)
        }))
        .unwrap_or_else(|_| Started::Done(Err(panicked())));
        Handling {
            session,
            via,
            handler,
            cookie,
            _debt: debt,
        }
    }
}

impl Handling {
    fn decided(
        self,
        decision: Result<(), Rejection>,
        cx: &mut Context<'_>,
    ) -> (Answer, Option<HeaderValue>) {
        let Self {
            session,
            via,
            cookie,
            ..
        } = self;
        let closed = session.ask(Session::closed);
        if let Err(rejection) = decision.and_then(|()| match closed {
            // The handler closed the socket instead of refusing the client.
            Some(_) => Err(Rejection::default()),
            None => Ok(()),
        }) {
            session.never_accepted();
            return (Answer::Refused(rejection), None);
        }
        let server = Arc::clone(&session.server);
        if !server.registry.insert(session.sid, Arc::clone(&session)) {
            // The end of this one would be taken for that of the client that has the id.
            session.never_accepted();
            return (Answer::Refusal(Refusal::Unavailable), None);
        }
        let (first, party) = match &via {
            Via::Polling(id) => (First::Polling(*id), PartyId::Exchange(*id)),
            Via::WebSocket(id, _) => (First::WebSocket(*id), PartyId::WebSocket(*id)),
        };
        if !session.accept(first, party) {
            // Closed by a handle that the connect handler gave away, perhaps before it was entered.
            server.registry.remove(&session);
            session.never_accepted();
            return (Answer::Refused(Rejection::default()), None);
        }
        if server.is_leaving() {
            // A shutdown that begins after this look finds the accepted session in the registry. The application has
            // accepted the client, so it hears of its end.
            session.leave(party, None);
            session.update(|session| session.abort(now(), DisconnectReason::Shutdown));
            return (Answer::Refusal(Refusal::Unavailable), None);
        }
        tracing::debug!(target: "engineio::session", sid = session.sid.short(), ?via, "connected");
        let answer = match via {
            Via::Polling(id) => {
                let mut answer = PollFuture::waiting(session, id);
                match Pin::new(&mut answer).poll(cx) {
                    Poll::Ready(answer) => answer,
                    // The open packet is always there.
                    Poll::Pending => Answer::Refusal(Refusal::Unavailable),
                }
            }
            Via::WebSocket(id, handshake) => {
                Answer::Response(handshake.accept(Driver::new(session, id)))
            }
        };
        (answer, cookie)
    }
}

impl Drop for ConnectFuture {
    fn drop(&mut self) {
        // A plain handler has run even if nobody has polled since. A runtime that shuts down drops the task as well; that
        // is the end of it.
        let Stage::Handling(handling) = &self.stage else {
            return;
        };
        if self.orphaned {
            return;
        }
        let session = Arc::clone(&handling.session);
        let mut rest = Self {
            server: Arc::clone(&self.server),
            stage: std::mem::replace(&mut self.stage, Stage::Done),
            timeout: self.timeout.take(),
            orphaned: true,
        };
        self.server.spawn(async move {
            drop(std::future::poll_fn(|cx| rest.poll(cx)).await);
            session.update(|session| session.abort(now(), DisconnectReason::TransportClose));
        });
    }
}
