//! One way to the server for both transports: name resolution, TCP, the proxy, TLS.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::proxy::{SocksV4, SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tower_service::Service;

use super::dial::{self, Dialer};
use super::proxy::{Proxy, ProxyKind};
use crate::error::BoxError;

/// Connects to a server, for either transport.
#[derive(Clone)]
pub(crate) struct Connector {
    proxy: Option<Proxy>,
    #[cfg(feature = "tls")]
    tls: Option<tokio_rustls::TlsConnector>,
    timeout: Duration,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl Connector {
    pub(crate) fn new(
        proxy: Option<Proxy>,
        #[cfg(feature = "tls")] tls: Option<tokio_rustls::TlsConnector>,
        timeout: Duration,
    ) -> Self {
        Self {
            proxy,
            #[cfg(feature = "tls")]
            tls,
            timeout,
        }
    }

    pub(crate) const fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// Returns whether a plain request goes to the proxy in absolute form.
    pub(crate) fn is_forwarded(&self, uri: &Uri) -> bool {
        let proxy = self.proxy.as_ref();
        proxy.is_some_and(|proxy| proxy.kind == ProxyKind::Http)
            && uri.scheme() == Some(&http::uri::Scheme::HTTP)
    }

    /// A connection that is the client's own up to the server, as a WebSocket needs it.
    pub(crate) async fn tunnel(self, uri: Uri) -> Result<Conn, BoxError> {
        self.within_timeout(uri, false).await
    }

    async fn within_timeout(self, uri: Uri, forwarded: bool) -> Result<Conn, BoxError> {
        let timeout = self.timeout;
        match tokio::time::timeout(timeout, self.connect(uri, forwarded)).await {
            Ok(connected) => connected,
            Err(_) => Err(Box::new(ConnectTimeout(timeout))),
        }
    }

    async fn connect(self, uri: Uri, forwarded: bool) -> Result<Conn, BoxError> {
        let tcp = match &self.proxy {
            None => dial::dial(&uri).await?,
            Some(proxy) if forwarded => dial::dial(&proxy.uri).await?,
            Some(proxy) => through(proxy, &uri).await?,
        };
        if uri.scheme() != Some(&http::uri::Scheme::HTTPS) {
            return Ok(Conn::Plain { tcp, forwarded });
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            use tokio_rustls::rustls::pki_types::ServerName;

            let host = uri.host().unwrap_or_default();
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let name = ServerName::try_from(host.to_owned())?;
            let tls = tls.connect(name, tcp).await?;
            return Ok(Conn::Tls(Box::new(tls)));
        }
        Err("TLS is needed, and this build has none: enable the feature `tls`".into())
    }
}

/// Connects through a proxy. One that is given an address is asked for all addresses of the name, like a server's own.
async fn through(proxy: &Proxy, uri: &Uri) -> Result<TcpStream, BoxError> {
    if proxy.kind == (ProxyKind::Socks5 { local_dns: true }) {
        // The library would look the name up in a way that stops the thread.
        let addresses = dial::resolve(uri).await?;
        let connect = |address: SocketAddr| tunnel(proxy, uri, address.to_string());
        return dial::first_connected(addresses, connect).await;
    }
    // The library would take a URL without a port for `https` whatever its scheme.
    let host = uri.host().unwrap_or_default();
    tunnel(proxy, uri, format!("{host}:{}", dial::port(uri))).await
}

/// Asks a proxy for a connection to this host and port.
async fn tunnel(proxy: &Proxy, uri: &Uri, authority: String) -> Result<TcpStream, BoxError> {
    let mut parts = uri.clone().into_parts();
    parts.authority = Some(authority.parse()?);
    let uri = Uri::from_parts(parts)?;
    let to = proxy.uri.clone();
    let tcp = match proxy.kind {
        ProxyKind::Http => {
            let mut tunnel = Tunnel::new(to, Dialer);
            if let Some(authorization) = proxy.authorization() {
                tunnel = tunnel.with_auth(authorization);
            }
            tunnel.call(uri).await?
        }
        ProxyKind::Socks4 => SocksV4::new(to, Dialer).call(uri).await?,
        ProxyKind::Socks5 { .. } => {
            let mut socks = SocksV5::new(to, Dialer);
            if let Some((user, password)) = proxy.credentials() {
                socks = socks.with_auth(user, password);
            }
            socks.call(uri).await?
        }
    };
    Ok(tcp.into_inner())
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Conn>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        let forwarded = this.is_forwarded(&uri);
        Box::pin(async move { this.within_timeout(uri, forwarded).await.map(TokioIo::new) })
    }
}

/// No connection within the time that the client was given.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {0:?}")]
pub(crate) struct ConnectTimeout(Duration);

/// A connection to the server, or to a proxy that forwards requests.
#[derive(Debug)]
pub(crate) enum Conn {
    Plain {
        tcp: TcpStream,
        forwarded: bool,
    },
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Connection for Conn {
    fn connected(&self) -> Connected {
        let forwarded = matches!(
            self,
            Self::Plain {
                forwarded: true,
                ..
            }
        );
        Connected::new().proxy(forwarded)
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain { tcp, .. } => Pin::new(tcp).poll_read(cx, buf),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain { tcp, .. } => Pin::new(tcp).poll_write(cx, buf),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain { tcp, .. } => Pin::new(tcp).poll_flush(cx),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain { tcp, .. } => Pin::new(tcp).poll_shutdown(cx),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
