//! Engine.IO for actix-web: long-polling, WebSocket and the upgrade between them, alongside the routes of an app.
//!
//! ```no_run
//! use std::time::Duration;
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
//!             let _ = socket.send(message).await; // Waits while the client is slow; the error returns the message.
//!         })
//!         .build();
//!     HttpServer::new(move || {
//!         App::new()
//!             .configure(engineio_actix::configure(&server)) // Or `.wrap_fn(middleware(&server))` around everything.
//!             .route("/", web::get().to(index))
//!     })
//!     .tcp_nodelay(true)
//!     .keep_alive(Duration::from_secs(75))
//!     .h1_allow_half_closed(false)
//!     .bind(("127.0.0.1", 5000))?
//!     .run()
//!     .await
//! }
//! ```
//!
//! # Two ways to add the server
//!
//! - [`configure`] adds a scope for the server's path and everything below it. Routes are tried in the order in
//!   which they were added, so it goes first. The middleware of the app runs for it too.
//! - [`middleware`] serves requests for the server's path before any routing, with `.wrap_fn(middleware(&server))`;
//!   every other request passes through unchanged, including the WebSockets of `actix-ws`. The last `.wrap` or `.wrap_fn`
//!   is the outermost.
//!
//! Both also work in a [`web::scope`](actix_web::web::scope). The server is then reached below the scope's prefix, such
//! as `/api/engine.io/`, and [`ConnectRequest::uri`] lacks the prefix, as in a nested router of axum.
//!
//! Build the [`Server`] once, outside the factory closure, which runs for every worker: a client may reach the server
//! through any worker, and a [`Socket`] may be used from any thread. A handler runs on the thread of the worker that
//! received the message; if it blocks, use `on_message_blocking`.
//!
//! # Connect handlers
//!
//! The types in [`ConnectRequest`] and [`Rejection`] are those of `http` 1, whereas actix-web uses `http` 0.2. Name
//! headers by text, as in `request.headers().get("authorization")`. To name a type of `http` 1, for example for
//! [`Rejection::status_code`], add `http = "1"` to the dependencies.
//!
//! Values in actix-web's extensions do not reach the handler, because they may be bound to one thread. To pass a value
//! on, let a middleware set a request header, which must replace any header of that name from the client.
//!
//! # Settings of `HttpServer`
//!
//! - `.tcp_nodelay(true)` disables Nagle's algorithm, which actix-web leaves on and which delays the second of two small
//!   packets by about 40 ms.
//! - `.keep_alive(Duration::from_secs(75))` keeps idle connections for longer than balancers and clients that pool
//!   theirs, which reuse them for up to a minute. By default actix-web closes them after 5 s, and a request that is on
//!   its way then gets no answer. `.client_request_timeout(…)`, 5 s by default, is the time limit for the head of a
//!   request.
//! - `.h1_allow_half_closed(false)` ends a session as soon as a polling client closes its connection. By default,
//!   actix-web assumes that the client still waits for the response, and only the heartbeat ends the session, at the
//!   latest after `ping_interval` plus `ping_timeout`. The server notices a closed WebSocket and a reset connection at
//!   once in either case.
//! - Over HTTP/2, actix-web does not tell when a client gives up a poll. The session ends when the next message or ping is
//!   sent, at most one ping interval later.
//!
//! # Clients that do not read
//!
//! As on every host, the session of a WebSocket client that does not read ends after `ping_interval` plus `ping_timeout`.
//! But actix-web has no time limit for writing: it keeps the connection open, and discards everything that the client
//! sends, until the client reads or leaves.
//!
//! # The end of a WebSocket
//!
//! After the close frames, actix-web reads on until the client closes the TCP connection, for the
//! `client_disconnect_timeout` of `HttpServer` at most (1 s by default), and only then closes it. A client that waits for
//! that, such as a browser with its `close` event, gets it so much later than on other hosts. The session ends at once.
//!
//! # HTTP/2
//!
//! Polling works over HTTP/2. actix-web does not support WebSockets over HTTP/2 (RFC 8441), so browsers open them over
//! HTTP/1.1 instead, without any configuration.
//!
//! # Proxies
//!
//! actix-web closes a connection after a request with `Connection: upgrade` even if the request opens no WebSocket; the
//! response then says `connection: close`. A proxy should send that header only if the client sends `Upgrade`: in nginx,
//! use `map $http_upgrade $connection_upgrade { default upgrade; '' ''; }`.
//!
//! # Static files
//!
//! Serve static files with `actix-files`. Add the server first, so that its path takes precedence over them.
//!
//! # Shutdown
//!
//! `HttpServer` waits up to its `shutdown_timeout` for open connections, including WebSockets. Therefore disconnect the
//! clients first: turn off its signal handling with `.disable_signals()`. When the signal comes, call
//! [`server.shutdown(grace).await`](Server::shutdown) and then `handle.stop(true).await`.
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

pub use mount::{Respond, configure, middleware};
