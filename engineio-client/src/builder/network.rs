//! Options for the way to the server: proxy, HTTP service, TLS.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;

use super::ClientBuilder;
use crate::error::BoxError;
use crate::net::http::HttpService;
use crate::net::proxy::Proxy;

impl<M> ClientBuilder<M> {
    /// Connects through a proxy, on both transports: `http://`, `socks4://`, `socks5://` (names are resolved by the client) or
    /// `socks5h://` (names are resolved by the proxy), with `user:password@` if the proxy requires it. Default: none;
    /// environment variables are not read.
    pub fn proxy(mut self, url: &str) -> Self {
        match Proxy::parse(url) {
            Ok(proxy) => self.proxy = Some(proxy),
            Err(error) => self.fail(error),
        }
        self
    }

    /// Sends the requests of the polling transport through a service of the application, for a shared connection pool, own
    /// traces, or tests.
    ///
    /// A poll lasts until the server's next ping, so a timeout of the service must be longer than that. A POST that the service
    /// repeats may arrive twice. WebSockets are still opened by the client itself; proxy and TLS options apply to those only.
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

    /// Sets whether the certificate authorities of the web are trusted. Default: yes; with `false`, only those given to
    /// [`root_certificate`](Self::root_certificate) are.
    #[cfg(feature = "tls")]
    pub const fn built_in_roots(mut self, trusted: bool) -> Self {
        self.tls.built_in_roots = trusted;
        self
    }

    /// Authenticates the client to the server with a certificate chain and its private key, in PEM.
    #[cfg(feature = "tls")]
    pub fn client_identity(mut self, pem: &[u8]) -> Self {
        self.tls.identity = Some(pem.to_owned());
        self
    }

    /// **Danger:** accepts every certificate, so that anybody on the network path can read and change everything. For tests.
    #[cfg(feature = "tls")]
    pub const fn danger_accept_invalid_certificates(mut self, accept: bool) -> Self {
        self.tls.accept_anything = accept;
        self
    }
}
