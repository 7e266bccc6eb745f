//! A client for any Engine.IO server: HTTP long-polling and WebSocket, with the upgrade from one to the other, and
//! WebTransport as an option.
//!
//! ```no_run
//! use engineio_client::Client;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut client = Client::connect("http://localhost:5000").await?;
//!     client.send("hello").await?;
//!     while let Some(message) = client.next().await {
//!         println!("{message:?}");
//!     }
//!     println!("over: {:?}", client.disconnect_reason());
//!     Ok(())
//! }
//! ```
//!
//! A [`Client`] is a stream of received messages and a sink for messages to send. For callbacks, register handlers on
//! the [`ClientBuilder`]; without async, use the `blocking` module. The rules of the protocol are in `engineio-core`, a
//! sans-IO crate that the server uses too.
//!
//! # A tour
//!
//! **Connect.** [`Client::connect`] needs a URL and nothing else; [`Client::builder`] has the options. The session
//! begins by polling and moves to WebSocket if the server offers it and the network lets it through;
//! [`settled`](Client::settled) waits for the outcome, and [`on_upgrade`](ClientBuilder::on_upgrade) is called with it.
//!
//! **Send.** [`send`](Client::send) waits while the queue is full, [`try_send`](Client::try_send) hands the message
//! back instead. A [`Handle`], which is cheap to clone, does the same for other tasks. [`flush`](Client::flush) waits
//! until the queued messages have left:
//!
//! ```no_run
//! use engineio_client::{Client, Message};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let mut client = Client::builder("https://example.com")
//!     .bearer_auth("secret")
//!     .connect()
//!     .await?;
//! client.send("text").await?;
//! client.send(vec![1, 2, 3]).await?;
//! client.send(Message::json(&["a", "list"])?).await?;
//! client.flush().await?;
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! **Receive.** [`next`](Client::next) returns one message after another, and `None` at the end. Alternatively,
//! handlers are called, one at a time and in order; `connect` then returns after
//! [`on_connect`](ClientBuilder::on_connect) was called:
//!
//! ```no_run
//! use engineio_client::Client;
//!
//! # async fn run() -> Result<(), engineio_client::Error> {
//! let client = Client::builder("http://localhost:5000")
//!     .on_connect(|client| async move { println!("connected by {}", client.transport()) })
//!     .on_message(|client, message| async move {
//!         let _ = client.send(message).await;
//!     })
//!     .on_disconnect(|_, end| async move { println!("over: {}", end.reason) })
//!     .connect()
//!     .await?;
//! client.wait().await;
//! # Ok(())
//! # }
//! ```
//!
//! **Reconnect.** A lost session is over; the protocol cannot resume it. With [`Reconnect`] the client opens a new one,
//! by rules that the application chooses:
//!
//! ```no_run
//! use engineio_client::{Client, Reconnect, Renewal};
//!
//! # async fn token() -> Result<String, std::io::Error> { Ok(String::new()) }
//! # async fn run() -> Result<(), engineio_client::Error> {
//! let policy = Reconnect::new()
//!     .unlimited_attempts()
//!     .first_connection(true)
//!     .renew(|| async { Ok::<_, std::io::Error>(Renewal::new().query("token", &token().await?)) })
//!     .on_failed_attempt(|failed| println!("{:?}; next in {:?}", failed.error, failed.next_delay));
//! let client = Client::builder("http://localhost:5000").reconnect(policy).connect().await?;
//! # Ok(())
//! # }
//! ```
//!
//! **Detect lost messages.** A message that was queued when a session ended is handed back: to
//! [`on_disconnect`](ClientBuilder::on_disconnect) with the reason and the error, or by
//! [`take_unsent`](Client::take_unsent). If a POST was not answered, the client cannot know whether the server has
//! received it; then `flush` fails. Engine.IO does not acknowledge messages, so an application that must know needs
//! acknowledgements of its own.
//!
//! **Without async**, `blocking::Client` (feature `blocking`) has the same methods, and is an iterator.
//!
//! **The network** between the client and the server: proxies, TLS, cookies, addresses and streams of your own are options
//! of the [`ClientBuilder`], and apply to both transports; for the third one, see [WebTransport](#webtransport).
//!
//! # Every wait has a time limit
//!
//! | wait | ends after | option |
//! |---|---|---|
//! | one connection: name resolution, TCP, proxy, TLS, QUIC | 10 s | [`connect_timeout`](ClientBuilder::connect_timeout) |
//! | the handshake, for each transport tried | 20 s | [`request_timeout`](ClientBuilder::request_timeout) |
//! | a POST | 20 s | [`request_timeout`](ClientBuilder::request_timeout) |
//! | a poll, and a silent WebSocket or WebTransport session | the server's ping interval and ping timeout together, at most a day | – |
//! | the upgrade | 10 s; the session stays on polling | [`upgrade_timeout`](ClientBuilder::upgrade_timeout) |
//! | connections after the end of their session | 1 s | – |
//! | a graceful close, by either side | 5 s | [`close_timeout`](ClientBuilder::close_timeout) |
//! | the closing handshake of a WebSocket | 1 s; after a graceful close also the rest of `close_timeout` | – |
//! | the same by WebTransport | 1 s; after a graceful close also the rest of `close_timeout`, as long as the server takes data | – |
//! | the application's [`Reconnect::renew`] | 20 s | [`request_timeout`](ClientBuilder::request_timeout) |
//! | a `Retry-After`, with [`Reconnect`] | 5 min | [`max_retry_after`](Reconnect::max_retry_after) |
//!
//! [`send`](Client::send) and [`flush`](Client::flush) end with the session, which the limits above end if the server does
//! not read. Time that the machine spends asleep counts too.
//!
//! # Every queue has a size limit
//!
//! | queue | at most | option |
//! |---|---|---|
//! | messages that wait to be sent | 1 MiB, then `send` waits (back pressure) | [`outbox_limit`](ClientBuilder::outbox_limit) |
//! | messages that were not sent when the last session ended | as many as the queue held | – |
//! | messages that wait to be read | 1 MiB, then the client stops reading from the server | [`inbox_limit`](ClientBuilder::inbox_limit) |
//! | a poll response, plain or compressed, and a message on a WebSocket or by WebTransport | 32 MiB | [`max_response`](ClientBuilder::max_response) |
//! | packets in a poll response | 100,000 | – |
//! | the kept part of a refusal's body | 64 KiB | – |
//! | cookies | 50 of 4 KiB for each host, 500 in all | [`cookies`](ClientBuilder::cookies) |
//! | redirects of a handshake | 5 | [`redirects`](ClientBuilder::redirects) |
//!
//! At most one poll and one POST are in flight at a time: the client never sends overlapping requests of one kind. A
//! POST holds at most `maxPayload` bytes, as announced by the server and counted after base64 encoding, and at most 16
//! packets ([`max_post_packets`](ClientBuilder::max_post_packets)). A single message that is larger than `maxPayload`
//! is sent alone; the server decides whether to accept it.
//!
//! # How a session ends
//!
//! | reason | what happened | error |
//! |---|---|---|
//! | [`Client`](DisconnectReason::Client) | `close`, `abort`, or the client was dropped | – |
//! | [`Server`](DisconnectReason::Server) | the server closed the session | only if a message larger than its limit was being sent |
//! | [`TransportClose`](DisconnectReason::TransportClose) | the WebSocket or WebTransport session was closed, or the connection of a WebSocket ended without a close frame | in the last case, or with an unusual close code |
//! | [`Refused`](DisconnectReason::Refused) | the server answered with an error status, often with code 1 after it was restarted | with status, code and body |
//! | [`TransportError`](DisconnectReason::TransportError) | the network failed, or a request timed out | yes |
//! | [`PingTimeout`](DisconnectReason::PingTimeout) | no heartbeat came in time | yes |
//! | [`SlowConsumer`](DisconnectReason::SlowConsumer) | the server kept sending over a WebSocket or WebTransport session but did not read: a ping or pong could not be written in time | yes |
//! | [`ParseError`](DisconnectReason::ParseError) | the server sent something that is not Engine.IO | yes |
//! | [`PayloadTooLarge`](DisconnectReason::PayloadTooLarge) | the server sent more than the client accepts | yes |
//! | [`HandlerPanic`](DisconnectReason::HandlerPanic) | a handler panicked, or other code of the application that the client calls, such as a connector | yes |
//!
//! If a handler panics when its session is already over, the reason stays, and the error is that of the panic.
//!
//! # Coming from python-engineio
//!
//! | there | here |
//! |---|---|
//! | `Client`, `AsyncClient` | `blocking::Client`, [`Client`] |
//! | `@eio.on('connect')`, `'message'`, `'disconnect'` | [`on_connect`](ClientBuilder::on_connect), [`on_message`](ClientBuilder::on_message) (one at a time, in order), [`on_disconnect`](ClientBuilder::on_disconnect) with its reason, error and unsent messages |
//! | `connect(url, headers, transports, engineio_path)` | [`Client::builder`], [`header`](ClientBuilder::header) (on every request), [`transports`](ClientBuilder::transports), [`path`](ClientBuilder::path) or the path of the URL |
//! | `send(str \| bytes)` | [`Client::send`]; waits for room, and fails when the session is over instead of dropping the message |
//! | `send(dict \| list)` | `send(Message::json(&value)?)`, `message.parse_json::<T>()?`: text is never parsed as JSON implicitly |
//! | `disconnect()`, `disconnect(abort=True)` | [`Client::close`], [`Client::abort`] |
//! | `wait()`, `sid`, `transport()`, `state` | [`Client::wait`], [`Client::sid`], [`Client::transport`], [`Client::is_open`] |
//! | `start_background_task`, `sleep` | [`Client::spawn`] (ends with the client), `tokio::time::sleep` |
//! | `create_queue`, `create_event` | `tokio::sync` |
//! | `request_timeout`, `timestamp_requests` | [`request_timeout`](ClientBuilder::request_timeout), [`timestamp_requests`](ClientBuilder::timestamp_requests) |
//! | `http_session` | [`connector`](ClientBuilder::connector), [`cookie_jar`](ClientBuilder::cookie_jar), [`tls_config`](ClientBuilder::tls_config), and the options for proxy and authorization |
//! | `trust_env` of the session | [`proxy_from_environment`](ClientBuilder::proxy_from_environment) |
//! | `ssl_verify=False` | [`danger_accept_invalid_certificates`](ClientBuilder::danger_accept_invalid_certificates) |
//! | `websocket_extra_options` | the same options; they apply to both transports |
//! | `handle_sigint` | left to the application: `tokio::signal::ctrl_c` and [`Client::close`] |
//! | `json` | `serde_json` |
//! | `logger=True` | `tracing`, target `engineio::client` |
//!
//! # Coming from engine.io-client
//!
//! | there | here |
//! |---|---|
//! | `host`, `hostname`, `port`, `secure`, `path`, `addTrailingSlash`, `query` | the URL, [`path`](ClientBuilder::path), [`trailing_slash`](ClientBuilder::trailing_slash), [`query`](ClientBuilder::query) |
//! | `transports`, `upgrade`, `tryAllTransports` | [`transports`](ClientBuilder::transports), [`upgrade`](ClientBuilder::upgrade), [`try_all_transports`](ClientBuilder::try_all_transports) |
//! | (`EIO=3`: engine.io-client 3) | [`revision`](ClientBuilder::revision) |
//! | `rememberUpgrade` | [`Reconnect::remember_upgrade`], for the sessions of one client |
//! | `timestampParam`, `timestampRequests` | [`timestamp_param`](ClientBuilder::timestamp_param), [`timestamp_requests`](ClientBuilder::timestamp_requests) |
//! | `requestTimeout` | [`request_timeout`](ClientBuilder::request_timeout), which cannot be disabled |
//! | `extraHeaders`, `withCredentials` | [`header`](ClientBuilder::header), [`cookies`](ClientBuilder::cookies) (on by default), [`cookie_jar`](ClientBuilder::cookie_jar) |
//! | `agent` | [`proxy`](ClientBuilder::proxy), [`connector`](ClientBuilder::connector) |
//! | `ca`, `cert`, `key`, `pfx`, `passphrase`, `rejectUnauthorized` | [`root_certificate`](ClientBuilder::root_certificate), [`client_identity`](ClientBuilder::client_identity) (PEM, without a passphrase), [`danger_accept_invalid_certificates`](ClientBuilder::danger_accept_invalid_certificates); for other formats [`tls_config`](ClientBuilder::tls_config) |
//! | `ciphers` | [`tls_config`](ClientBuilder::tls_config) |
//! | `protocols` | [`header`](ClientBuilder::header) with `sec-websocket-protocol`; an answer that selects another one is refused |
//! | `webtransport` | the feature `webtransport`, and [`transports`](ClientBuilder::transports) |
//! | `transportOptions.webtransport.serverCertificateHashes` | `ClientBuilder::server_certificate_hashes` |
//! | `forceBase64`, `transportImplementations` | not offered; see [below](#unsupported-features) |
//! | `packet`, `packetCreate`, `ping`, `pong` events | not offered: the application has no use for packets; [`flush`](Client::flush) and the log show what happens |
//! | `perMessageDeflate` | [`websocket_compression_threshold`](ClientBuilder::websocket_compression_threshold), off by default |
//! | `closeOnBeforeunload`, `useNativeTimers`, `autoUnref` | not needed outside browsers and Node |
//! | `open`, `message`, `close`, `upgrade`, `upgradeError` | handlers as above, [`on_upgrade`](ClientBuilder::on_upgrade), [`Client::settled`], [`Client::upgrade_error`] |
//! | `writeBuffer`, `bufferedAmount`, `drain`, `flush` | [`Client::take_unsent`], [`Client::queued_bytes`], [`Client::flush`] |
//! | (Socket.IO's manager) | [`reconnect`](ClientBuilder::reconnect), off by default |
//!
//! # The network
//!
//! | to | use |
//! |---|---|
//! | connect to a Unix socket, through Tor, or to a server in the same process | [`connector`](ClientBuilder::connector) |
//! | set socket options: the interface, TCP keep-alive, `TCP_USER_TIMEOUT` | [`connector`](ClientBuilder::connector) |
//! | connect to an address that no name server knows, with the name in `Host` and TLS | [`resolve`](ClientBuilder::resolve) |
//! | choose the address of this machine | [`local_address`](ClientBuilder::local_address) |
//! | go through a proxy: HTTP, HTTPS, SOCKS 4 and 5 | [`proxy`](ClientBuilder::proxy), [`proxy_from_environment`](ClientBuilder::proxy_from_environment) |
//! | trust a private certificate authority | [`root_certificate`](ClientBuilder::root_certificate), or the feature `rustls-platform-verifier` |
//! | use another crypto provider, TLS version or cipher suite, or a key in a file that is not PEM | [`tls_config`](ClientBuilder::tls_config) |
//! | follow redirects to other hosts, or none | [`redirects`](ClientBuilder::redirects) |
//! | share cookies between clients, or save them | [`cookie_jar`](ClientBuilder::cookie_jar) |
//! | request a WebSocket subprotocol | [`header`](ClientBuilder::header) with `sec-websocket-protocol` |
//!
//! All addresses of a name are tried, a new one every 250 ms (RFC 8305). If a kept-alive connection turns out to have
//! been closed, a poll is sent again; a POST is sent again only if none of it had been written, because the server may
//! have read it. The poll may have been answered all the same: if a proxy takes the answer from the server and closes a
//! kept-alive connection within a second, without passing on a byte, the messages in that answer are lost without
//! notice. When a server asks the client to wait or to authenticate, [`Error::retry_after`] and [`Error::challenges`]
//! have the details.
//!
//! # WebTransport
//!
//! With the feature `webtransport`, a session can use one stream over HTTP/3 and QUIC, which is UDP, to servers that offer
//! it, such as those with `engineio-webtransport`. It is used only if [`transports`](ClientBuilder::transports) names it:
//!
//! ```no_run
//! # #[cfg(feature = "webtransport")]
//! # async fn run() -> Result<(), engineio_client::Error> {
//! use engineio_client::{Client, Transport};
//!
//! let client = Client::builder("https://example.com")
//!     .transports([Transport::Polling, Transport::WebSocket, Transport::WebTransport])
//!     .connect()
//!     .await?;
//! println!("by {}", client.settled().await);
//! # Ok(())
//! # }
//! ```
//!
//! - **Upgrade.** If the server offers both, WebTransport is tried at once, and WebSocket too after 200 ms or as soon as
//!   WebTransport has failed, whatever their order in the list. The first one that works wins. A network without UDP
//!   therefore delays an upgrade by 200 ms at most.
//! - **Directly**, if it is the first in the list. A network without UDP is noticed after
//!   [`connect_timeout`](ClientBuilder::connect_timeout); with [`try_all_transports`](ClientBuilder::try_all_transports) the
//!   next transport follows.
//! - **Address.** The host and port of the URL, with UDP. It is always encrypted: for an `http` URL without a port, the port
//!   is 443. [`resolve`](ClientBuilder::resolve) and [`local_address`](ClientBuilder::local_address) apply.
//! - **Certificates.** The options for TLS apply. For a development certificate, give its hash to
//!   [`server_certificate_hashes`](https://docs.rs/engineio-client/latest/engineio_client/struct.ClientBuilder.html#method.server_certificate_hashes).
//! - **Requests.** The server gets the headers, cookies and query parameters of the application. The values of a header
//!   are joined into one line, which must be ASCII. Cookies that the server sets in its answer are not kept, and
//!   redirects are not followed.
//! - **Proxies** and [connectors](ClientBuilder::connector) carry no UDP, and the client never bypasses them: with one
//!   of them, an upgrade leaves WebTransport out, and a direct connection fails with [`ErrorKind::Invalid`].
//! - **Flush and close.** QUIC runs inside the process, so [`flush`](Client::flush) waits until the messages are handed
//!   to QUIC, which holds up to 256 KiB that the server has not acknowledged. [`close`](Client::close) waits until the
//!   server has acknowledged all of it, as long as it takes data; if it does not acknowledge all, the next
//!   [`flush`](Client::flush) fails.
//! - **Memory.** Each attempt has a UDP socket and 92 KiB for datagrams of its own, which a session keeps until it ends.
//! - **Revision 4** only, as the protocol specifies.
//!
//! # Unsupported features
//!
//! | feature | reason |
//! |---|---|
//! | HTTP/2 for polling | a session has one poll and one POST at a time, which HTTP/2 makes no faster, and its WebSocket needs HTTP/1.1 in most servers |
//! | `forceBase64` | binary messages leave as frames on a WebSocket, which every server of revision 4 accepts |
//! | codecs other than `serde_json` | text and bytes are sent as they are: encode them first |
//! | browsers (wasm), and runtimes other than tokio | hyper and rustls need sockets; the blocking client needs no runtime of the application |
//! | acknowledgements, rooms, namespaces | belong to Socket.IO, a protocol on top of this one |
//!
//! # Features
//!
//! - `rustls` (default): `https` and `wss` with rustls and ring; trusts the roots of webpki-roots and those that you add.
//! - `rustls-no-provider`: the same without ring, for a crypto provider that the application installs.
//! - `rustls-platform-verifier`: the option
//!   [`platform_verifier`](https://docs.rs/engineio-client/latest/engineio_client/struct.ClientBuilder.html#method.platform_verifier),
//!   for the trust store of the operating system.
//! - `blocking`: the module `blocking`, a client without async.
//! - `webtransport`: the transport [WebTransport](#webtransport), with quinn. Includes `rustls`.
//! - `metrics`: records counters, gauges and histograms with the `metrics` facade.
//!
//! # Metrics
//!
//! With the feature `metrics`, for all clients of the process together:
//!
//! | name | kind | label | meaning |
//! |---|---|---|---|
//! | `engineio_client_sessions` | gauge | `transport` | open sessions |
//! | `engineio_client_handshakes_total` | counter | `transport` | sessions that were opened |
//! | `engineio_client_failures_total` | counter | `reason` | sessions that could not be opened |
//! | `engineio_client_upgrades_total` | counter | | upgrades from polling to another transport |
//! | `engineio_client_disconnects_total` | counter | `reason` | sessions that ended |
//! | `engineio_client_session_seconds` | histogram | | duration of sessions |
//! | `engineio_client_messages_total` | counter | `direction`: `in`, `out` | messages handed to the application, and queued for the server |
//! | `engineio_client_message_bytes_total` | counter | `direction` | their bytes |
//!
//! # Logs
//!
//! The `tracing` events have the target `engineio::client`. Session ids are cut to six characters; messages, headers
//! and query strings are never logged.
//!
//! # Cancel safety
//!
//! Each async method documents what happens when its future is dropped. Dropping [`Client::next`] loses no message, and
//! a message whose [`Client::send`] was dropped before it returned was not queued.
//!
//! # Why hyper, and not reqwest
//!
//! A client needs one connector for two things: the connections of the polling requests, and the WebSocket. On hyper, proxy,
//! TLS and name resolution are set up once and are the same for both, and the client's own task drives its connections.
//! reqwest does not expose its connector, so all of them would exist twice, with differences. Apart from that, reqwest
//! would provide little: a pool, of which a session needs two connections, the cookies, redirects, and two content encodings
//! whose output needs a limit anyway.
//!
//! Polling uses HTTP/1.1. At most two requests are in flight, which HTTP/2 would not speed up, and a WebSocket over HTTP/2
//! (RFC 8441) is rare among servers.

// On docs.rs, each item says which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod account;
#[cfg(feature = "blocking")]
pub mod blocking;
mod builder;
mod client;
mod clock;
mod delivery;
mod disconnect;
mod driver;
mod error;
mod handlers;
mod log;
mod meter;
mod net;
mod origin;
mod panics;
mod reconnect;
mod redirect;
mod secrets;
mod settings;
mod shared;
mod state;
mod target;
mod wakers;

pub use http;
#[cfg(feature = "rustls-no-provider")]
pub use tokio_rustls::rustls;

pub use builder::ClientBuilder;
pub use client::{Client, FlushError, Handle, SinkError};
pub use disconnect::Disconnect;
pub use engineio_core::{DisconnectReason, Message, Revision, SendError, Text, Transport};
pub use error::{Error, ErrorKind};
pub use net::cookies::CookieJar;
pub use net::route::Redirects;
pub use reconnect::{FailedAttempt, Reconnect, Renewal};
