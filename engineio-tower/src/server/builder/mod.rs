//! The configuration of a server.

mod handlers;

use std::sync::Arc;
use std::time::Duration;

use engineio_core::{Config, Message, Sid, Transport};
use http::HeaderMap;
use http::request::Parts;

use crate::policy::compression::Compression;
use crate::policy::cookie::SidCookie;
use crate::policy::options::{Options, WhenFull};
use crate::policy::origin::Origins;
use crate::server::Server;
use crate::session::handler::Handlers;

/// Configures a server; see [`Server::builder`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use engineio_tower::{Server, Transport};
///
/// let server = Server::builder()
///     .path("/realtime")
///     .ping_interval(Duration::from_secs(10))
///     .transports([Transport::WebSocket])
///     .build();
/// assert!(server.claims("/realtime/"));
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ServerBuilder {
    config: Config,
    options: Options,
    path: String,
    handlers: Handlers,
}

impl ServerBuilder {
    pub(crate) fn new() -> Self {
        Self {
            config: Config::default(),
            options: Options::default(),
            path: "/engine.io".into(),
            handlers: Handlers::default(),
        }
    }

    /// Sets the path of the server. Default `/engine.io`. Leading and trailing slashes do not matter.
    ///
    /// Letters, digits and `-._~!$&'()+,;=@` are allowed. The path is compared with the raw path of a request, so other
    /// characters must be given percent-encoded; actix-web decodes paths first, so there such a server cannot be reached.
    ///
    /// [`build`](Self::build) panics for any other character, such as `?`, `#` and those of the patterns of routers
    /// (`{`, `}`, `*`, `:`), and if a segment is empty, `.` or `..`: clients could not request the path.
    pub fn path(mut self, path: &str) -> Self {
        self.path = format!("/{}", path.trim_matches('/'));
        if self.path == "/" {
            // Everything is the server's then.
            self.path.clear();
        }
        self
    }

    /// Sets the time between a pong and the next ping; see [`Config::ping_interval`].
    pub const fn ping_interval(mut self, interval: Duration) -> Self {
        self.config.ping_interval = interval;
        self
    }

