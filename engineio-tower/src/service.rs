//! The server as a service, alone or around a host app.

use std::convert::Infallible;
use std::error::Error;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use engineio_core::{Action, Method, Query, Refusal, Revision, Sid};
use http::request::Parts;
use http::{Extensions, Request, Response, StatusCode};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::body::ResponseBody;
use crate::connect::ConnectFuture;
use crate::driver::Driver;
use crate::future::{EngineFuture, ResponseFuture};
use crate::poll::PollFuture;
use crate::post::PostFuture;
use crate::request::PeerAddr;
use crate::response;
use crate::server::{Server, ServerInner};
use crate::session::Shared;
use crate::upgrade;

/// Puts an Engine.IO server in front of a host app: requests for the server's path are served, all others go to the
/// inner service untouched.
///
/// # Examples
///
/// ```
/// use engineio_tower::{EngineIoLayer, Server};
/// use tower::ServiceBuilder;
/// # use std::convert::Infallible;
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::{Empty, Full};
///
/// let app = tower::service_fn(|_: Request<Empty<Bytes>>| async {
///     Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello"))))
/// });
/// let server = Server::builder().build();
/// let service = ServiceBuilder::new().layer(EngineIoLayer::new(server)).service(app);
/// # let _ = service;
/// ```
#[derive(Clone, Debug)]
pub struct EngineIoLayer {
    server: Server,
    peer: PeerLookup,
}

/// Where a host keeps the address of the peer.
type PeerLookup = fn(&Extensions) -> Option<SocketAddr>;

fn peer_of_extension(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get().map(|&PeerAddr(peer)| peer)
}

impl EngineIoLayer {
    /// A layer for this server.
    #[must_use]
    pub const fn new(server: Server) -> Self {
        Self {
            server,
            peer: peer_of_extension,
        }
    }

    /// Says how the host tells the address of the peer, where it is not by a [`PeerAddr`]. For adapters.
    #[must_use]
    pub const fn peer_addr_from(mut self, lookup: fn(&Extensions) -> Option<SocketAddr>) -> Self {
        self.peer = lookup;
        self
    }
}

impl<S> Layer<S> for EngineIoLayer {
    type Service = EngineIoService<S>;

    fn layer(&self, inner: S) -> EngineIoService<S> {
        EngineIoService {
            server: self.server.clone(),
            peer: self.peer,
            inner,
        }
    }
}

/// An Engine.IO server as a `tower::Service`, around an inner service that gets every request for another path.
///
/// The request body goes to the inner service unchanged; of the response body it is only asked that its data are
/// [`Bytes`]. The future is [`Send`] exactly when the request body is.
///
/// # Back pressure
///
/// `poll_ready` asks the inner service. If that one hands out permits, as tower's `ConcurrencyLimit` does, a request for
/// the Engine.IO server keeps the permit until the next call of the same clone: put such limits outside of this service,
/// or on single routes.
#[derive(Clone, Debug)]
pub struct EngineIoService<S = NotFound> {
    server: Server,
    peer: PeerLookup,
    inner: S,
}

impl EngineIoService {
    /// The server alone: requests for other paths are answered with 404.
    #[must_use]
    pub const fn new(server: Server) -> Self {
        Self::with_inner(server, NotFound(()))
    }
}

impl<S> EngineIoService<S> {
    /// The server around a host app.
    pub const fn with_inner(server: Server, inner: S) -> Self {
        Self {
            server,
            peer: peer_of_extension,
            inner,
        }
    }

    /// The host app.
    pub const fn inner(&self) -> &S {
        &self.inner
    }

    /// The server.
    pub const fn server(&self) -> &Server {
        &self.server
    }
}

impl<S, B, R> Service<Request<B>> for EngineIoService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>>,
    R: Body<Data = Bytes>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if self.server.claims(request.uri().path()) {
            ResponseFuture::engine(self.server.inner().respond(request, self.peer))
        } else {
            ResponseFuture::inner(self.inner.call(request))
        }
    }
}

impl ServerInner {
    /// Serves a request for the server's path.
    fn respond<B: Body>(
        self: &Arc<Self>,
        request: Request<B>,
        peer: PeerLookup,
    ) -> EngineFuture<B> {
        let (mut head, body) = request.into_parts();
        let query = Query::parse(head.uri.query().unwrap_or_default());
        let upgrade = upgrade::is_requested(&head);
        let method = match head.method {
            http::Method::GET => Method::Get,
            http::Method::CONNECT if upgrade => Method::Get,
            http::Method::POST => Method::Post,
            _ => Method::Other,
        };
        let outcome = match query.action(method, upgrade, &self.config) {
            Err(refusal) => Err(refusal),
            Ok(Action::Open(..)) if self.is_leaving() => Err(Refusal::Unavailable),
            Ok(Action::Open(transport, revision)) => {
                let peer = peer(&head.extensions);
                ConnectFuture::open(self, head, transport, revision, query.base64, peer).map(
                    |future| EngineFuture::Connect {
                        future: Box::pin(future),
                    },
                )
            }
            Ok(Action::Poll(sid)) => {
                self.find(&sid, query.revision)
                    .map(|session| EngineFuture::Poll {
                        future: PollFuture::open(session),
                    })
            }
            Ok(Action::Post(sid)) => {
                self.find(&sid, query.revision)
                    .map(|session| EngineFuture::Post {
                        future: PostFuture::open(session, body),
                    })
            }
            Ok(Action::Upgrade(sid)) => self
                .find(&sid, query.revision)
                .and_then(|session| open_upgrade(session, &mut head))
                .map(EngineFuture::ready),
        };
        outcome.unwrap_or_else(|refusal| {
            tracing::debug!(target: "engineio::refusal", %refusal, "refused");
            EngineFuture::ready(response::refusal(refusal))
        })
    }

    /// The session of a request, which must speak the revision that it was opened with.
    fn find(&self, sid: &Sid, revision: Option<Revision>) -> Result<Arc<Shared>, Refusal> {
        let session = self.registry.get(sid).ok_or(Refusal::UnknownSid)?;
        if revision != Some(session.revision) {
            return Err(Refusal::BadRequest);
        }
        Ok(session)
    }
}

fn open_upgrade(
    session: Arc<Shared>,
    head: &mut Parts,
) -> Result<response::EngineResponse, Refusal> {
    let handshake = upgrade::Handshake::check(head)?;
    let id = session.open_websocket()?;
    Ok(handshake.accept(Driver::new(session, id)))
}

/// The inner service of a server that stands alone: answers every request with 404.
#[derive(Clone, Copy, Debug)]
pub struct NotFound(());

impl<B> Service<Request<B>> for NotFound {
    type Response = Response<http_body_util::Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        let mut response =
            Response::new(http_body_util::Full::new(Bytes::from_static(b"Not Found")));
        *response.status_mut() = StatusCode::NOT_FOUND;
        response.headers_mut().insert(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("text/plain; charset=UTF-8"),
        );
        ready(Ok(response))
    }
}
