//! Engine.IO for warp: long-polling, WebSocket and the upgrade between them, in front of a set of filters.
//!
//! ```no_run
//! use engineio_warp::{Message, Server, Socket};
//! use warp::Filter;
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let server = Server::builder()
//!         .on_message(|socket: Socket, message: Message| async move {
//!             let _ = socket.send(message).await; // Waits while the client is slow; the error returns the message.
//!         })
//!         .build();
//!     let routes = warp::path::end().map(|| "hello");
//!
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:5000").await?;
//!     engineio_warp::serve(listener, engineio_warp::layer(server, routes)).await
//! }
//! ```
//!
//! # Two ways to add the server
//!
//! - [`layer`] puts the server in front of the routes, and [`serve`] serves both. Requests for other paths reach the
//!   routes unchanged, including those for `warp::ws()`. This way supports everything: WebSockets over HTTP/2, Nagle's
//!   algorithm disabled, a time limit for clients that connect but send no request (slowloris), and graceful shutdown
//!   ([`with_graceful_shutdown`](Serve::with_graceful_shutdown)). For the routes, one thing differs from `warp::serve`:
//!   `warp::addr::remote()` returns `None`, because only warp itself can set the address. Use
//!   `warp::ext::optional::<`[`PeerAddr`]`>()` instead.
//!   With the feature `static-files`, `layer(server, routes).static_files(files)` puts files between the two.
//! - [`filter`] returns a filter to combine with others, for `warp::serve`; it has the limitations of that server.

// On docs.rs, each item says which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

use std::convert::Infallible;

use http::{Request, Response};
use hyper::body::Incoming;
use tower_service::Service;
use warp::{Filter, Reply};

pub use engineio_tower::{
    Config, ConnectRequest, DisconnectReason, EngineIoService, Handler, InvalidOrigin, Message,
    Origins, PeerAddr, Refusal, Rejection, Revision, SameSite, Scheme, SendError, SendOptions,
    Serve, Server, ServerBuilder, Sid, SidCookie, Socket, Text, Transport, Transports, WhenFull,
    serve,
};
#[cfg(feature = "static-files")]
pub use engineio_tower::{StaticFiles, StaticFilesLayer, StaticTarget};

pub use filter::filter;

mod filter;

/// Puts the server in front of routes, as a service for [`serve`], or for any other host of tower services.
///
/// # Examples
///
/// ```no_run
/// use engineio_warp::Server;
/// use warp::Filter;
///
/// # async fn run(listener: tokio::net::TcpListener) -> std::io::Result<()> {
/// let server = Server::builder().path("/realtime").build();
/// let hello = warp::path!("hello" / String).map(|name| format!("Hello, {name}!"));
/// let echo = warp::path("upload").and(warp::body::bytes()).map(|body: warp::hyper::body::Bytes| body.to_vec());
/// engineio_warp::serve(listener, engineio_warp::layer(server, hello.or(echo))).await
/// # }
/// ```
pub fn layer<F>(
    server: Server,
    routes: F,
) -> EngineIoService<
    impl Service<
        Request<Incoming>,
        Response = Response<impl http_body::Body<Data = bytes::Bytes, Error = warp::Error> + Send>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send
    + Sync,
>
where
    F: Filter<Extract: Reply + Send, Error: Into<warp::Rejection>> + Send + Sync + 'static,
{
    // Boxed, since it makes one type of filters that can fail and of those that cannot; warp keeps the trait that says
    // so to itself.
    EngineIoService::with_inner(server, warp::service(routes.boxed()))
}