    /// Sets the time limit for a pong; see [`Config::ping_timeout`].
    pub const fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.config.ping_timeout = timeout;
        self
    }

    /// Sets the time limit for an upgrade; see [`Config::upgrade_timeout`].
    pub const fn upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.config.upgrade_timeout = timeout;
        self
    }

    /// Sets the time limit for a client to fetch its queued messages before a disconnect; see
    /// [`Config::close_timeout`].
    pub const fn close_timeout(mut self, timeout: Duration) -> Self {
        self.config.close_timeout = timeout;
        self
    }

    /// Sets the maximum size of a POST body and of a message on another transport, in bytes; see
    /// [`Config::max_payload`]. With less than 6 bytes no client can upgrade, because a probe (`2probe`) is refused.
    pub const fn max_payload(mut self, bytes: usize) -> Self {
        self.config.max_payload = bytes;
        self
    }

    /// Sets the maximum number of packets in one poll response; see [`Config::max_poll_packets`].
    pub const fn max_poll_packets(mut self, packets: usize) -> Self {
        self.config.max_poll_packets = packets;
        self
    }

    /// Sets the transports that are served; see [`Config::transports`].
    ///
    /// # Panics
    ///
    /// Panics if there is none, since no client could connect.
    pub fn transports(mut self, transports: impl IntoIterator<Item = Transport>) -> Self {
        self.config.transports = transports.into_iter().collect();
        assert!(
            !self.config.transports.is_empty(),
            "a server needs at least one transport"
        );
        self
    }

    /// Sets whether a polling client may move to another transport; see [`Config::allow_upgrades`].
    pub const fn allow_upgrades(mut self, allow: bool) -> Self {
        self.config.allow_upgrades = allow;
        self
    }

    /// Sets whether clients of revision 3 are served as well; see [`Config::allow_eio3`].
    pub const fn allow_eio3(mut self, allow: bool) -> Self {
        self.config.allow_eio3 = allow;
        self
    }

    /// Allows polling by script elements (JSONP), for browsers without CORS; see [`Config::allow_jsonp`] for the
    /// danger.
    ///
    /// A script request that comes from a page of another origin is then answered with 403, unless the [`Origins`]
    /// allow that page. The page is identified by `Sec-Fetch-Site`, which browsers send to `https` sites, and by
    /// `Referer`, which a page can leave out: do not serve such clients over plain `http`.
    pub const fn allow_jsonp(mut self, allow: bool) -> Self {
        self.config.allow_jsonp = allow;
        self
    }

    /// Sets whether a text with U+001E may be sent to a client that polls; see [`Config::allow_separator`].
    pub const fn allow_separator(mut self, allow: bool) -> Self {
        self.config.allow_separator = allow;
        self
    }

    /// Sets the maximum number of bytes queued for one client (back pressure); see [`Config::outbox_limit`].
    pub const fn outbox_limit(mut self, bytes: usize) -> Self {
        self.config.outbox_limit = bytes;
        self
    }

    /// Sets the policy for a message to a client whose outbox is full (a slow consumer). Default: [`WhenFull::Wait`].
    pub const fn when_full(mut self, when_full: WhenFull) -> Self {
        self.options.when_full = when_full;
        self
    }

    /// Runs the message handlers of one client concurrently, each in a task of its own, instead of one at a time.
    ///
    /// Messages are then handled in no particular order. At most 1,000 handlers of a client run at a time, and their messages
    /// have at most the bytes of the [inbox](Self::inbox_limit) and of one message; further messages wait in the inbox,
    /// which paces the client. Use it for handlers that mostly wait for I/O. It affects neither plain handlers nor
    /// [blocking](Self::on_message_blocking) ones. An async handler that runs blocking code by `spawn_blocking` has to limit
    /// how much of it runs at a time, since tokio has 512 threads for all clients.
    ///
    /// [`on_disconnect`](Self::on_disconnect) still runs last: it waits for the running handlers, and values attached
    /// to the client live until then. A handler that never returns prevents it from running.
    pub const fn concurrent_messages(mut self) -> Self {
        self.options.concurrent_messages = true;
        self
    }

    /// Sets the maximum number of received bytes that wait for the handlers; see [`Config::inbox_limit`].
    pub const fn inbox_limit(mut self, bytes: usize) -> Self {
        self.config.inbox_limit = bytes;
        self
    }

    /// Sets the origins of the pages that may use the server. Default: [`Origins::same`].
    pub fn origins(mut self, origins: Origins) -> Self {
        self.options.origins = origins;
        self
    }

    /// Sets a cookie that carries the session id, for load balancers. Default: none.
    pub fn cookie(mut self, cookie: SidCookie) -> Self {
        self.options.cookie = Some(cookie);
        self
    }

    /// Sets the size in bytes from which poll responses are compressed, if the client accepts it. Default 1,024.
    ///
    /// A client that refuses uncompressed responses (`Accept-Encoding: gzip, identity;q=0`) gets smaller ones compressed too.
    /// One that refuses every encoding gets them uncompressed: a 406 would lose the messages in them.
    pub const fn compression_threshold(mut self, bytes: usize) -> Self {
        self.options.compression = Compression::from_bytes(bytes);
        self
    }

    /// Disables the compression of poll responses.
    pub const fn no_compression(mut self) -> Self {
        self.options.compression = Compression::OFF;
        self
    }

    /// Compresses WebSocket messages of at least this many bytes, with the extension permessage-deflate (RFC 7692). Off
    /// by default; engine.io uses 1,024 when its compression is enabled.
    ///
    /// It applies to clients that offer the extension, as browsers do, and to both directions: such a client may
    /// compress messages of any size, and [`max_payload`](Self::max_payload) limits their decompressed size. A message
    /// that compression would not shrink is sent uncompressed, as is one for which
    /// [`SendOptions::compress`](crate::SendOptions::compress) is off. Messages are compressed independently (no
    /// context takeover), so an idle client costs no extra memory.
    ///
    /// Some versions of Apple's WebSocket (Safari 15.0 to 15.3) offer the extension and cannot decompress every message.
    ///
    /// It trades processor time for bytes: about 10 µs for 4 KiB of JSON, on the thread that serves the client.
    /// Do not compress a message that holds both a secret and text chosen by an attacker who can observe its size
    /// on the network (CRIME, BREACH): switch compression off for such messages.
    ///
    /// ```
    /// use engineio_tower::Server;
    ///
    /// let server = Server::builder().websocket_compression_threshold(1_024).build();
    /// # let _ = server;
    /// ```
    pub const fn websocket_compression_threshold(mut self, bytes: usize) -> Self {
        self.options.websocket_compression = Some(bytes);
        self
    }

    /// Sets the time limit for the application's decision on a request: an [asynchronous origin
    /// predicate](crate::Origins::predicate_async), [`generate_sid`](Self::generate_sid) and the connect handler, together.
    /// Default 30 s. After that, its future is dropped and the request is refused with 503.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// Sets the maximum number of clients, including those whose connect handler or disconnect handler is running.
    /// Default: no limit. Beyond it, handshakes are refused with 503.
    pub const fn max_sockets(mut self, sockets: usize) -> Self {
        self.options.max_sockets = sockets;
        self
    }

    /// Sets the maximum number of clients from one IPv4 address, or from one IPv6 /64 network, the size that a
    /// household has. Default: no limit. Beyond it, handshakes are refused with 429. It has an effect only if the host
    /// passes the peer's address on ([`PeerAddr`](crate::PeerAddr)), and behind a proxy that address is the proxy's.
    pub const fn max_sockets_per_peer(mut self, sockets: usize) -> Self {
        self.options.max_sockets_per_peer = sockets;
        self
    }

    /// Sets the maximum number of clients that are being connected or disconnected: those whose asynchronous origin
    /// predicate, [`generate_sid`](Self::generate_sid), connect handler or disconnect handler has not returned. Default
    /// 10,000. Beyond it, handshakes are refused with 503, and so are requests for which an asynchronous predicate would
    /// have to be asked.
    ///
    /// Connect handlers go on without their request, and disconnect handlers without their client, so no limit on
    /// connections bounds them. A disconnect handler is never refused; while many run, new clients are. Do not let a
    /// disconnect handler sleep for a grace period: spawn a task for that. Whatever this limit, a connection (an
    /// address with its port) has at most 200 handshakes in progress, those of HTTP/2 streams that it has reset
    /// included; more are refused with
    /// 429. This too has an effect only if the host passes the peer's address on ([`PeerAddr`](crate::PeerAddr)).
    pub const fn max_pending_sockets(mut self, sockets: usize) -> Self {
        self.options.max_pending_sockets = sockets;
        self
    }

    /// Sends a message to every client right after the open packet, within the handshake. It comes with the first poll instead
    /// if [`max_poll_packets`](Self::max_poll_packets) is 1, or if `max_payload` does not allow it beside the open packet.
    ///
    /// [`build`](Self::build) panics if the message cannot be sent to every client.
    pub fn initial_message(mut self, message: impl Into<Message>) -> Self {
        self.options.initial_message = Some(message.into());
        self
    }

    /// Sets the source of session ids, instead of the system's random source: a closure that takes the head of the
    /// request and returns a future of the id.
    ///
    /// It is called again if the id is in use, 16 times in all, after which the client is refused with 503. Ids must be
    /// unguessable, since anyone who knows one can act as its client. If an id is reused, its new session may begin
    /// while the disconnect handler of the previous one still runs. In a cluster, the id and the name of the node, with
    /// a dot between them, have at most 55 characters; a longer id is refused with 503, and logged.
    ///
    /// ```
    /// use engineio_tower::{Server, Sid};
    ///
    /// # fn random() -> [u8; 15] { [0; 15] }
    /// let server = Server::builder().generate_sid(|_| async { Sid::from_random(random()) }).build();
    /// # let _ = server;
    /// ```
    pub fn generate_sid<F, Fut>(mut self, source: F) -> Self
    where
        F: Fn(&Parts) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Sid> + Send + 'static,
    {
        self.options.sids = Some(Arc::new(move |head| Box::pin(source(head))));
        self
    }

    /// Adds headers to the response that opens a session, the 101 included: a closure that takes the head of the
    /// request and adds to the headers of the response.
    ///
    /// `Connection`, `Content-Length`, `Transfer-Encoding` and `Upgrade` are ignored: the host sets them.
    pub fn initial_headers<F>(mut self, hook: F) -> Self
    where
        F: Fn(&Parts, &mut HeaderMap) + Send + Sync + 'static,
    {
        self.options.initial_headers = Some(Box::new(hook));
        self
    }

    /// Chooses the subprotocol of a WebSocket among those that its client offers, in their order. Default: the first one,
    /// like engine.io and ws.
    ///
    /// Without a choice (`None`) the WebSocket is accepted without a subprotocol, and a client that insists on one closes
    /// it. A text that was not offered counts as `None`.
    ///
    /// ```
    /// use engineio_tower::Server;
    ///
    /// let chat = Server::builder().subprotocol(|offered| offered.iter().copied().find(|name| *name == "chat"));
    /// let none = Server::builder().subprotocol(|_| None);
    /// # let _ = (chat, none);
    /// ```
    pub fn subprotocol<F>(mut self, choose: F) -> Self
    where
        F: for<'a> Fn(&[&'a str]) -> Option<&'a str> + Send + Sync + 'static,
    {
        self.options.subprotocol = Some(Box::new(choose));
        self
    }

    /// Adds headers to every response to a poll, a POST, a handshake (the 101 included) or a preflight, like
    /// [`initial_headers`](Self::initial_headers). A refusal gets none.
    ///
    /// For a preflight it can add headers that [`Origins`](crate::Origins) does not, such as
    /// `Access-Control-Allow-Private-Network`.
    ///
    /// It is called after the origin was checked and the session found, so that requests for sessions that do not exist cost
    /// nothing. It may be called for a request that is refused later, such as a handshake beyond a limit.
    ///
    /// `Connection`, `Content-Length`, `Transfer-Encoding` and `Upgrade` are ignored: the host sets them.
    pub fn headers<F>(mut self, hook: F) -> Self
    where
        F: Fn(&Parts, &mut HeaderMap) + Send + Sync + 'static,
    {
        self.options.headers = Some(Box::new(hook));
        self
    }

    /// Sets all rules of the sessions at once, from a [`Config`].
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Builds the server.
    ///
    /// # Panics
    ///
    /// Panics if [`config`](Self::config) gave no transport, since nobody could connect; if the [`path`](Self::path) has
    /// characters or segments that it must not have; if the [`initial_message`](Self::initial_message) is larger than [`outbox_limit`](Self::outbox_limit) or
    /// [`max_payload`](Self::max_payload), and would not leave with the handshake; or if it is a text with U+001E, clients may
    /// poll and [`allow_separator`](Self::allow_separator) is off.
    #[must_use]
    pub fn build(mut self) -> Server {
        assert!(
            !self.config.transports.is_empty(),
            "a server needs at least one transport"
        );
        check_path(&self.path);
        if let Some(message) = &self.options.initial_message {
            check_initial_message(message, &self.config);
        }
        self.options.concurrent_messages &= !self.handlers.message_blocks;
        self.config.drain_events = self.handlers.drained.is_some();
        Server::new(self.config, self.options, self.path, self.handlers)
    }
}

/// Panics if clients cannot request the path, or if the router of a host would take it for a pattern.
fn check_path(path: &str) {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()+,;=@%".contains(&byte);
    let is_segment =
        |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(is_plain);
    assert!(
        path.is_empty() || path.split('/').skip(1).all(is_segment),
        "clients cannot request the path {path:?}: percent-encode special characters, and leave out queries, patterns, \
         `.` and `..`"
    );
}

/// Panics if the message could not be sent to every client, rather than that each handshake fails to.
fn check_initial_message(message: &Message, config: &Config) {
    let limit = config.outbox_limit.min(config.max_payload);
    let size = message.len() + Config::PACKET_OVERHEAD;
    assert!(
        size <= limit,
        "the initial message takes {size} bytes, and the limits of outbox and payload allow {limit}"
    );
    let is_split = config.transports.contains(Transport::Polling) && !config.allow_separator;
    let separator = message
        .as_text()
        .is_some_and(|text| text.contains('\u{1e}'));
    assert!(
        !(is_split && separator),
        "the initial message holds U+001E, which separates packets for clients that poll; allow_separator(true) allows it"
    );
}
