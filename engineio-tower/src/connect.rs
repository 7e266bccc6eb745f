//! A request that opens a session.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use engineio_core::server::{ExchangeId, First, Session, WebSocketId};
use engineio_core::{DisconnectReason, Refusal, Revision, Sid, Transport};
use http::request::Parts;

use crate::driver::Driver;
use crate::handler::{BoxFuture, Started};
use crate::poll::PollFuture;
use crate::refuse::Refuse;
use crate::request::ConnectRequest;
use crate::response::{self, EngineResponse};
use crate::server::ServerInner;
use crate::session::{PartyId, Shared, now};
use crate::socket::Socket;
use crate::upgrade;

/// How the session is reached once it is accepted.
#[derive(Debug)]
enum Via {
    Polling(ExchangeId),
    WebSocket(WebSocketId, upgrade::Handshake),
}

/// Runs the connect handler; answers with the open packet, the 101, or the application's refusal.
///
/// Dropping it while the handler runs lets a task finish the handler, so that what the handler began is completed, and
/// `on_disconnect` runs if it accepted.
pub(crate) struct ConnectFuture(Option<Connecting>);

struct Connecting {
    session: Arc<Shared>,
    via: Via,
    handler: Started<Result<(), Refuse>>,
    /// The request is gone; a task finishes the handler.
    orphaned: bool,
}

impl std::fmt::Debug for ConnectFuture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConnectFuture")
    }
}

impl ConnectFuture {
    pub(crate) fn open(
        server: &Arc<ServerInner>,
        mut head: Parts,
        transport: Transport,
        revision: Revision,
        base64: bool,
        peer: Option<SocketAddr>,
    ) -> Result<Self, Refusal> {
        let handshake = match transport {
            Transport::WebSocket => Some(upgrade::Handshake::check(&mut head)?),
            _ => None,
        };
        server.enter_runtime();
        let sid = new_sid(server)?;
        let mut session = Session::new(Arc::clone(&server.config), sid, revision, base64);
        let via = match handshake {
            Some(handshake) => Via::WebSocket(session.next_websocket(), handshake),
            None => Via::Polling(session.next_exchange()),
        };
        let session = Shared::new(Arc::clone(server), session, peer);
        let socket = Socket::new(Arc::clone(&session));
        let request = ConnectRequest::new(head, transport, revision, peer);
        let handler = catch_unwind(AssertUnwindSafe(|| {
            server.handlers.connect(socket, request)
        }))
        .unwrap_or_else(|_| Started::Done(Err(panicked())));
        Ok(Self(Some(Connecting {
            session,
            via,
            handler,
            orphaned: false,
        })))
    }
}

fn new_sid(server: &ServerInner) -> Result<Sid, Refusal> {
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
fn panicked() -> Refuse {
    tracing::error!(target: "engineio::connect", "a connect handler panicked; the client is refused");
    Refuse::status_code(http::StatusCode::INTERNAL_SERVER_ERROR).json("Internal server error")
}

impl Future for ConnectFuture {
    type Output = EngineResponse;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<EngineResponse> {
        let Some(connecting) = &mut self.0 else {
            return Poll::Pending;
        };
        let decision = match &mut connecting.handler {
            Started::Done(decision) => std::mem::replace(decision, Ok(())),
            Started::Running(running) => match poll_handler(running, cx) {
                Poll::Ready(decision) => decision,
                Poll::Pending => return Poll::Pending,
            },
        };
        match self.0.take() {
            Some(connecting) => Poll::Ready(connecting.decided(decision, cx)),
            None => Poll::Pending,
        }
    }
}

fn poll_handler(
    running: &mut BoxFuture<Result<(), Refuse>>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Refuse>> {
    catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(cx)))
        .unwrap_or_else(|_| Poll::Ready(Err(panicked())))
}

impl Connecting {
    fn decided(self, decision: Result<(), Refuse>, cx: &mut Context<'_>) -> EngineResponse {
        let Self { session, via, .. } = self;
        let closed = session.ask(Session::closed);
        if let Err(refuse) = decision.and_then(|()| match closed {
            // The handler closed the socket instead of refusing the client.
            Some(_) => Err(Refuse::default()),
            None => Ok(()),
        }) {
            // For those who keep a handle of the socket.
            session.update(|session| session.abort(now(), DisconnectReason::Server));
            return response::refused(refuse);
        }
        if !session
            .server
            .registry
            .insert(session.sid, Arc::clone(&session))
        {
            return response::refusal(Refusal::Unavailable);
        }
        session.server.connected();
        tracing::debug!(target: "engineio::session", sid = session.sid.short(), ?via, "connected");
        match via {
            Via::Polling(id) => {
                session.accept(First::Polling(id), PartyId::Exchange(id));
                let mut answer = PollFuture::waiting(session, id);
                match Pin::new(&mut answer).poll(cx) {
                    Poll::Ready(response) => response,
                    // The open packet is always there.
                    Poll::Pending => response::refusal(Refusal::Unavailable),
                }
            }
            Via::WebSocket(id, handshake) => {
                session.accept(First::WebSocket(id), PartyId::WebSocket(id));
                handshake.accept(Driver::new(session, id))
            }
        }
    }
}

impl Drop for ConnectFuture {
    fn drop(&mut self) {
        let Some(mut connecting) = self.0.take() else {
            return;
        };
        // A runtime that shuts down drops the task as well; that is the end of it.
        if connecting.orphaned || matches!(connecting.handler, Started::Done(_)) {
            return;
        }
        connecting.orphaned = true;
        let session = Arc::clone(&connecting.session);
        let rest = Self(Some(connecting));
        session.server.spawn({
            let session = Arc::clone(&session);
            async move {
                drop(rest.await);
                session.update(|session| session.abort(now(), DisconnectReason::TransportClose));
            }
        });
    }
}
