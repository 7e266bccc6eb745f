//! Everything about a client that can be chosen.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engineio_core::client::Config;
use engineio_core::{DisconnectReason, Message, Revision, Transport};
use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Request, Response};
use http_body_util::Full;

use crate::client::{Client, Handle};
use crate::driver::{self, Settings};
use crate::error::BoxError;
use crate::handlers::Handlers;
use crate::net::connect::Connector;
use crate::net::cookies::Cookies;
use crate::net::http::{Http, HttpService};
use crate::net::proxy::{Proxy, basic, secret};
use crate::net::websocket::WebSockets;
use crate::shared::{Phase, Shared};
use crate::target::Target;
use crate::{Error, ErrorKind, Reconnect};

/// Sets a client up; made by [`Client::builder`].
///
/// A value that cannot be used is reported by [`connect`](Self::connect), before anything is sent.
///
/// # Examples
///
/// ```no_run
/// use engineio_client::{Client, Transport};
///
/// # async fn example() -> Result<(), engineio_client::Error> {
/// let client = Client::builder("https://example.com")
///     .header("x-tenant", "blue")
///     .bearer_auth("secret")
///     .transports([Transport::WebSocket, Transport::Polling])
///     .try_all_transports(true)
///     .on_message(|client, message| async move {
///         let _ = client.send(message).await;
///     })
///     .connect()
///     .await?;
/// client.wait().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until `connect` is called"]
pub struct ClientBuilder {
    target: Result<Target, Error>,
    strip_slash: bool,
    transports: Vec<Transport>,
    try_all: bool,
    headers: HeaderMap,
    cookies: bool,
    stamp: Option<String>,
    connect_timeout: Duration,
    request_timeout: Duration,
    max_response: usize,
    session: Config,
    proxy: Option<Proxy>,
    service: Option<HttpService>,
    #[cfg(feature = "tls")]
    tls: crate::net::tls::TlsOptions,
    reconnect: Option<Reconnect>,
    pub(crate) handlers: Handlers,
    /// The first option that cannot be used.
    invalid: Option<Error>,
}

impl ClientBuilder {
    pub(crate) fn new(url: &str) -> Self {
        let agent = concat!("engineio-client/", env!("CARGO_PKG_VERSION"));
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        let mut builder = Self {
            target: Target::parse(url),
            strip_slash: false,
            transports: vec![Transport::Polling, Transport::WebSocket],
            try_all: false,
            headers,
            cookies: true,
            stamp: Some("t".to_owned()),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(20),
            max_response: 32 << 20,
            session: Config::default(),
            proxy: None,
            service: None,
            #[cfg(feature = "tls")]
            tls: crate::net::tls::TlsOptions::default(),
            reconnect: None,
            handlers: Handlers::default(),
            invalid: None,
        };
        let target = builder.target.as_ref().ok();
        if let Some((user, password)) = target.and_then(|target| target.credentials.clone()) {
            builder = builder.basic_auth(&user, password.as_deref());
        }
        builder
    }

    fn fail(&mut self, error: Error) {
        self.invalid.get_or_insert(error);
    }

    /// The transports that may be used, in the order in which they are tried. Default: polling, then WebSocket.
    ///
    /// The first opens the session. A session that began by polling moves to WebSocket if that is among them and the
    /// server offers it.
    pub fn transports(mut self, transports: impl IntoIterator<Item = Transport>) -> Self {
        self.transports.clear();
        for transport in transports {
            if !self.transports.contains(&transport) {
                self.transports.push(transport);
            }
        }
        self
    }

    /// Whether a session that began by polling moves to WebSocket. Default: yes.
    pub const fn upgrade(mut self, upgrade: bool) -> Self {
        self.session.upgrade = upgrade;
        self
    }

    /// Whether the other transports are tried if the first cannot open a session. Default: no.
    pub const fn try_all_transports(mut self, try_all: bool) -> Self {
        self.try_all = try_all;
        self
    }

