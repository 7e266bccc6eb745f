//! Engine.IO for axum: long-polling, WebSocket and the upgrade between them, in front of an app or among its routes.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use engineio_axum::{EngineIoLayer, Message, Server, Socket};
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let server = Server::builder()
//!         .on_message(|socket: Socket, message: Message| async move {
//!             let _ = socket.send(message).await; // Waits while the client is slow; the error returns the message.
//!         })
//!         .build();
//!
//!     let app = Router::new()
//!         .route("/", get(|| async { "hello" }))
//!         .layer(EngineIoLayer::new(server));
//!
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:5000").await?;
//!     axum::serve(listener, app).await
//! }
//! ```
//!
//! # Three ways to add the server
//!
//! - [`EngineIoLayer`] is a layer. Add it last, to the outermost router. It sees every request, including those without a
//!   route, and its path takes precedence over a route with the same path.
//! - [`RouterExt::engine_io`] adds routes. It works on any router, including one that is merged or nested later, and
//!   layers that are added later see the server's requests. As with any two routes for one path, building the router
//!   panics if it already has a route for that path.
//! - [`wrap`] puts the server around a finished app, in front of all its layers.
//!
//! ```
//! use axum::{Router, routing::get};
//! use engineio_axum::{EngineIoLayer, RouterExt, Server};
//!
//! # let server = Server::builder().build();
//! let users = Router::new().route("/users", get(|| async { "Ada" }));
//! let nothing = || async { "nothing here" };
//!
//! // Reached at /engine.io/, in both:
//! let app: Router = Router::new()
//!     .merge(users.clone())
//!     .fallback(nothing)
//!     .layer(EngineIoLayer::new(server.clone()));
//! let app: Router = Router::new()
//!     .merge(users.clone().engine_io(server.clone()))
//!     .fallback(nothing);
//!
//! // Reached at /engine.io/ and /api/engine.io/, in this order:
//! let app: Router = Router::new()
//!     .nest("/api", users.clone())
//!     .layer(EngineIoLayer::new(server.clone()));
//! let app: Router = Router::new().nest("/api", users.engine_io(server));
//! ```
//!
//! The layer is not a route, and the server's requests do not reach it in four cases: if a `fallback` is added after
//! it; if it is added with `route_layer`; in `outer.merge(inner.layer(…))`, if `outer` has a fallback, which takes
//! the requests without a route; and in `outer.nest("/api", inner.layer(…))`, unless `inner` has a fallback of its own.
//! In the last two cases, add routes instead.
//!
//! `nest_service("/engine.io", service)` does not work: it strips the prefix, and the server answers 404, because `/` is
//! not its path. Use [`RouterExt::engine_io`], also to serve it below a prefix.
//!
//! Layers around the server's requests change its responses too. The server has its own rules for origins: use
//! [`Origins`] for them, not a `CorsLayer`.
//!
//! # The peer's address
//!
//! [`ConnectRequest::peer_addr`] and [`Socket::peer_addr`] return the peer's address if the app is served with
//! `into_make_service_with_connect_info::<SocketAddr>()` or by [`serve`]. Limits for each peer and for each connection
//! need it: [`max_sockets_per_peer`](ServerBuilder::max_sockets_per_peer), and the limit of 200 handshakes in progress
//! on an HTTP/2 connection.
//!
//! In the app's own handlers, the extractor `ConnectInfo` works only with the former and fails with [`serve`]; there, use
//! `Extension<`[`PeerAddr`]`>` instead.
//!
//! # Nagle's algorithm
//!
//! `axum::serve` leaves Nagle's algorithm on, which delays the second of two small packets by about 40 ms. The server's
//! WebSockets disable it. To disable it for polling too, serve with
//! `listener.tap_io(|stream| { let _ = stream.set_nodelay(true); })`, or with [`serve`], which also drops clients that
//! connect but send no request (slowloris).
//!
//! # WebSockets over HTTP/2
//!
//! WebSockets over HTTP/2 (RFC 8441) need only axum's feature `http2`. With `axum::serve`, a WebSocket whose messages the
//! application does not take can block the other WebSockets of its connection; with [`serve`], it cannot.
//!
//! # Static files
//!
//! With the feature `static-files`, add `StaticFilesLayer` to the router before the server's layer. A request is then
//! matched against the Engine.IO path first, then the files, then the app:
//! `app.layer(StaticFilesLayer::new(files)).layer(EngineIoLayer::new(server))`.
//!
//! # Shutdown
//!
//! A waiting poll is a request in progress, so `with_graceful_shutdown` waits for it. Disconnect the clients in the
//! future that you pass as the signal, so that they are gone before the host starts to wait. [`serve`] then waits 30 s
//! at most ([`shutdown_timeout`](Serve::shutdown_timeout)); `axum::serve` waits without a limit, even for an unfinished
//! request head:
//!
//! ```no_run
//! # use std::time::Duration;
//! # async fn run(listener: tokio::net::TcpListener, app: axum::Router, server: engineio_axum::Server) -> std::io::Result<()> {
//! engineio_axum::serve(listener, app)
//!     .with_graceful_shutdown(async move {
//!         let _ = tokio::signal::ctrl_c().await;
//!         server.shutdown(Duration::from_secs(10)).await; // Sends queued messages and closes.
//!     })
//!     .await
//! # }
//! ```

