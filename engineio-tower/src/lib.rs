//! An Engine.IO server for any Rust web app: long-polling, WebSocket and the upgrade between them, as one
//! `tower::Service`.
//!
//! Most users depend on the adapter for their framework, `engineio-axum`, `engineio-actix` or `engineio-warp`, which
//! re-exports the items of this crate. Bare hyper and other tower hosts use this crate directly.
//!
//! # Main types
//!
//! - [`Server`] holds the connected clients and the handlers. It is built once and cloned freely.
//! - [`Socket`] is a handle to one connected client.
//! - [`Message`] is a text or binary message, sent or received.
//! - [`EngineIoLayer`] and [`EngineIoService`] put the server in front of a host app.
//! - [`Handler`] is a trait for applications that prefer a type of their own to closures.
//!
//! # Example: an echo server on bare hyper
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
//! # Handlers
//!
//! `on_connect` runs first and may reject the client. `on_message` runs for each message, in order and one at a time.
//! `on_disconnect` runs last, exactly once. A handler may be a plain or an async function; if it blocks, use
//! [`on_message_blocking`](ServerBuilder::on_message_blocking). Attach data to a client with [`Socket::set`]; it is
//! dropped with the client. A panic in a handler disconnects only that client.
//!
//! ```
//! use engineio_tower::{ConnectRequest, DisconnectReason, Message, Rejection, Server, Socket};
//!
//! struct User(String);
//!
//! let server = Server::builder()
//!     .on_connect(|socket: Socket, request: ConnectRequest| {
//!         let name = request.query("name").ok_or_else(Rejection::unauthorized)?; // 401, even for a WebSocket request.
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
//! Each client has an outbox that is bounded in bytes. [`Socket::send`] waits while it is full, so a slow consumer
//! applies back pressure only to the tasks that send to it; [`try_send`](Socket::try_send) returns the message instead,
//! and [`send_volatile`](Socket::send_volatile) drops it if it cannot leave at once. [`WhenFull`] changes the policy
//! for all senders. Heartbeats and the close packet never wait behind messages.
//!
//! ```
//! use engineio_tower::{Message, SendError, Server, Sid, Socket};
//!
//! async fn everywhere(server: &Server, sid: &Sid, socket: &Socket) -> Result<(), SendError> {
//!     socket.send("text").await?;
//!     socket.send(vec![1, 2, 3]).await?;          // Bytes.
//!     server.send(sid, "by id").await?;           // From any code that knows the id.
//!     server.broadcast(Message::from("to all"));  // Skips clients whose outbox is full.
//!     if let Err(SendError::Full(message)) = socket.try_send("now or never") {
//!         println!("not sent: {message:?}");
//!     }
//!     socket.flush().await;                       // Waits until all of it has left.
//!     Ok(())
//! }
//! # let _ = everywhere;
//! ```
//!
//! # Origins and limits
//!
//! By default, only pages of the same origin may connect, and the number of clients is not limited. Every wait and
//! every queue has a limit that can be set on [`ServerBuilder`]; the default sizes are safe for untrusted clients.
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
//! A client may have one poll and one POST in flight. Of two overlapping requests of one kind, the later one gets
//! status 400, and the session ends. After 256 events of a client, or 64 messages or 1 MiB of frames on its WebSocket,
//! other tasks run (fairness). `serve` drops connections that do not send a request in time (slowloris).
//!
//! # Shutdown
//!
//! [`Server::shutdown`] refuses new clients, sends every client its queued messages and a close packet, and waits for
//! the handlers, all within a grace period. Call it before the host's own shutdown:
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
//! - `server` (default): serves connections without a framework, and disables Nagle's algorithm on WebSockets,
//!   including those whose connections axum or hyper-util serves.
//! - `static-files`: serves files from disk with `StaticFiles` and its layer.
//! - `metrics`: records counters, gauges and histograms with the `metrics` facade.
//!
//! # Metrics
//!
//! With the feature `metrics`, the server records:
//!
//! | name | kind | label | meaning |
//! |---|---|---|---|
//! | `engineio_sessions` | gauge | `transport` | connected clients |
//! | `engineio_handshakes_total` | counter | `transport` | accepted clients |
//! | `engineio_upgrades_total` | counter | | clients that moved from polling to another transport |
//! | `engineio_refusals_total` | counter | `refusal` | requests that the protocol refused |
//! | `engineio_turned_away_total` | counter | | clients that the application rejected |
//! | `engineio_disconnects_total` | counter | `reason` | clients that disconnected |
//! | `engineio_session_seconds` | histogram | | duration of sessions |
//! | `engineio_messages_total` | counter | `direction`: `in`, `out` | messages handed to handlers, and queued for clients |
//! | `engineio_message_bytes_total` | counter | `direction` | their bytes |
//! | `engineio_queue_bytes` | gauge | | bytes queued for all clients, including 64 bytes of overhead per message |
//!
//! # Logs
//!
//! The targets of the `tracing` events begin with `engineio::`, followed by `session`, `connect`, `request`, `poll`,
//! `post`, `refusal`, `upgrade`, `websocket`, `webtransport`, `serve` or `static_files`. The handlers of a client run
//! in a span named `session`, with the client's `sid`. Session ids are cut to six characters, and messages are never
//! logged.
//!
//! Warnings and errors that clients can cause at will are logged at most once a second for each kind, across all
//! servers of the process. The field `count` is the number since the last one.
//!
//! # Cancel safety
//!
//! A host drops the service's future when the client has gone away. Dropping the future of a poll ends its session, so
//! that the packets that the poll would have carried are not lost silently; so does dropping that of a POST while its
//! body is being read, and dropping the response of a poll before its end ([`ResponseBody`], [`Delivery`]). A connect handler is
//! never cancelled: if its request is dropped, a separate task completes it.
//!
//! A host can only report what it notices. hyper does not look at a connection while unread bytes wait on it: if a client
//! begins another request behind a poll (pipelining) and then closes the connection, the next message goes into that
//! connection and is lost, and the session goes on. No known client does so. Nor does a host notice that a connection
//! breaks off once the whole response is in its buffers and those of the system, up to some hundred kilobytes: the messages
//! of a poll whose client vanishes at that moment are lost, and the session goes on if the client comes back.

