//! One way to the server for both transports: the dialer, the proxy, TLS.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderValue, Uri};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::dial::Dialer;
use super::environment::Environment;
use super::proxy::{Proxy, ProxyKind};
use super::stream::Stream;
#[cfg(feature = "webtransport")]
use crate::Error;
use crate::error::BoxError;
use crate::origin::Origin;

/// Connects to a server, for either transport. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Connector(Arc<Options>);

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) dialer: Dialer,
    pub(crate) proxies: Proxies,
    pub(crate) security: Security,
    pub(crate) timeout: Duration,
    /// The server for which the client's certificate is meant.
    pub(crate) home: Origin,
}

/// The proxies through which connections go.
#[derive(Debug, Default)]
pub(crate) enum Proxies {
    #[default]
    None,
    One(Proxy),
    Environment(Environment),
}

impl Proxies {
    fn proxy(&self, uri: &Uri) -> Option<&Proxy> {
        match self {
            Self::None => None,
            Self::One(proxy) => Some(proxy),
            Self::Environment(environment) => environment.proxy(uri),
        }
    }

    /// Returns whether requests to this host go through a proxy, with `https` or as the URL is.
    #[cfg(feature = "webtransport")]
    fn is_for(&self, uri: &Uri) -> bool {
        let mut secure = uri.clone().into_parts();
        secure.scheme = Some(http::uri::Scheme::HTTPS);
        let secure = Uri::from_parts(secure).ok();
        self.proxy(uri).is_some() || secure.is_none_or(|secure| self.proxy(&secure).is_some())
    }

    /// Returns whether the connection to a proxy uses TLS.
    pub(crate) fn is_secure(&self) -> bool {
        match self {
            Self::None => false,
            Self::One(proxy) => proxy.is_secure(),
            Self::Environment(environment) => environment.is_secure(),
        }
    }
}

/// The way in which connections to `https` URLs are encrypted.
#[derive(Debug)]
pub(crate) enum Security {
    /// This build has no TLS.
    #[cfg(not(feature = "rustls-no-provider"))]
    None,
    /// The connector of the application has done it.
    Done,
    #[cfg(feature = "rustls-no-provider")]
    Tls(super::tls::Tls),
}

impl Connector {
    pub(crate) fn new(options: Options) -> Self {
        Self(Arc::new(options))
    }

    pub(super) fn dialer(&self) -> &Dialer {
        &self.0.dialer
    }

    /// Returns the proxy to which plain requests for this URL go in absolute form.
    fn forwarding(&self, uri: &Uri) -> Option<&Proxy> {
        let is_plain = uri.scheme() == Some(&http::uri::Scheme::HTTP);
        let proxy = self.0.proxies.proxy(uri);
        proxy.filter(|proxy| is_plain && proxy.kind == ProxyKind::Http)
    }

    /// Returns the credentials for the proxy that gets requests for this URL in absolute form.
    pub(super) fn proxy_authorization(&self, uri: &Uri) -> Option<HeaderValue> {
        self.forwarding(uri).and_then(Proxy::authorization)
    }

    /// Connects to the server for polling, or to a proxy that forwards the requests.
    pub(super) async fn for_requests(&self, uri: &Uri) -> Result<Conn, BoxError> {
        match self.forwarding(uri) {
            Some(proxy) => self.within_timeout(self.to_proxy(proxy), true).await,
            None => self.to_server(uri).await,
        }
    }

    /// Connects to the server, through a tunnel if there is a proxy, as a WebSocket needs it.
    pub(crate) async fn to_server(&self, uri: &Uri) -> Result<Conn, BoxError> {
        let connecting = async {
            let io = match self.0.proxies.proxy(uri) {
                None => self.dialer().dial(uri).await?,
                Some(proxy) => self.tunnel(proxy, uri).await?,
            };
            // A redirect may have led elsewhere.
            let is_home = self.0.home.includes(&Origin::of(uri));
            self.secure(uri, io, is_home).await
        };
        self.within_timeout(connecting, false).await
    }