// On docs.rs, each item says which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::response::Response;
use axum::{BoxError, Router};
use engineio_tower::ResponseBody;
use http::Extensions;
use tower::util::MapResponse;
use tower_layer::Layer;
use tower_service::Service;

pub use engineio_tower::{
    Config, ConnectRequest, DisconnectReason, EngineIoService, Handler, InvalidOrigin, Message,
    Origins, PeerAddr, Refusal, Rejection, Revision, SameSite, Scheme, SendError, SendOptions,
    Serve, Server, ServerBuilder, Sid, SidCookie, Socket, Text, Transport, Transports, WhenFull,
    serve,
};
#[cfg(feature = "static-files")]
pub use engineio_tower::{StaticFiles, StaticFilesLayer, StaticTarget};

/// Puts an Engine.IO server in front of a router; see the [crate's documentation](crate) for where it goes.
#[derive(Clone, Debug)]
pub struct EngineIoLayer(engineio_tower::EngineIoLayer);

impl EngineIoLayer {
    /// Returns a layer for this server.
    #[must_use]
    pub fn new(server: Server) -> Self {
        let layer = engineio_tower::EngineIoLayer::new(server);
        Self(layer.peer_addr_from(peer).discard_unread::<Body>())
    }
}

/// Returns the address of the peer, from whichever host serves the app.
fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    let known = extensions.get().map(|&PeerAddr(peer)| peer);
    known.or_else(|| {
        let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
        Some(*peer)
    })
}

impl<S> Layer<S> for EngineIoLayer {
    type Service = EngineIo<S>;

    fn layer(&self, inner: S) -> Self::Service {
        EngineIo(self.0.layer(inner))
    }
}

/// An app with an [`EngineIoLayer`] around it. Programs need not name this type.
///
/// Its responses have axum's own body type: axum would box each body of another type.
#[derive(Clone, Debug)]
pub struct EngineIo<S>(EngineIoService<S>);

impl<S, B, R> Service<http::Request<B>> for EngineIo<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>> + Clone,
    B: HttpBody<Error: Into<BoxError>> + Unpin + 'static,
    R: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = <MapResponse<EngineIoService<S>, ToAxum<R>> as Service<http::Request<B>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        MapResponse::new(&mut self.0, to_axum as ToAxum<R>).call(request)
    }
}

type ToAxum<R> = fn(http::Response<ResponseBody<R>>) -> Response;

fn to_axum<R>(response: http::Response<ResponseBody<R>>) -> Response
where
    R: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    // A body of axum's own type stays as it is.
    response.map(|body| body.into_inner().map_or_else(Body::new, Body::new))
}

