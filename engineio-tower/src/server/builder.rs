//! How a server is configured.

use std::sync::Arc;
use std::time::Duration;

use engineio_core::{Config, DisconnectReason, Message, Sid, Transport};
use http::HeaderMap;
use http::request::Parts;

use crate::policy::compression::Compression;
use crate::policy::cookie::SidCookie;
use crate::policy::options::{Options, WhenFull};
use crate::policy::origin::Origins;
use crate::server::Server;
use crate::session::handler::{ConnectOutput, Handler, HandlerOutput, Handlers};
use crate::session::request::ConnectRequest;
use crate::session::socket::Socket;

/// A server that is being configured; see [`Server::builder`].
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

    /// What is done when a client asks to be let in: a closure that takes the [`Socket`] and the [`ConnectRequest`].
    ///
    /// It may be async or plain, and returns `Result<(), Rejection>` or nothing. [`Rejection`](crate::Rejection) turns the
    /// client away before anything is kept of it. What is sent to the socket here travels with the handshake.
    ///
    /// A plain closure must not block, here and in the other handlers. What does, such as a call to a database without
    /// async, is awaited in an async one by `tokio::task::spawn_blocking`.
    pub fn on_connect<F, R, K>(mut self, handler: F) -> Self
    where
        F: Fn(Socket, ConnectRequest) -> R + Send + Sync + 'static,
        R: ConnectOutput<K>,
    {
        self.handlers.connect = Some(Box::new(move |socket, request| {
            handler(socket, request).decide().0
        }));
        self
    }

    /// What is done with a message: a closure that takes the [`Socket`] and the [`Message`], async or plain.
    ///
    /// The messages of one client are handled one at a time, in the order sent. A plain closure must not block; see
    /// [`on_message_blocking`](Self::on_message_blocking).
    pub fn on_message<F, R, K>(mut self, handler: F) -> Self
    where
        F: Fn(Socket, Message) -> R + Send + Sync + 'static,
        R: HandlerOutput<K>,
    {
        let handler = Arc::new(handler);
        self.handlers.message = Some(Box::new(move |socket, message| {
            handler(socket.clone(), message)
                .start_batch(&handler, socket)
                .0
        }));
        self
    }

    /// What is done with a message, by a closure that may block: it runs on the runtime's blocking threads. The
    /// messages of one client are still handled one at a time, in the order sent.
    ///
    /// tokio has 512 such threads unless its runtime is built with another number, and a handler that waits in
    /// [`blocking_send`](Socket::blocking_send) for a client that does not read keeps one until that client is dropped,
    /// after `ping_interval` and `ping_timeout`. As many such clients hold up the handlers of all others: where strangers
    /// connect, set [`when_full`](Self::when_full), so that nobody waits, or use [`try_send`](Socket::try_send).
    pub fn on_message_blocking<F>(self, handler: F) -> Self
    where
        F: Fn(Socket, Message) + Send + Sync + 'static,
    {
        let handler = Arc::new(handler);
        self.on_message(move |socket: Socket, message: Message| {
            let handler = Arc::clone(&handler);
            async move {
                let run = tokio::task::spawn_blocking(move || handler(socket, message));
                // A panic must end the client as it does in any other handler.
                if let Err(error) = run.await
                    && let Ok(panic) = error.try_into_panic()
                {
                    std::panic::resume_unwind(panic);
                }
            }
        })
    }

    /// What is done when a client has moved from polling to WebSocket; async or plain.
    pub fn on_upgrade<F, R, K>(mut self, handler: F) -> Self
    where
        F: Fn(Socket) -> R + Send + Sync + 'static,
        R: HandlerOutput<K>,
    {
        self.handlers.upgraded = Some(Box::new(move |socket| handler(socket).start().0));
        self
    }

    /// What is done when everything that was queued for a client has left for its connection; async or plain.
    pub fn on_drain<F, R, K>(mut self, handler: F) -> Self
    where
        F: Fn(Socket) -> R + Send + Sync + 'static,
        R: HandlerOutput<K>,
    {
        self.handlers.drained = Some(Box::new(move |socket| handler(socket).start().0));
        self
    }

    /// What is done when a client is gone: a closure that takes the [`Socket`] and the [`DisconnectReason`], async or
    /// plain. It runs exactly once and last, for every client that `on_connect` accepted.
    pub fn on_disconnect<F, R, K>(mut self, handler: F) -> Self
    where
        F: Fn(Socket, DisconnectReason) -> R + Send + Sync + 'static,
        R: HandlerOutput<K>,
    {
        self.handlers.disconnect = Some(Box::new(move |socket, reason| {
            handler(socket, reason).start().0
        }));
        self
    }

    /// What is done once, when the server meets its runtime: at [`Server::start`], or else at the first handshake. An
    /// async closure that takes the [`Server`]; it runs in a task that is aborted when the server has shut down, so it
    /// is also the place for work that goes on in the background.
    ///
    /// ```
    /// use std::time::Duration;
    /// use engineio_tower::Server;
    ///
    /// let server = Server::builder()
    ///     .on_start(|server| async move {
    ///         let mut tick = tokio::time::interval(Duration::from_secs(1));
    ///         loop {
    ///             tick.tick().await;
    ///             server.broadcast("tick");
    ///         }
    ///     })
    ///     .build();
    /// # let _ = server;
    /// ```
    pub fn on_start<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Server) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.handlers.start = Some(Box::new(move |server| Box::pin(hook(server))));
        self
    }

    /// What is done when the server begins to shut down, while its clients are still connected: an async closure that
    /// takes the [`Server`]. [`Server::shutdown`] waits for it, within the grace period.
    pub fn on_shutdown<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Server) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.handlers.shutdown = Some(Box::new(move |server| Box::pin(hook(server))));
        self
    }

    /// One type that answers all of it, in place of the closures for clients that were given before.
    pub fn handler<H: Handler>(mut self, handler: H) -> Self {
        let Handlers {
            start, shutdown, ..
        } = self.handlers;
        self.handlers = Handlers {
            start,
            shutdown,
            ..Handlers::of(handler)
        };
        self
    }

    /// The path under which the server is reached. Default `/engine.io`. Slashes around it do not matter.
    ///
    /// Keep to characters that a URL has as they are. It is compared with the path of a request as that travels, so that
    /// others are written percent-encoded; in actix-web, which decodes a path first, such a server is not reached.
    pub fn path(mut self, path: &str) -> Self {
        self.path = format!("/{}", path.trim_matches('/'));
        if self.path == "/" {
            // Everything is the server's then.
            self.path.clear();
        }
        self
    }

    /// The time between a pong and the next ping; see [`Config::ping_interval`].
    pub const fn ping_interval(mut self, interval: Duration) -> Self {
        self.config.ping_interval = interval;
        self
    }

    /// How long a pong may take; see [`Config::ping_timeout`].
    pub const fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.config.ping_timeout = timeout;
        self
    }

    /// How long an upgrade may take; see [`Config::upgrade_timeout`].
    pub const fn upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.config.upgrade_timeout = timeout;
        self
    }

    /// How long a disconnect waits for the client to fetch what is queued; see [`Config::close_timeout`].
    pub const fn close_timeout(mut self, timeout: Duration) -> Self {
        self.config.close_timeout = timeout;
        self
    }

    /// The largest POST body and WebSocket message in bytes; see [`Config::max_payload`].
    pub const fn max_payload(mut self, bytes: usize) -> Self {
        self.config.max_payload = bytes;
        self
    }

    /// The most packets in one poll response; see [`Config::max_poll_packets`].
    pub const fn max_poll_packets(mut self, packets: usize) -> Self {
        self.config.max_poll_packets = packets;
        self
    }

    /// The transports that are served; see [`Config::transports`].
    ///
    /// # Panics
    ///
    /// Panics if there is none, since nobody could connect.
    pub fn transports(mut self, transports: impl IntoIterator<Item = Transport>) -> Self {
        self.config.transports = transports.into_iter().collect();
        assert!(
            !self.config.transports.is_empty(),
            "a server needs at least one transport"
        );
        self
    }

    /// Whether a polling client may move to WebSocket; see [`Config::allow_upgrades`].
    pub const fn allow_upgrades(mut self, allow: bool) -> Self {
        self.config.allow_upgrades = allow;
        self
    }

    /// Whether clients of revision 3 are served as well; see [`Config::allow_eio3`].
    pub const fn allow_eio3(mut self, allow: bool) -> Self {
        self.config.allow_eio3 = allow;
        self
    }

    /// Allows polling by script elements (JSONP), for browsers without CORS; see [`Config::allow_jsonp`] for the danger.
    ///
    /// A script request that comes from a page of another origin is then answered with 403, unless the
    /// [`Origins`] allow that page. The page is known by `Sec-Fetch-Site`, which browsers send to `https` sites, and by
    /// `Referer`, which a page can leave out: do not serve such clients over plain `http`.
    pub const fn allow_jsonp(mut self, allow: bool) -> Self {
        self.config.allow_jsonp = allow;
        self
    }

    /// Whether a text with U+001E may be sent to a client that polls; see [`Config::allow_separator`].
    pub const fn allow_separator(mut self, allow: bool) -> Self {
        self.config.allow_separator = allow;
        self
    }

    /// How many bytes may be queued for one client; see [`Config::outbox_limit`].
    pub const fn outbox_limit(mut self, bytes: usize) -> Self {
        self.config.outbox_limit = bytes;
        self
    }

    /// What happens when a message is sent to a client whose outbox is full. Default: [`WhenFull::Wait`].
    pub const fn when_full(mut self, when_full: WhenFull) -> Self {
        self.options.when_full = when_full;
        self
    }

    /// Runs the message handlers of one client concurrently, each in a task of its own, instead of one at a time.
    ///
    /// Messages are then handled in no particular order, and the inbox no longer paces the client: use it for handlers
    /// that mostly wait for others. Plain handlers are not concerned.
    ///
    /// [`on_disconnect`](Self::on_disconnect) still comes last: it waits for those that run, and what is attached to the
    /// client stays until then. One that never returns keeps it from being called.
    pub const fn concurrent_messages(mut self) -> Self {
        self.options.concurrent_messages = true;
        self
    }

    /// How many bytes of received messages may wait for the handlers; see [`Config::inbox_limit`].
    pub const fn inbox_limit(mut self, bytes: usize) -> Self {
        self.config.inbox_limit = bytes;
        self
    }

    /// The pages that may use the server, by their origin. Default: [`Origins::same`].
    pub fn origins(mut self, origins: Origins) -> Self {
        self.options.origins = origins;
        self
    }

    /// A cookie with the session id, for load balancers. Default: none.
    pub fn cookie(mut self, cookie: SidCookie) -> Self {
        self.options.cookie = Some(cookie);
        self
    }

    /// The smallest poll response that is compressed, in bytes, if the client accepts it. Default 1,024.
    pub const fn compression_threshold(mut self, bytes: usize) -> Self {
        self.options.compression = Compression::from_bytes(bytes);
        self
    }

    /// Switches the compression of poll responses off.
    pub const fn no_compression(mut self) -> Self {
        self.options.compression = Compression::OFF;
        self
    }

    /// Compresses WebSocket messages of at least so many bytes, by the extension permessage-deflate (RFC 7692). Off
    /// unless it is asked for; 1,024 is what engine.io takes when it is told to.
    ///
    /// It applies to clients that offer the extension, as browsers do, and to both directions: what such a client sends
    /// may be compressed whatever its size, and is measured by [`max_payload`](Self::max_payload) when it is unpacked.
    /// A message that would not become smaller is sent as it is, as is one for which
    /// [`SendOptions::compress`](crate::SendOptions::compress) was switched off. No message is compressed by what was
    /// in another, so that an idle client costs no more memory than without.
    ///
    /// What it saves in bytes it costs in time: some 10 µs for 4 KiB of JSON, on the thread that serves the client.
    /// Do not switch it on where a message holds both a secret and what an attacker has chosen, over a network on
    /// which its size can be seen (as with CRIME and BREACH): switch it off for such messages.
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

    /// How long a connect handler, and a source of session ids, may take. Default 30 s. Then the handler is dropped
    /// and the client refused with 503.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// How many clients may be connected, those that are being connected included. Default: no limit. Beyond it,
    /// handshakes are refused with 503.
    pub const fn max_sockets(mut self, sockets: usize) -> Self {
        self.options.max_sockets = sockets;
        self
    }

    /// How many clients may be connected from one IPv4 address, or from one IPv6 network of the size that a household has
    /// (/64). Default: no limit. Beyond it, handshakes are refused with 429. It counts only where the host tells the
    /// peer's address, and behind a proxy that is the proxy's.
    pub const fn max_sockets_per_peer(mut self, sockets: usize) -> Self {
        self.options.max_sockets_per_peer = sockets;
        self
    }

    /// Sends a message to every client right after the open packet, within the handshake.
    pub fn initial_message(mut self, message: impl Into<Message>) -> Self {
        self.options.initial_message = Some(message.into());
        self
    }

    /// Where session ids come from, if not from the system's random source: a closure that sees the head of the
    /// request and returns a future of the id.
    ///
    /// An id that is taken is drawn anew. Ids must be unguessable, since whoever knows one can act as its client.
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

    /// Headers for the response that opens a session, the 101 included: a closure that sees the head of the request
    /// and adds to the headers of the response.
    pub fn initial_headers<F>(mut self, hook: F) -> Self
    where
        F: Fn(&Parts, &mut HeaderMap) + Send + Sync + 'static,
    {
        self.options.initial_headers = Some(Box::new(hook));
        self
    }

    /// Headers for every response to a poll, a POST or a handshake, the 101 included, as
    /// [`initial_headers`](Self::initial_headers). A refusal gets none.
    pub fn headers<F>(mut self, hook: F) -> Self
    where
        F: Fn(&Parts, &mut HeaderMap) + Send + Sync + 'static,
    {
        self.options.headers = Some(Box::new(hook));
        self
    }

    /// Every rule of the sessions at once, for those who keep a [`Config`].
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The server.
    #[must_use]
    pub fn build(mut self) -> Server {
        self.config.drain_events = self.handlers.drained.is_some();
        Server::new(self.config, self.options, self.path, self.handlers)
    }
}
