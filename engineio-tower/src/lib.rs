//! An Engine.IO server for any Rust web app: long-polling, WebSocket, and the upgrade from one to the other, as one
//! `tower::Service`.
//!
//! Most users depend on the adapter of their framework, which re-exports what is here: `engineio-axum`,
//! `engineio-actix` or `engineio-warp`. Bare hyper and other tower hosts use this crate.
//!
//! # The nouns
//!
//! - [`Server`] knows the connected clients and what is done with them. It is built once and cloned freely.
//! - [`Socket`] is one connected client, as the application sees it.
//! - [`Message`] is what is sent and received: text or bytes.
//! - [`EngineIoLayer`] and [`EngineIoService`] put the server in front of a host app.
//! - [`Handler`] is the application as one type, in place of closures.
//!
//! # Example: an echo on bare hyper
//!
//! ```no_run
//! use engineio_tower::{EngineIoService, Message, Server, Socket};
//!
//! # async fn run() -> std::io::Result<()> {
//! let server = Server::builder()
//!     .on_message(|socket: Socket, message: Message| async move {
//!         let _ = socket.send(message).await; // Waits while the client is slow.
//!     })
//!     .build();
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:5000").await?;
//! engineio_tower::serve(listener, EngineIoService::new(server)).await
//! # }
//! ```
//!
//! # A client's life
//!
//! `on_connect` runs first and may refuse, `on_message` runs for each message in the order sent, one at a time, and
//! `on_disconnect` runs exactly once and last. A handler is plain or async; one that blocks is given to
//! [`on_message_blocking`](ServerBuilder::on_message_blocking). What belongs to a client is kept with
//! [`Socket::set`] and goes with it. A panic in a handler ends that client, nobody else.
//!
//! ```
//! use engineio_tower::{ConnectRequest, DisconnectReason, Message, Rejection, Server, Socket};
//!
//! struct User(String);
//!
//! let server = Server::builder()
//!     .on_connect(|socket: Socket, request: ConnectRequest| {
//!         let name = request.query("name").ok_or_else(Rejection::unauthorized)?; // 401, also instead of a 101.
//!         socket.set(User(name));
//!         Ok(())
//!     })
//!     .on_message(|socket: Socket, message: Message| {
//!         if let (Some(user), Some(text)) = (socket.get::<User>(), message.as_text()) {
//!             socket.server().broadcast(format!("{}: {text}", user.0)); // Encoded once for all.
//!         }
//!     })
//!     .on_disconnect(|socket: Socket, reason: DisconnectReason| println!("{} left: {reason}", socket.sid()))
//!     .build();
//! # let _ = server;
//! ```
//!
//! # Sending
//!
//! Each client has an outbox that is bounded in bytes. [`Socket::send`] waits while it is full, so that a client that
//! reads slowly slows its own sender down; [`try_send`](Socket::try_send) gives the message back instead, and
//! [`send_volatile`](Socket::send_volatile) drops it if it cannot leave at once. [`WhenFull`] changes the rule for all.
//! Heartbeats and the close never wait behind messages.
//!
//! ```
//! use engineio_tower::{Message, SendError, Server, Sid, Socket};
//!
//! async fn everywhere(server: &Server, sid: &Sid, socket: &Socket) -> Result<(), SendError> {
//!     socket.send("text").await?;
//!     socket.send(vec![1, 2, 3]).await?;          // Bytes.
//!     server.send(sid, "by id").await?;           // From wherever the id is known.
//!     server.broadcast(Message::from("to all"));  // Not to those whose outbox is full.
//!     if let Err(SendError::Full(message)) = socket.try_send("now or never") {
//!         println!("not sent: {message:?}");
//!     }
//!     socket.flush().await;                       // Until all of it has left.
//!     Ok(())
//! }
//! # let _ = everywhere;
//! ```
//!
//! # Whom it lets in, and how much
//!
//! Pages of the same origin, by default, and any number of them. Every wait and every queue has an option on
//! [`ServerBuilder`]; the sizes have defaults that hold for strangers.
//!
//! ```
//! use std::time::Duration;
//! use engineio_tower::{Origins, Server, SidCookie, Transport, WhenFull};
//!
//! let server = Server::builder()
//!     .path("/realtime")
//!     .origins(Origins::list(["https://app.example.com"]))
//!     .max_sockets(100_000)
//!     .max_payload(100_000)
//!     .outbox_limit(256 * 1024)
//!     .when_full(WhenFull::Disconnect)
//!     .ping_interval(Duration::from_secs(10))
//!     .transports([Transport::WebSocket])
//!     .cookie(SidCookie::new("io")) // For load balancers.
//!     .build();
//! # let _ = server;
//! ```
//!
//! # Leaving
//!
//! [`Server::shutdown`] refuses new clients, sends what is queued, tells every client, and waits for handlers, for as long
//! as the grace allows. A host's own shutdown comes after it:
//!
//! ```no_run
//! # use std::time::Duration;
//! # use engineio_tower::{EngineIoService, Server};
//! # async fn run(listener: tokio::net::TcpListener, server: Server, signal: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
//! engineio_tower::serve(listener, EngineIoService::new(server.clone()))
//!     .with_graceful_shutdown(async move {
//!         signal.await; // `tokio::signal::ctrl_c()`, for example.
//!         server.shutdown(Duration::from_secs(10)).await;
//!     })
//!     .await
//! # }
//! ```
//!
//! # Features
//!
//! - `server` (default): serving connections without a framework, and finding the TCP stream below axum's and
//!   hyper-util's.
//! - `static-files`: `StaticFiles` and its layer.
//! - `metrics`: counters, gauges and histograms on the facade of the `metrics` crate.
//!
//! # Metrics
//!
//! With the feature `metrics`:
//!
//! | name | kind | label | what |
//! |---|---|---|---|
//! | `engineio_sessions` | gauge | `transport` | connected clients |
//! | `engineio_handshakes_total` | counter | `transport` | clients that were accepted |
//! | `engineio_upgrades_total` | counter | | clients that moved from polling to WebSocket |
//! | `engineio_refusals_total` | counter | `refusal` | requests that the protocol refused |
//! | `engineio_turned_away_total` | counter | | clients that the application refused |
//! | `engineio_disconnects_total` | counter | `reason` | clients that left |
//! | `engineio_session_seconds` | histogram | | how long clients stayed |
//! | `engineio_messages_total` | counter | `direction`: `in`, `out` | messages handed to handlers, and queued for clients |
//! | `engineio_message_bytes_total` | counter | `direction` | their bytes |
//! | `engineio_queue_bytes` | gauge | | bytes queued for all clients, 64 for each message included |
//!
//! # Logs
//!
//! Events of `tracing` have targets below `engineio`: `session`, `connect`, `refusal`, `upgrade`, `post`, `websocket`,
//! `serve`, `static_files`.
//! The handlers of a client run in a span `session`, with its `sid`. Session ids are cut to six characters, and messages
//! are never logged.
//!
//! # Cancel safety
//!
//! Dropping the service's future is how a host tells that the client went away. A poll that is dropped ends its session
//! (the packets it would have carried are not lost silently), a POST that is dropped while its body is read ends it too,
//! and a connect handler is run to its end by a task of its own.