/// Adds an Engine.IO server to the routes of a router.
pub trait RouterExt {
    /// Adds routes for the server: its path and everything below it, with and without a trailing slash.
    ///
    /// # Panics
    ///
    /// Panics if the router already has a route for one of these paths.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::Router;
    /// use engineio_axum::{RouterExt, Server};
    ///
    /// let server = Server::builder().path("/realtime").build();
    /// let api = Router::new().engine_io(server);
    /// let app: Router = Router::new().nest("/api", api); // Reached at /api/realtime/.
    /// ```
    ///
    /// A nested router has no route for its prefix with a trailing slash, which clients request by default. So do not
    /// nest a server with the path `/` to serve it at the prefix itself: it would answer at `/api` and `/api/below`,
    /// but not at `/api/`. Instead, add it to the outer router, with the prefix as its path:
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use engineio_axum::{RouterExt, Server};
    ///
    /// let users = Router::new().route("/users", get(|| async { "Ada" }));
    /// let server = Server::builder().path("/api").build();
    /// let app: Router = Router::new().nest("/api", users).engine_io(server); // Reached at /api/, beside /api/users.
    /// ```
    #[must_use]
    fn engine_io(self, server: Server) -> Self;
}

impl<S: Clone + Send + Sync + 'static> RouterExt for Router<S> {
    fn engine_io(self, server: Server) -> Self {
        // It holds none of the characters to which axum gives a meaning.
        let path = server.path().to_owned();
        let service = EngineIoService::new(server).peer_addr_from(peer);
        let service = service.discard_unread::<Body>();
        let router = match path.as_str() {
            "" => self,
            path => self.route_service(path, service.clone()),
        };
        router
            .route_service(&format!("{path}/"), service.clone())
            .route_service(&format!("{path}/{{*below}}"), service)
    }
}

/// Puts an Engine.IO server around a finished app, in front of its layers too: no tracing, compression or timeout of
/// the app touches the server's requests.
///
/// # Examples
///
/// ```no_run
/// use std::net::SocketAddr;
/// use axum::{Router, ServiceExt, extract::Request, routing::get};
/// use engineio_axum::Server;
///
/// # async fn run(listener: tokio::net::TcpListener) -> std::io::Result<()> {
/// let server = Server::builder().build();
/// let app = Router::new().route("/", get(|| async { "hello" }));
/// let app = engineio_axum::wrap(app, server);
/// let app = ServiceExt::<Request>::into_make_service_with_connect_info::<SocketAddr>(app);
/// axum::serve(listener, app).await
/// # }
/// ```
///
/// [`serve`] takes the wrapped app as it is:
///
/// ```no_run
/// # use axum::Router;
/// # use engineio_axum::Server;
/// # async fn run(listener: tokio::net::TcpListener, app: Router, server: Server) -> std::io::Result<()> {
/// engineio_axum::serve(listener, engineio_axum::wrap(app, server)).await
/// # }
/// ```
pub fn wrap<B>(
    router: Router,
    server: Server,
) -> impl Service<http::Request<B>, Response = Response, Error = Infallible, Future: Send>
+ Clone
+ Send
+ Sync
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    EngineIoLayer::new(server).layer(router)
}

/// Runs axum's extractors in a connect handler.
pub trait ConnectRequestExt {
    /// Runs an extractor on the head of the request, with the app's state.
    ///
    /// # Errors
    ///
    /// Returns the extractor's rejection.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::extract::Query;
    /// use engineio_axum::{ConnectRequest, ConnectRequestExt, Rejection, Server, Socket};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Login {
    ///     token: String,
    /// }
    ///
    /// let server = Server::builder()
    ///     .on_connect(|_: Socket, request: ConnectRequest| async move {
    ///         let Query(login) = request
    ///             .extract::<Query<Login>, _>(&())
    ///             .await
    ///             .map_err(|_| Rejection::unauthorized())?;
    ///         match login.token.as_str() {
    ///             "secret" => Ok(()),
    ///             _ => Err(Rejection::unauthorized()),
    ///         }
    ///     })
    ///     .build();
    /// # let _ = server;
    /// ```
    fn extract<E, S>(&self, state: &S) -> impl Future<Output = Result<E, E::Rejection>> + Send
    where
        E: FromRequestParts<S>,
        S: Sync;
}

impl ConnectRequestExt for ConnectRequest {
    async fn extract<E, S>(&self, state: &S) -> Result<E, E::Rejection>
    where
        E: FromRequestParts<S>,
        S: Sync,
    {
        // Extractors may change the head, and a handler may run several on the same request.
        let mut head = self.head().clone();
        E::from_request_parts(&mut head, state).await
    }
}
