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
//! # Where the layer goes
//!
//! On the outermost router, last. It sees every request then, those without a route included, and its path wins over a
//! route of the same path. Two places do not work as one may hope:
//!
//! - `outer.merge(inner.layer(…))` with a fallback on `outer`: the layer never sees its path, because the outer
//!   fallback takes the requests without a route. Put the layer on `outer`.
//! - `outer.nest("/api", inner.layer(…))` works, but the server is then reached at `/api/engine.io/`.
//!
//! # The peer's address
//!
//! [`ConnectRequest::peer_addr`] and [`Socket::peer_addr`] know it when the app is served with
//! `into_make_service_with_connect_info::<SocketAddr>()`.
//!
//! # Nagle's algorithm
//!
//! `axum::serve` leaves it on, which delays the second of two small packets by some 40 ms. A WebSocket of ours switches
//! it off; for polling too, serve with `listener.tap_io(|stream| { let _ = stream.set_nodelay(true); })`.

use std::future::Future;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use tower_layer::Layer;

pub use engineio_tower::{
    Config, ConnectRequest, DisconnectReason, EngineIoService, Handler, InvalidOrigin, Message,
    Origins, PeerAddr, Refusal, Refuse, Revision, SameSite, Scheme, SendError, SendManyError,
    SendOptions, Server, ServerBuilder, Sid, SidCookie, Socket, Text, Transport, Transports,
    WhenFull,
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
                let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
                Some(*peer)
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