// On docs.rs, each item says which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod hosting;
mod http;
mod policy;
mod server;
mod session;
mod sync;

pub use engineio_core::{
    Config, DisconnectReason, Message, Refusal, Revision, SendError, SendOptions, Sid, Text,
    Transport, Transports,
};

#[cfg(feature = "server")]
pub use hosting::blocking;
pub use hosting::host_body::HostBody;
#[cfg(feature = "server")]
pub use hosting::serve::{Serve, serve};
#[cfg(feature = "static-files")]
pub use hosting::static_files::{
    StaticBody, StaticFiles, StaticFilesBody, StaticFilesFuture, StaticFilesLayer,
    StaticFilesService, StaticTarget,
};
pub use http::body::ResponseBody;
pub use http::future::ResponseFuture;
pub use http::service::{EngineIoLayer, EngineIoService, NotFound};
pub use http::upgrade::HostUpgrade;
pub use policy::cookie::{SameSite, SidCookie};
pub use policy::options::WhenFull;
pub use policy::origin::{InvalidOrigin, Origins, Scheme};
pub use server::Server;
pub use server::builder::ServerBuilder;
pub use session::driver::Driver;
pub use session::handler::{ConnectOutput, Handler, HandlerOutput};
pub use session::rejection::Rejection;
pub use session::request::{ConnectRequest, PeerAddr};
pub use session::socket::Socket;
