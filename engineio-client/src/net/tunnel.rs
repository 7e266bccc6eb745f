//! Connections through a proxy, up to the server.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::Empty;
use hyper::body::Incoming;

use super::attempt::Attempt;
use super::connect::{Conn, Connector};
use super::dial::{self, first_connected};
use super::exchange::exchange;
use super::http::{MAX_REFUSAL, first_bytes};
use super::proxy::{Proxy, ProxyKind};
use super::socks::{connect_v4, connect_v5};
use super::stream::Stream;
use crate::Error;
use crate::error::BoxError;

impl Connector {
    /// Connects through a proxy. One that is given an address is asked for all addresses of the name, like a server's own.
    pub(super) async fn tunnel(&self, proxy: &Proxy, uri: &Uri) -> Result<Stream, BoxError> {
        let (host, port) = (dial::host(uri), dial::port(uri));
        match proxy.kind {
            ProxyKind::Http => {
                // An IPv6 address keeps its brackets.
                let authority = format!("{}:{port}", uri.host().unwrap_or_default());
                let io = self.to_proxy(proxy).await?;
                connect(proxy, io, authority).await
            }
            ProxyKind::Socks4 => {
                let mut io = self.to_proxy(proxy).await?;
                connect_v4(&mut io, host, port).await?;
                Ok(io)
            }
            ProxyKind::Socks5 { local_dns: false } => self.through_v5(proxy, host, port).await,
            ProxyKind::Socks5 { local_dns: true } => {
                let addresses = self.dialer().resolve(uri).await?;
                let connect = async |address: SocketAddr| {
                    let host = address.ip().to_string();
                    self.through_v5(proxy, &host, address.port()).await
                };
                first_connected(addresses, connect).await
            }
        }
    }

    async fn through_v5(&self, proxy: &Proxy, host: &str, port: u16) -> Result<Stream, BoxError> {
        let mut io = self.to_proxy(proxy).await?;
        connect_v5(&mut io, proxy.credentials(), host, port).await?;
        Ok(io)
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