    /// The revision of the protocol. Default: 4. [`Revision::V3`] is for servers of before 2021.
    pub const fn revision(mut self, revision: Revision) -> Self {
        self.session.revision = revision;
        self
    }

    /// The path of the server, instead of `/engine.io/` or the one in the URL. A slash is added at its end.
    pub fn path(mut self, path: &str) -> Self {
        if let Ok(target) = &mut self.target
            && let Err(error) = target.set_path(path)
        {
            self.fail(error);
        }
        self
    }

    /// Whether the path ends with a slash. Default: yes, as all servers expect.
    pub const fn trailing_slash(mut self, slash: bool) -> Self {
        self.strip_slash = !slash;
        self
    }

    /// Adds a query parameter to every request. It is percent-encoded here. `EIO`, `transport` and `sid`, here and in the
    /// URL, are the client's own to set and left out.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        if let Ok(target) = &mut self.target {
            target.append_query(name, value);
        }
        self
    }

    /// Adds a header to every request and to the WebSocket handshake. `user-agent` and `authorization` are replaced, since
    /// there is one of each.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::try_from(name), secret(value)) {
            (Ok(name), Ok(value)) => {
                if name == USER_AGENT || name == AUTHORIZATION {
                    self.headers.insert(name, value);
                } else {
                    self.headers.append(name, value);
                }
            }
            (Err(error), _) => {
                let message = format!("`{}` is not the name of a header", name.escape_debug());
                self.fail(Error::invalid(message).with_source(error));
            }
            // The value may be a secret.
            (_, Err(error)) => {
                let message = format!("the value of the header `{name}` cannot be sent");
                self.fail(Error::invalid(message).with_source(error));
            }
        }
        self
    }

    /// Adds many headers to every request and to the WebSocket handshake, in place of those that were given before under
    /// the same names.
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers);
        self
    }

    /// Sends `authorization: Bearer …` with every request. For a token that expires see [`Reconnect::renew_headers`].
    pub fn bearer_auth(mut self, token: &str) -> Self {
        match secret(&format!("Bearer {token}")) {
            Ok(value) => {
                self.headers.insert(AUTHORIZATION, value);
            }
            Err(error) => {
                self.fail(Error::invalid("the bearer token cannot be sent").with_source(error));
            }
        }
        self
    }

    /// Sends `authorization: Basic …` with every request. A user name and password in the URL do the same.
    pub fn basic_auth(mut self, user: &str, password: Option<&str>) -> Self {
        if let Some(value) = basic(user, password.unwrap_or_default()) {
            self.headers.insert(AUTHORIZATION, value);
        }
        self
    }

    /// Sends a cookie with every request.
    pub fn cookie(mut self, name: &str, value: &str) -> Self {
        // A semicolon would begin another cookie.
        let is_one = !name.contains(['=', ';']) && !value.contains(';');
        match secret(&format!("{name}={value}")) {
            Ok(pair) if is_one => {
                self.headers.append(COOKIE, pair);
            }
            _ => {
                let message = format!("the cookie `{}` cannot be sent", name.escape_debug());
                self.fail(Error::invalid(message));
            }
        }
        self
    }

    /// Whether cookies that the server sets are sent back to it, on both transports, for the life of the client. Default:
    /// yes, because many load balancers keep a client at one instance by a cookie.
    pub const fn cookies(mut self, cookies: bool) -> Self {
        self.cookies = cookies;
        self
    }

    /// How long one connection may take: name, TCP, proxy and TLS. Default: 10 s.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long the handshake and each POST may take. Default: 20 s. A poll is bounded by the heartbeat instead.
    pub const fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How long the move to WebSocket may take before the session stays on polling. Default: 10 s.
    pub const fn upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.session.upgrade_timeout = timeout;
        self
    }

    /// How long [`Client::close`] waits for what is queued to go out. Default: 10 s.
    pub const fn close_timeout(mut self, timeout: Duration) -> Self {
        self.session.close_timeout = timeout;
        self
    }

    /// The largest poll response and the largest WebSocket message that is taken, in bytes, compressed or not. Default:
    /// 32 MiB. Servers put everything that is queued into one response.
    pub const fn max_response(mut self, bytes: usize) -> Self {
        self.max_response = bytes;
        self
    }

    /// The most packets in one POST. Default: 16, because python-engineio's server loses what comes after; servers that
    /// are known to be others take more, and are written to faster then.
    pub const fn max_post_packets(mut self, packets: usize) -> Self {
        self.session.max_post_packets = packets;
        self
    }

    /// How many bytes may wait to be sent before [`Client::send`] waits. Default: 1 MiB.
    pub const fn outbox_limit(mut self, bytes: usize) -> Self {
        self.session.outbox_limit = bytes;
        self
    }

    /// How many bytes may wait to be read before nothing more is taken from the server. Default: 1 MiB.
    pub const fn inbox_limit(mut self, bytes: usize) -> Self {
        self.session.inbox_limit = bytes;
        self
    }

    /// Whether each polling request has a parameter that makes it unique, so that no cache answers it. Default: yes.
    pub fn timestamp_requests(mut self, timestamps: bool) -> Self {
        let stamp = self.stamp.take();
        self.stamp = timestamps.then(|| stamp.unwrap_or_else(|| "t".to_owned()));
        self
    }

    /// The name of that parameter. Default: `t`.
    pub fn timestamp_param(mut self, name: &str) -> Self {
        self.stamp = Some(name.to_owned());
        self
    }

    /// A proxy for both transports: `http://`, `socks4://`, `socks5://` (names are looked up here) or `socks5h://`
    /// (names are looked up by the proxy), with `user:password@` where it asks for that. Default: none; environment
    /// variables are not read.
    pub fn proxy(mut self, url: &str) -> Self {
        match Proxy::parse(url) {
            Ok(proxy) => self.proxy = Some(proxy),
            Err(error) => self.fail(error),
        }
        self
    }

    /// Sends the requests of polling by a service of the application's: a pool that it has already, with its own traces or
    /// tests. A poll waits for the server's next ping: a time limit of the service must be longer. A POST that the service
    /// repeats may arrive twice. WebSockets are still opened by the client itself; proxy and TLS options apply to those alone.
    pub fn http_service<S, B>(mut self, service: S) -> Self
    where
        S: tower_service::Service<Request<Full<Bytes>>, Response = Response<B>>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data: Send> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.service = Some(HttpService::new(service));
        self
    }

    /// Trusts these certificates too: one or more, in PEM.
    #[cfg(feature = "tls")]
    pub fn root_certificate(mut self, pem: &[u8]) -> Self {
        self.tls.roots.push(pem.to_owned());
        self
    }

    /// Whether the certificate authorities of the web are trusted. Default: yes; with `false`, only those given to
    /// [`root_certificate`](Self::root_certificate) are.
    #[cfg(feature = "tls")]
    pub const fn built_in_roots(mut self, trusted: bool) -> Self {
        self.tls.built_in_roots = trusted;
        self
    }

    /// Shows the server who the client is: a certificate chain and its private key, in PEM.
    #[cfg(feature = "tls")]
    pub fn client_identity(mut self, pem: &[u8]) -> Self {
        self.tls.identity = Some(pem.to_owned());
        self
    }

    /// **Danger:** accepts every certificate, so that anybody on the way can read and change everything. For tests.
    #[cfg(feature = "tls")]
    pub const fn danger_accept_invalid_certificates(mut self, accept: bool) -> Self {
        self.tls.accept_anything = accept;
        self
    }

    /// Opens a new session when one has ended, in the way of this policy. Default: not.
    pub fn reconnect(mut self, policy: Reconnect) -> Self {
        self.reconnect = Some(policy);
        self
    }

    /// Called when a session is open, before any of its messages.
    pub fn on_connect<F, Fut>(mut self, mut handler: F) -> Self
    where
        F: FnMut(Handle) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.handlers.connect = Some(Box::new(move |handle| Box::pin(handler(handle))));
        self
    }

    /// Called with each message, one after the other in the order of the server's sending. The stream stays empty then.
    ///
    /// A handler that takes long stops neither heartbeats nor the upgrade. One that panics ends the client.
    pub fn on_message<F, Fut>(mut self, mut handler: F) -> Self
    where
        F: FnMut(Handle, Message) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let handler = move |handle, message| -> futures_core::future::BoxFuture<'static, ()> {
            Box::pin(handler(handle, message))
        };
        self.handlers.message = Some(Box::new(handler));
        self
    }

    /// Called when a session is over, after the last of its messages, once for each [`on_connect`](Self::on_connect).
    pub fn on_disconnect<F, Fut>(mut self, mut handler: F) -> Self
    where
        F: FnMut(DisconnectReason) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.handlers.disconnect = Some(Box::new(move |reason| Box::pin(handler(reason))));
        self
    }

    /// Connects. Must be called inside a tokio runtime with time and IO enabled.
    ///
    /// # Errors
    ///
    /// Fails if an option cannot be used, there is no runtime, the server cannot be reached or refuses, or what answers
    /// is no Engine.IO server. The handshake takes at most [`request_timeout`](Self::request_timeout), for each transport
    /// that is tried.
    ///
    /// # Cancel safety
    ///
    /// The attempt ends if this is dropped.
    pub async fn connect(self) -> Result<Client, Error> {
        if tokio::runtime::Handle::try_current().is_err() {
            let message = "`connect` was called outside of a tokio runtime, which it needs: use `#[tokio::main]`, or \
                           the blocking client";
            return Err(Error::invalid(message));
        }
        let (settings, handlers) = self.finish()?;
        let target = settings.target.to_string();
        let Some(session) = settings.session(0) else {
            return Err(Error::invalid("no transport was given; give at least one"));
        };
        let shared = Shared::new(session, &handlers, &settings);
        let mut phase = shared.phase.subscribe();
        let client = Client::new(Arc::clone(&shared));
        tokio::spawn(driver::run(shared, settings, handlers));
        // The sender is held by the client.
        let _ = phase.wait_for(|phase| *phase != Phase::Connecting).await;
        let failure = {
            let state = client.shared().lock();
            (!state.was_open).then(|| state.error.clone())
        };
        match failure {
            None => Ok(client),
            Some(error) => Err(error.unwrap_or_else(|| {
                let message = format!(
                    "the connection to {target} was closed before it was open; connect again"
                );
                Error::new(ErrorKind::Closed, message)
            })),
        }
    }

    fn finish(self) -> Result<(Settings, Handlers), Error> {
        if let Some(error) = self.invalid {
            return Err(error);
        }
        let mut target = self.target?;
        if self.strip_slash {
            target.strip_slash();
        }
        target.set_revision(self.session.revision);
        let mut session = self.session;
        session.open_timeout = self.request_timeout;
        session.upgrade &= self.transports.contains(&Transport::WebSocket);
        #[cfg(feature = "tls")]
        let tls = target
            .is_secure()
            .then(|| self.tls.connector())
            .transpose()?;
        #[cfg(not(feature = "tls"))]
        if target.is_secure() {
            let message =
                format!("{target} needs TLS; enable the feature `tls` of engineio-client");
            return Err(Error::invalid(message));
        }
        let connector = Connector::new(
            self.proxy,
            #[cfg(feature = "tls")]
            tls,
            self.connect_timeout,
        );
        let headers = Arc::new(self.headers);
        let cookies = self.cookies.then(|| Arc::new(Cookies::new(target.path())));
        let websockets = WebSockets {
            connector: connector.clone(),
            headers: Arc::clone(&headers),
            cookies: cookies.clone(),
            max_message: self.max_response,
        };
        let settings = Settings {
            target,
            transports: self.transports,
            try_all: self.try_all,
            session,
            stamp: self.stamp,
            request_timeout: self.request_timeout,
            http: Http::new(self.service, connector, headers, cookies, self.max_response),
            websockets,
            reconnect: self.reconnect,
        };
        Ok((settings, self.handlers))
    }
}
