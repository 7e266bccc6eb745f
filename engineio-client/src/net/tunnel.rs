//! Connections through a proxy, up to the server.

use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::proxy::{SocksV4, SocksV5};
use hyper_util::rt::TokioIo;
use tower_service::Service;

use super::attempt::Attempt;
use super::connect::{Conn, Connector};
use super::dial::{self, first_connected};
use super::exchange::exchange;
use super::http::{MAX_REFUSAL, first_bytes};
use super::proxy::{Proxy, ProxyKind};
use super::stream::Stream;
use crate::Error;
use crate::error::BoxError;

impl Connector {
    /// Connects through a proxy. One that is given an address is asked for all addresses of the name, like a server's own.
    pub(super) async fn tunnel(&self, proxy: &Proxy, uri: &Uri) -> Result<Stream, BoxError> {
        if proxy.kind == (ProxyKind::Socks5 { local_dns: true }) {
            // The library would look the name up in a way that stops the thread.
            let addresses = self.dialer().resolve(uri).await?;
            let connect = |address: SocketAddr| self.tunnel_to(proxy, uri, address.to_string());
            return first_connected(addresses, connect).await;
        }
        // The library would take a URL without a port for `https` whatever its scheme.
        let host = uri.host().unwrap_or_default();
        let authority = format!("{host}:{}", dial::port(uri));
        self.tunnel_to(proxy, uri, authority).await
    }

    /// Asks a proxy for a connection to this host and port.
    async fn tunnel_to(
        &self,
        proxy: &Proxy,
        uri: &Uri,
        authority: String,
    ) -> Result<Stream, BoxError> {
        let mut parts = uri.clone().into_parts();
        parts.authority = Some(authority.parse()?);
        let uri = Uri::from_parts(parts)?;
        let to = proxy.uri.clone();
        // The tunnels of hyper-util would not say why they have no connection.
        let io = self.to_proxy(proxy).await?;
        let tunnel = match proxy.kind {
            ProxyKind::Http => return connect(proxy, io, authority).await,
            ProxyKind::Socks4 => SocksV4::new(to, Connected::new(io)).call(uri).await?,
            ProxyKind::Socks5 { .. } => {
                let mut socks = SocksV5::new(to, Connected::new(io));
                if let Some((user, password)) = proxy.credentials() {
                    socks = socks.with_auth(user, password);
                }
                socks.call(uri).await?
            }
        };
        Ok(tunnel.into_inner())
    }
}

/// The connection to a proxy, which a tunnel of hyper-util asks for once.
struct Connected(Option<TokioIo<Stream>>);

impl Connected {
    fn new(io: Stream) -> Self {
        Self(Some(TokioIo::new(io)))
    }
}

impl Service<Uri> for Connected {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Ready<io::Result<TokioIo<Stream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(
            self.0
                .take()
                .ok_or_else(|| io::ErrorKind::NotConnected.into()),
        )
    }
}

/// Asks for a tunnel with `CONNECT` (RFC 9110 § 9.3.6). A refusal arrives whole, as that of a server does.
async fn connect(proxy: &Proxy, io: Stream, authority: String) -> Result<Stream, BoxError> {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::try_from(&authority)?);
    if let Some(authorization) = proxy.authorization() {
        headers.insert(PROXY_AUTHORIZATION, authorization);
    }
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = Uri::try_from(&authority)?;
    *request.headers_mut() = headers.clone();
    let answered = async |response: Response<Incoming>| {
        let (head, body) = response.into_parts();
        if head.status.is_success() {
            return Ok(());
        }
        let attempt = Attempt::tunnel(&proxy.uri, headers);
        let body = first_bytes(body, MAX_REFUSAL).await;
        Err(Error::refused_by_proxy(&attempt, &authority, head, body))
    };
    let (outcome, conn, early) = exchange(Conn::new(io), request, answered).await?;
    outcome?;
    if !early.is_empty() {
        return Err("the proxy sent data before the server can have sent any".into());
    }
    Ok(conn.into_stream())
}
