//! Engine.IO for actix-web: long-polling, WebSocket and the upgrade between them, alongside the routes of an app.
//!
//! ```no_run
//! use actix_web::{App, HttpResponse, HttpServer, web};
//! use engineio_actix::{Message, Server, Socket};
//!
//! async fn index() -> HttpResponse {
//!     HttpResponse::Ok().body("hello")
//! }
//!
//! #[actix_web::main]
//! async fn main() -> std::io::Result<()> {
//!     let server = Server::builder()
//!         .on_message(|socket: Socket, message: Message| async move {
//!             let _ = socket.send(message).await; // Waits while the client is slow; `Err` gives the message back.
//!         })
//!         .build();
//!     HttpServer::new(move || {
//!         App::new()
//!             .configure(engineio_actix::configure(&server)) // Or `.wrap(EngineIo::new(&server))` around everything.
//!             .route("/", web::get().to(index))
//!     })
//!     .on_connect(engineio_actix::on_connect)
//!     .h1_allow_half_closed(false)
//!     .bind(("127.0.0.1", 5000))?
//!     .run()
//!     .await
//! }
//! ```
//!
//! # Two places
//!
//! - [`configure`] adds a scope for the server's path and everything below it. Routes are tried in the order in
//!   which they were added, so it goes first. The middleware of the app runs for it too.
//! - [`EngineIo`] is a middleware. It takes the server's path before any routing; every other request goes on
//!   untouched, the WebSockets of `actix-ws` included. The last `.wrap` is the outermost.
//!
//! Both work in a [`web::scope`](actix_web::web::scope), and the server is reached below the scope's prefix then:
//! `/api/engine.io/`. As below a nested router of axum, [`ConnectRequest::uri`] lacks the prefix.
//!
//! The [`Server`] is built once, outside the factory closure, which runs for every worker: a client may reach it
//! through any worker, and a [`Socket`] may be used from any thread. A handler runs on the thread of the worker whose
//! request brought the message: for one that blocks, use `on_message_blocking`.
//!
//! # Connect handlers
//!
//! The types of [`ConnectRequest`] and [`Rejection`] are those of `http` 1, where actix-web has 0.2: headers are named
//! by text, as in `request.headers().get("authorization")`, and to name a type, as for [`Rejection::status_code`], add
//! `http = "1"` to the dependencies.
//!
//! Values in actix-web's extensions, which may belong to one thread, do not reach the handler. To pass a value on, a
//! middleware can set a request header, which must replace any header of that name from the client.
//!
//! # Settings of `HttpServer`
//!
//! - `.on_connect(`[`engineio_actix::on_connect`](on_connect)`)` switches Nagle's algorithm off, which actix-web leaves
//!   on; the second of two small packets is delayed by some 40 ms otherwise. `.tcp_nodelay(true)` does the same, and
//!   over TLS too.
//! - `.h1_allow_half_closed(false)` ends a session at once when a client that polls closes its connection. By default
//!   actix-web takes a closed connection for one that still wants its answer; the heartbeat ends the session then, after
//!   `ping_interval` and `ping_timeout` at the latest. A WebSocket that is closed, and a connection that is reset, are
//!   noticed at once either way.
//!
//! # Clients that do not read
//!
//! A WebSocket client that does not read is disconnected as everywhere, after `ping_interval` and `ping_timeout`. But
//! actix-web has no time limit for writing: it keeps the connection, and drops what the client goes on sending, until
//! the client reads or leaves.
//!
//! # HTTP/2
//!
//! Polling works. actix-web does not offer WebSockets over HTTP/2 (RFC 8441): browsers open theirs over HTTP/1 then, by
//! themselves.
//!
//! # Proxies
//!
//! actix-web closes a connection after a request with `Connection: upgrade`, also where it opens no WebSocket; the
//! response says `connection: close` then. Let a proxy send the option only with an `Upgrade` from the client: in nginx,
//! by a `map $http_upgrade $connection_upgrade { default upgrade; '' ''; }`.
//!
//! # Static files
//!
//! They are the app's own, by `actix-files`: the server's path comes before them if it is added first.
//!
//! # Shutdown
//!
//! `HttpServer` waits up to its `shutdown_timeout` for open connections, WebSockets included. Disconnect the clients
//! first: switch its signals off with `.disable_signals()`, and when the signal comes,
//! [`server.shutdown(grace).await`](Server::shutdown), and then `handle.stop(true).await`.
//!
//! ```no_run
//! # async fn run(http: actix_web::dev::Server, server: engineio_actix::Server) -> std::io::Result<()> {
//! // `http` is what `HttpServer::run` returns.
//! let handle = http.handle();
//! actix_web::rt::spawn(async move {
//!     let _ = actix_web::rt::signal::ctrl_c().await;
//!     server.shutdown(std::time::Duration::from_secs(10)).await; // Sends queued messages and closes.
//!     handle.stop(true).await;
//! });
//! http.await
//! # }
//! ```

// On docs.rs, each item says which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod convert;
mod io;
mod mount;

pub use engineio_tower::{
    Config, ConnectRequest, DisconnectReason, Handler, InvalidOrigin, Message, Origins, PeerAddr,
    Refusal, Rejection, Revision, SameSite, Scheme, SendError, SendOptions, Server, ServerBuilder,
    Sid, SidCookie, Socket, Text, Transport, Transports, WhenFull,
};

pub use mount::{EngineIo, EngineIoMiddleware, configure, on_connect};
