//! The server as a service, alone or around a host app.

use std::convert::Infallible;
use std::error::Error;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Extensions, Request, Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use tower_layer::Layer;
use tower_service::Service;

use crate::http::body::ResponseBody;
use crate::http::future::ResponseFuture;
use crate::http::unread::{Discard, DiscardUnread, discard_of};
use crate::server::Server;
use crate::session::request::PeerAddr;

/// Puts an Engine.IO server in front of a host app: it serves requests for the server's path and passes all others to
/// the inner service unchanged.
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
    discard: Discard,
}

/// Looks up the peer's address where the host keeps it.
type PeerLookup = fn(&Extensions) -> Option<SocketAddr>;

fn peer_of_extension(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get().map(|&PeerAddr(peer)| peer)
}

impl EngineIoLayer {
    /// Returns a layer for this server.
    #[must_use]
    pub const fn new(server: Server) -> Self {
        Self {
            server,
            peer: peer_of_extension,
            discard: discard_of::<Incoming>(),
        }
    }

    /// Sets the lookup of the peer's address for hosts that do not insert a [`PeerAddr`]. For adapters.
    #[must_use]
    pub const fn peer_addr_from(mut self, lookup: fn(&Extensions) -> Option<SocketAddr>) -> Self {
        self.peer = lookup;
        self
    }

    /// Sets the type of request bodies whose rest is discarded, as
    /// [`EngineIoService::discard_unread`] does. For adapters.
    #[must_use]
    pub const fn discard_unread<B>(mut self) -> Self
    where
        B: Body + Send + Unpin + 'static,
    {
        self.discard = discard_of::<B>();
        self
    }
}

impl<S> Layer<S> for EngineIoLayer {
    type Service = EngineIoService<S>;

    fn layer(&self, inner: S) -> EngineIoService<S> {
        EngineIoService {
            server: self.server.clone(),
            peer: self.peer,
            discard: self.discard,
            inner,
        }
    }
}

/// An Engine.IO server as a `tower::Service`, around an inner service that gets every request for another path.
///
/// The request body goes to the inner service unchanged; the data of the response body must be [`Bytes`]. The future is
/// [`Send`] exactly when the request body is.
///
/// # Runtime
///
/// It must be called inside a tokio runtime with time enabled, because a session is opened by the call, before the future
/// is polled. Elsewhere every handshake is answered with 503, and the error is logged.
///
/// # Back pressure
///
/// The service is always ready: a host app that is saturated (`ConcurrencyLimit`, `Buffer`) must not hold up polls and
/// heartbeats, whose sessions would time out. A request for the host app goes to a clone of the inner service and waits
/// until that is ready. Put a layer that sheds load around the inner service, where it sees whether that is ready.
///
/// A concurrency limit around this service counts every waiting poll, one for each client that polls: a hundred of them
/// would use up a hundred permits, and no other request would be served.
///
/// # Unread bodies
///
/// A request that is refused before its body was read is answered at once, and the rest of the body is discarded in a
/// task of its own; [`DiscardUnread`] says why and for how long. This concerns the bodies of hyper, and those named with
/// [`discard_unread`](Self::discard_unread).
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
    discard: Discard,
    inner: S,
}

impl EngineIoService {
    /// Returns a service for the server alone, which answers requests for other paths with 404.
    #[must_use]
    pub const fn new(server: Server) -> Self {
        Self::with_inner(server, NotFound(()))
    }
}

impl<S> EngineIoService<S> {
    /// Returns a service that puts the server in front of a host app.
    pub const fn with_inner(server: Server, inner: S) -> Self {
        Self {
            server,
            peer: peer_of_extension,
            discard: discard_of::<Incoming>(),
            inner,
        }
    }

    /// Puts files in front of the host app: the Engine.IO path comes first, then the files, then the app.
    #[cfg(feature = "static-files")]
    pub fn static_files(
        self,
        files: crate::hosting::static_files::StaticFiles,
    ) -> EngineIoService<crate::hosting::static_files::StaticFilesService<S>> {
        EngineIoService {
            server: self.server,
            peer: self.peer,
            discard: self.discard,
            inner: crate::hosting::static_files::StaticFilesLayer::new(files).layer(self.inner),
        }
    }

    /// Sets the lookup of the peer's address for hosts that do not insert a [`PeerAddr`]. For adapters.
    #[must_use]
    pub fn peer_addr_from(mut self, lookup: fn(&Extensions) -> Option<SocketAddr>) -> Self {
        self.peer = lookup;
        self
    }

    /// Sets the type of request bodies whose rest is discarded when the answer leaves before their end. Default: that
    /// of hyper, [`Incoming`]. For adapters: `B` is the host's type, which the service sees behind all its layers. A body
    /// of another type is dropped.
    #[must_use]
    pub fn discard_unread<B>(mut self) -> Self
    where
        B: Body + Send + Unpin + 'static,
    {
        self.discard = discard_of::<B>();
        self
    }

    /// Returns the host app.
    pub const fn inner(&self) -> &S {
        &self.inner
    }

    /// Returns the server.
    pub const fn server(&self) -> &Server {
        &self.server
    }
}

impl<S, B, R> Service<Request<B>> for EngineIoService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>> + Unpin + 'static,
    R: Body<Data = Bytes>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if !self.server.claims(request.uri().path()) {
            return ResponseFuture::inner(self.inner.clone(), request);
        }
        let peer = (self.peer)(request.extensions());
        let discard = self.discard.downcast_ref().copied();
        let (head, body) = request.into_parts();
        let body = DiscardUnread::by(discard, &head, body);
        ResponseFuture::engine(self.server.inner().respond(head, body, peer))
    }
}

/// Answers every request with 404: the inner service of a server without a host app.
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