    /// Returns what a connection over UDP to the server with this URL needs.
    ///
    /// # Errors
    ///
    /// Fails if there is a proxy or a connector of the application, since neither carries UDP, and nothing may go past
    /// them.
    #[cfg(feature = "webtransport")]
    pub(crate) fn datagrams(&self, uri: &Uri) -> Result<Datagrams<'_>, Error> {
        if self.0.proxies.is_for(uri) {
            return Err(Error::invalid(
                "WebTransport cannot be used through a proxy, which does not carry UDP; leave it out of `transports`",
            ));
        }
        match (&self.0.dialer, &self.0.security) {
            (Dialer::Tcp(tcp), Security::Tls(tls)) => Ok(Datagrams {
                tcp,
                tls,
                is_home: self.0.home.includes(&Origin::of(uri)),
                timeout: self.0.timeout,
            }),
            _ => Err(Error::invalid(
                "WebTransport cannot be used with a `connector`, which does not carry UDP; leave it out of `transports`",
            )),
        }
    }

    /// Connects to a proxy.
    pub(super) async fn to_proxy(&self, proxy: &Proxy) -> Result<Stream, BoxError> {
        let connecting = async {
            let io = self.dialer().dial(&proxy.uri).await?;
            self.secure(&proxy.uri, io, false).await
        };
        connecting.await.map_err(|source| {
            let proxy = proxy.uri.authority().map(ToString::to_string);
            let proxy = proxy.unwrap_or_default();
            NoProxy { proxy, source }.into()
        })
    }

    async fn within_timeout(
        &self,
        connecting: impl Future<Output = Result<Stream, BoxError>>,
        is_forwarded: bool,
    ) -> Result<Conn, BoxError> {
        let timeout = self.0.timeout;
        match tokio::time::timeout(timeout, connecting).await {
            Ok(stream) => Ok(Conn {
                is_forwarded,
                ..Conn::new(stream?)
            }),
            Err(_) => Err(Box::new(ConnectTimeout(timeout))),
        }
    }

    /// Encrypts a connection to the host of a URL if its scheme demands it. If `is_home`, the server gets the client's
    /// certificate if it asks for one.
    async fn secure(&self, uri: &Uri, io: Stream, is_home: bool) -> Result<Stream, BoxError> {
        if uri.scheme() != Some(&http::uri::Scheme::HTTPS) {
            return Ok(io);
        }
        match &self.0.security {
            Security::Done => Ok(io),
            #[cfg(feature = "rustls-no-provider")]
            Security::Tls(tls) => tls.connect(super::dial::host(uri), io, is_home).await,
            #[cfg(not(feature = "rustls-no-provider"))]
            Security::None => {
                let _ = is_home;
                Err("TLS is needed, and this build has none: enable the feature `rustls`".into())
            }
        }
    }
}

/// The part of the options that concerns connections over UDP.
#[cfg(feature = "webtransport")]
pub(crate) struct Datagrams<'a> {
    pub(super) tcp: &'a super::dial::TcpOptions,
    pub(super) tls: &'a super::tls::Tls,
    /// The server may ask for the client's certificate.
    pub(super) is_home: bool,
    pub(super) timeout: Duration,
}

/// No connection within the time that the client was given.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {0:?}")]
pub(crate) struct ConnectTimeout(pub(super) Duration);

/// The failure to connect to the proxy.
#[derive(Debug, thiserror::Error)]
#[error("the proxy {proxy} cannot be reached")]
struct NoProxy {
    proxy: String,
    source: BoxError,
}

/// A connection to the server, or to a proxy that forwards requests.
#[derive(Debug)]
pub(crate) struct Conn {
    stream: Stream,
    pub(super) is_forwarded: bool,
    pub(super) exchange: Arc<Exchange>,
}

impl Conn {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            is_forwarded: false,
            exchange: Arc::default(),
        }
    }

    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }
}

/// The maximum number of bytes that are read before the head of an answer has come. hyper itself limits only the head, and
/// skips as many interim answers (1xx) as a server sends, without a pause.
const MAX_READ: usize = 2 * 1024 * 1024;

/// The progress of a request and its answer; shared by a connection and its owner.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    bytes: AtomicUsize,
    has_head: AtomicBool,
    /// Some of the request was written, and all of it.
    is_request_begun: AtomicBool,
    is_request_written: AtomicBool,
}

impl Exchange {
    /// Starts over with another request.
    pub(super) fn expect(&self) {
        self.bytes.store(0, Ordering::Relaxed);
        self.has_head.store(false, Ordering::Relaxed);
        self.is_request_begun.store(false, Ordering::Relaxed);
        self.is_request_written.store(false, Ordering::Relaxed);
    }

    /// Records that the head has come, after which other limits hold.
    pub(super) fn has_come(&self) {
        self.has_head.store(true, Ordering::Relaxed);
    }

    /// Returns whether anything has come.
    pub(super) fn is_begun(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > 0
    }

    /// Returns whether all of the request has been written.
    pub(super) fn is_request_written(&self) -> bool {
        self.is_request_written.load(Ordering::Relaxed)
    }

    /// Records that some of the request was written.
    fn written(&self) {
        self.is_request_begun.store(true, Ordering::Relaxed);
    }

    /// Records that the connection was flushed: hyper does that when it has written all that it has.
    fn flushed(&self) {
        if self.is_request_begun.load(Ordering::Relaxed) {
            self.is_request_written.store(true, Ordering::Relaxed);
        }
    }

    fn read(&self, bytes: usize) -> std::io::Result<()> {
        if self.has_head.load(Ordering::Relaxed) {
            return Ok(());
        }
        let read = self.bytes.load(Ordering::Relaxed).saturating_add(bytes);
        self.bytes.store(read, Ordering::Relaxed);
        match read > MAX_READ {
            true => Err(std::io::Error::other(format!(
                "more than {MAX_READ} bytes came before an answer"
            ))),
            false => Ok(()),
        }
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        // A stream that has emptied the buffer has failed.
        let bytes = buf.filled().len().saturating_sub(before);
        if bytes > 0 {
            self.exchange.read(bytes)?;
        }
        read
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if written.is_ready() {
            self.exchange.written();
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        if written.is_ready() {
            self.exchange.written();
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.exchange.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
