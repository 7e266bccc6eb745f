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
//! Events of `tracing` have targets below `engineio`: `session`, `connect`, `refusal`, `upgrade`, `post`, `websocket`.
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

mod admission;
pub mod blocking;
mod body;
mod builder;
mod compression;
mod connect;
mod cookie;
mod cors;
mod deadlines;
mod driver;
mod future;
mod handler;
mod host_body;
mod io;
mod meter;
mod options;
mod origin;
mod poll;
mod post;
mod pump;
mod refuse;
mod registry;
mod request;
mod response;
#[cfg(feature = "server")]
mod serve;
mod server;
mod service;
mod session;
mod socket;
#[cfg(feature = "static-files")]
mod static_files;
mod upgrade;
mod websocket;

pub use engineio_core::{
    Config, DisconnectReason, Message, Refusal, Revision, SendError, SendManyError, SendOptions,
    Sid, Text, Transport, Transports,
};

pub use body::ResponseBody;
pub use builder::ServerBuilder;
pub use cookie::{SameSite, SidCookie};
pub use driver::Driver;
pub use future::ResponseFuture;
pub use handler::{ConnectOutput, Handler, HandlerOutput};
pub use host_body::HostBody;
pub use options::WhenFull;
pub use origin::{InvalidOrigin, Origins, Scheme};
pub use refuse::Refuse;
pub use request::{ConnectRequest, PeerAddr};
#[cfg(feature = "server")]
pub use serve::{Serve, serve};
pub use server::Server;
pub use service::{EngineIoLayer, EngineIoService, NotFound};
pub use socket::Socket;
#[cfg(feature = "static-files")]
pub use static_files::{
    StaticBody, StaticFiles, StaticFilesBody, StaticFilesFuture, StaticFilesLayer,
    StaticFilesService, StaticTarget,
};
pub use upgrade::HostUpgrade;

/// The code of the README, compiled as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
