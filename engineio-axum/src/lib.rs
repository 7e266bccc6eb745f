//! Engine.IO for axum: a layer that serves the Engine.IO path and lets every other request through to the app.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use engineio_axum::{EngineIoLayer, Message, Server, Socket};
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let server = Server::builder()
//!         .on_message(|socket: Socket, message: Message| async move {
//!             let _ = socket.send(message).await; // Waits while the client is slow; `Err` gives the message back.
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
//! # Where it goes
//!
//! On the outermost router, last; [`RouterExt::engine_io`] is short for the layer. It sees every request then, those
//! without a route included, and its path wins over a route of the same path:
//!
//! ```
//! # use axum::{Router, routing::get};
//! use engineio_axum::{RouterExt, Server};
//!
//! # let server = Server::builder().build();
//! # let (users, fallback) = (Router::new(), || async { "nothing here" });
//! let app: Router = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .merge(users)
//!     .fallback(fallback)
//!     .engine_io(server);
//! ```
//!
//! Two places do not work as one may hope:
//!
//! - `outer.merge(inner.engine_io(server))` with a fallback on `outer`: the server never sees its path, because the
//!   outer fallback takes the requests without a route. Write `outer.merge(inner).engine_io(server)`.
//! - `outer.nest("/api", inner.engine_io(server))` is reached at `/api/engine.io/`, and only there. Where that is wanted
//!   it is right, and clients are given the path `/api/engine.io/`; otherwise write
//!   `outer.nest("/api", inner).engine_io(server)`.
//!
//! ```
//! # use axum::{Router, routing::get};
//! # use engineio_axum::{RouterExt, Server};
//! # let server = Server::builder().build();
//! # let public = server.clone();
//! let api = Router::new().route("/users", get(|| async { "Ada" }));
//! // Reached at /engine.io/ and nowhere else:
//! let app: Router = Router::new().nest("/api", api.clone()).engine_io(public);
//! // Reached at /api/engine.io/ and nowhere else:
//! let app: Router = Router::new().nest("/api", api.engine_io(server));
//! ```
//!
//! To be in front of everything, other layers included, [`wrap`] puts the server around a finished app.
//!
//! # The peer's address
//!
//! [`ConnectRequest::peer_addr`] and [`Socket::peer_addr`] know it when the app is served with
//! `into_make_service_with_connect_info::<SocketAddr>()`, or by [`serve`].
//!
//! # Nagle's algorithm
//!
//! `axum::serve` leaves it on, which delays the second of two small packets by some 40 ms. A WebSocket of ours switches
//! it off; for polling too, serve with `listener.tap_io(|stream| { let _ = stream.set_nodelay(true); })`, or with
//! [`serve`], which also drops clients that connect and ask nothing.
//!
//! # WebSockets over HTTP/2
//!
//! They need axum's feature `http2` and nothing else (RFC 8441).
//!
//! # Shutdown
//!
//! A poll that waits is a request under way, and `with_graceful_shutdown` waits for it. Disconnect the clients in the
//! signal's future, so that they are gone before axum begins to wait:
//!
//! ```no_run
//! # async fn run(listener: tokio::net::TcpListener, app: axum::Router, server: engineio_axum::Server) -> std::io::Result<()> {
//! axum::serve(listener, app)
//!     .with_graceful_shutdown(async move {
//!         let _ = tokio::signal::ctrl_c().await;
//!         server.disconnect_all().await; // What is queued goes out first, and every client is told.
//!     })
//!     .await
//! # }
//! ```

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::response::Response;
use engineio_tower::ResponseBody;
use tower::util::MapResponse;
use tower_layer::Layer;
use tower_service::Service;

pub use engineio_tower::{
    Config, ConnectRequest, DisconnectReason, EngineIoService, Handler, InvalidOrigin, Message,
    Origins, PeerAddr, Refusal, Refuse, Revision, SameSite, Scheme, SendError, SendManyError,
    SendOptions, Serve, Server, ServerBuilder, Sid, SidCookie, Socket, Text, Transport, Transports,
    WhenFull, serve,
};

/// Puts an Engine.IO server in front of a router; see the [crate's documentation](crate) for where it goes.
#[derive(Clone, Debug)]
pub struct EngineIoLayer(engineio_tower::EngineIoLayer);

impl EngineIoLayer {
    /// A layer for this server.
    #[must_use]
    pub fn new(server: Server) -> Self {
        Self(
            engineio_tower::EngineIoLayer::new(server).peer_addr_from(|extensions| {
                let known = extensions.get::<PeerAddr>().map(|&PeerAddr(peer)| peer);
                known.or_else(|| {
                    let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
                    Some(*peer)
                })
            }),
        )
    }
}

impl<S> Layer<S> for EngineIoLayer {
    type Service = EngineIoService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        self.0.layer(inner)
    }
}

/// [`EngineIoLayer`] in the manner of a router's own methods.
pub trait RouterExt {
    /// Puts an Engine.IO server in front of everything that the router has so far. Call it last, on the outermost
    /// router; see the [crate's documentation](crate).
    #[must_use]
    fn engine_io(self, server: Server) -> Self;
}

impl<S: Clone + Send + Sync + 'static> RouterExt for Router<S> {
    fn engine_io(self, server: Server) -> Self {
        self.layer(EngineIoLayer::new(server))
    }
}

/// Puts an Engine.IO server around a finished app, in front of its layers too: no tracing, compression or timeout of the
/// app touches the server's requests.
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
pub fn wrap(
    router: Router,
    server: Server,
) -> impl Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync
{
    let service = EngineIoLayer::new(server).layer(router);
    let to_axum = |response: http::Response<ResponseBody<Body>>| response.map(Body::new);
    MapResponse::new(service, to_axum)
}

/// axum's extractors in a connect handler.
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
    /// use engineio_axum::{ConnectRequest, ConnectRequestExt, Refuse, Server, Socket};
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
    ///             .map_err(|_| Refuse::unauthorized())?;
    ///         match login.token.as_str() {
    ///             "secret" => Ok(()),
    ///             _ => Err(Refuse::unauthorized()),
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
