//! The server as a service, alone or around a host app.

use std::convert::Infallible;
use std::error::Error;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use engineio_core::{Action, Method, Query, Refusal, Revision, Sid, SidParameter};
use http::request::Parts;
use http::{Extensions, Request, Response, StatusCode};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::http::body::ResponseBody;
use crate::http::connect::ConnectFuture;
use crate::http::future::{EngineFuture, ResponseFuture, Work};
use crate::http::poll::PollFuture;
use crate::http::post::{Form, PostFuture};
use crate::http::response::{Answer, Reply};
use crate::http::upgrade;
use crate::policy::cors::Preflight;
use crate::policy::origin::Verdict;
use crate::server::{Server, ServerInner};
use crate::session::driver::Driver;
use crate::session::request::PeerAddr;
use crate::session::{Opening, Session};

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
/// the Engine.IO server keeps the permit until the next call of the same clone. Outside of this service such a limit
/// counts every poll that waits, one for each client that polls: a hundred of them would use a hundred permits up, and
/// nobody else be served. Put such limits on single routes of the host app.
///
/// # Examples
///
/// ```
/// use engineio_tower::{EngineIoService, Server};
/// use http::{Request, StatusCode};
/// use http_body_util::Empty;
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let service = EngineIoService::new(Server::builder().build());
/// let request = Request::get("/engine.io/?EIO=4&transport=polling").body(Empty::<bytes::Bytes>::new())?;
/// let response = service.oneshot(request).await?;
/// assert_eq!(response.status(), StatusCode::OK);
/// # Ok(())
/// # }
/// ```
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

    /// The same with files in front of the host app: the Engine.IO path comes first, then the files, then the app.
    #[cfg(feature = "static-files")]
    pub fn static_files(
        self,
        files: crate::StaticFiles,
    ) -> EngineIoService<crate::StaticFilesService<S>> {
        EngineIoService {
            server: self.server,
            peer: self.peer,
            inner: crate::StaticFilesLayer::new(files).layer(self.inner),
        }
    }

    /// Says how the host tells the address of the peer, where it is not by a [`PeerAddr`]. For adapters.
    #[must_use]
    pub fn peer_addr_from(mut self, lookup: fn(&Extensions) -> Option<SocketAddr>) -> Self {
        self.peer = lookup;
        self
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

/// A request whose origin has not been checked yet.
pub(crate) struct Unchecked<B> {
    head: Parts,
    body: B,
    query: Query,
    peer: Option<SocketAddr>,
    preflight: Option<Preflight>,
}

impl ServerInner {
    /// Serves a request for the server's path.
    fn respond<B: Body>(
        self: &Arc<Self>,
        request: Request<B>,
        peer: PeerLookup,
    ) -> EngineFuture<B> {
        let (head, body) = request.into_parts();
        let mut query = Query::parse(head.uri.query().unwrap_or_default());
        if !query.is_script() {
            query.jsonp = None;
        }
        let mut reply = Reply::new(&self.options, &head, query.jsonp);
        let origins = &self.options.origins;
        let verdict = origins.check(&head, query.is_script());
        let unchecked = Unchecked {
            query,
            peer: peer(&head.extensions),
            preflight: origins.preflight(&head),
            head,
            body,
        };
        let work = match verdict {
            Verdict::Ask(allowed) => Work::Origin {
                allowed,
                unchecked: Some(Box::new(unchecked)),
            },
            verdict => {
                self.origin_checked(unchecked, matches!(verdict, Verdict::Allowed), &mut reply)
            }
        };
        EngineFuture::new(Arc::clone(self), reply, work)
    }

    /// Continues with a request whose origin has been checked.
    pub(crate) fn origin_checked<B: Body>(
        self: &Arc<Self>,
        unchecked: Unchecked<B>,
        allowed: bool,
        reply: &mut Reply,
    ) -> Work<B> {
        reply.allowed = allowed;
        if !allowed {
            return Work::answered(Refusal::Forbidden);
        }
        let Unchecked {
            mut head,
            body,
            query,
            peer,
            preflight,
        } = unchecked;
        if let Some(preflight) = preflight {
            return Work::Written {
                response: Some(reply.preflight(preflight)),
            };
        }
        let upgrade = upgrade::is_requested(&head);
        let method = match head.method {
            http::Method::GET => Method::Get,
            http::Method::CONNECT if upgrade => Method::Get,
            http::Method::POST => Method::Post,
            _ => Method::Other,
        };
        let action = match query.action(method, upgrade, &self.config) {
            Ok(action) => action,
            Err(refusal) => return Work::answered(self.refusal_for(refusal, &query)),
        };
        if let Some(hook) = &self.options.headers {
            hook(&head, reply.headers_mut());
        }
        let work = match action {
            Action::Open(..) if self.is_leaving() => Err(Refusal::Unavailable),
            Action::Open(transport, revision) => {
                if let Some(hook) = &self.options.initial_headers {
                    hook(&head, reply.headers_mut());
                }
                let opening = Opening {
                    transport,
                    revision,
                    // A script cannot hold bytes.
                    base64: query.base64 || query.jsonp.is_some(),
                };
                ConnectFuture::open(self, head, peer, opening)
                    .map(|future| Work::Connect { future })
            }
            Action::Poll(sid) => self.find(&sid, &query).map(|session| Work::Poll {
                future: PollFuture::open(session),
            }),
            Action::Post(sid) => self.find(&sid, &query).map(|session| Work::Post {
                future: PostFuture::open(session, form(&head, &query), body),
            }),
            Action::Upgrade(sid) => self
                .find(&sid, &query)
                .and_then(|session| open_upgrade(session, &mut head))
                .map(Work::answered),
        };
        work.unwrap_or_else(Work::answered)
    }

    /// Chooses the refusal of a malformed request: if its session does not exist either, the client learns that.
    fn refusal_for(&self, refusal: Refusal, query: &Query) -> Refusal {
        match query.sid {
            SidParameter::Given(sid)
                if refusal != Refusal::UnknownTransport && self.registry.get(&sid).is_none() =>
            {
                Refusal::UnknownSid
            }
            _ => refusal,
        }
    }

    /// The session of a request, which must be of the kind that it was opened for.
    fn find(self: &Arc<Self>, sid: &Sid, query: &Query) -> Result<Arc<Session>, Refusal> {
        let session = self.registry.get(sid).ok_or(Refusal::UnknownSid)?;
        // The runtime that watched the deadlines may be gone: in actix-web each worker has one of its own.
        self.deadlines.watch(self);
        // A session that may be answered with bytes cannot be asked for scripts.
        let scripts = query.jsonp.is_none() || session.base64 || session.revision == Revision::V4;
        if query.revision != Some(session.revision) || !scripts {
            return Err(Refusal::BadRequest);
        }
        Ok(session)
    }
}

/// In what a POST carries its packets.
fn form(head: &Parts, query: &Query) -> Form {
    let content_type = head.headers.get(http::header::CONTENT_TYPE);
    if query.jsonp.is_some() {
        Form::Jsonp
    } else if content_type.is_some_and(|kind| kind == "application/octet-stream") {
        Form::Binary
    } else {
        Form::Text
    }
}

fn open_upgrade(session: Arc<Session>, head: &mut Parts) -> Result<Answer, Refusal> {
    let handshake = upgrade::Handshake::check(head, &session.server.options)?;
    let id = session.open_websocket()?;
    Ok(Answer::Response(handshake.accept(Driver::new(session, id))))
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