// On docs.rs, each item says which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod forward;
mod hosting;
mod http;
mod policy;
mod repeated;
mod server;
mod session;
mod sync;
pub mod webtransport;

pub use engineio_core::{
    Config, DisconnectReason, Message, Refusal, Revision, SendError, SendOptions, Sid, Text,
    Transport, Transports,
};

#[cfg(feature = "server")]
pub use hosting::blocking;
pub use hosting::host_body::HostBody;
pub use hosting::host_request::{HostRequest, HostResponse};
#[cfg(feature = "server")]
pub use hosting::serve::{Serve, serve};
#[cfg(feature = "static-files")]
pub use hosting::static_files::{
    StaticBody, StaticFiles, StaticFilesBody, StaticFilesFuture, StaticFilesLayer,
    StaticFilesService, StaticTarget,
};
pub use http::body::ResponseBody;
pub use http::delivery::Delivery;
pub use http::driver::Driver;
pub use http::future::ResponseFuture;
pub use http::service::{EngineIoLayer, EngineIoService, NotFound};
pub use http::unread::DiscardUnread;
pub use http::upgrade::HostUpgrade;
pub use policy::cookie::{SameSite, SidCookie};
pub use policy::options::WhenFull;
pub use policy::origin::{InvalidOrigin, Origins, Scheme};
pub use server::Server;
pub use server::builder::ServerBuilder;
pub use session::handler::{ConnectOutput, Handler, HandlerOutput};
pub use session::rejection::Rejection;
pub use session::request::{ConnectRequest, PeerAddr};
pub use session::socket::Socket;
