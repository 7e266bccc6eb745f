//! One way to the server for both transports: the dialer, the proxy, TLS.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::future::BoxFuture;
use http::{HeaderValue, Uri};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower_service::Service;

use super::activity::Activity;
use super::dial::Dialer;
use super::environment::Environment;
use super::proxy::{Proxy, ProxyKind};
use super::stream::Stream;
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

    /// Connects to a proxy that gets requests.
    pub(super) async fn to_proxy(&self, proxy: &Proxy) -> Result<Stream, BoxError> {
        let io = self.dialer().dial(&proxy.uri).await?;
        self.secure(&proxy.uri, io, false).await
    }

    async fn within_timeout(
        &self,
        connecting: impl Future<Output = Result<Stream, BoxError>>,
        forwarded: bool,
    ) -> Result<Conn, BoxError> {
        let timeout = self.0.timeout;
        match tokio::time::timeout(timeout, connecting).await {
            Ok(stream) => Ok(Conn {
                stream: stream?,
                forwarded,
                activity: Activity::default(),
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

impl Service<Uri> for Connector {
    type Response = TokioIo<Conn>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let connected = match this.forwarding(&uri) {
                Some(proxy) => this.within_timeout(this.to_proxy(proxy), true).await,
                None => this.to_server(&uri).await,
            };
            connected.map(TokioIo::new)
        })
    }
}

/// No connection within the time that the client was given.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {0:?}")]
pub(crate) struct ConnectTimeout(Duration);

/// A connection to the server, or to a proxy that forwards requests.
#[derive(Debug)]
pub(crate) struct Conn {
    stream: Stream,
    forwarded: bool,
    activity: Activity,
}

impl Connection for Conn {
    fn connected(&self) -> Connected {
        let connected = Connected::new().proxy(self.forwarded);
        connected.extra(self.activity.clone())
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
        if buf.filled().len() > before {
            self.activity.read();
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
        self.activity.wrote();
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        self.activity.wrote();
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
