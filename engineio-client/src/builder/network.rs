//! Options for the network: connector, addresses, proxy, redirects.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::Uri;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service;

use super::ClientBuilder;
use crate::Error;
use crate::error::BoxError;
use crate::net::connect::{Connector, Options, Proxies, Security};
use crate::net::custom::CustomConnector;
use crate::net::dial::{Dialer, TcpOptions};
use crate::net::environment::Environment;
use crate::net::proxy::Proxy;
use crate::net::route::Redirects;
#[cfg(feature = "rustls-no-provider")]
use crate::net::tls::Tls;
use crate::target::Target;

/// The options for connections.
#[derive(Debug)]
pub(super) struct NetworkOptions {
    pub(super) connect_timeout: Duration,
    tcp: TcpOptions,
    custom: Option<CustomConnector>,
    /// The connector of the application does TLS too.
    is_secured: bool,
    proxies: Proxies,
    #[cfg(feature = "rustls-no-provider")]
    pub(super) tls: crate::net::tls::TlsOptions,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            tcp: TcpOptions::default(),
            custom: None,
            is_secured: false,
            proxies: Proxies::None,
            #[cfg(feature = "rustls-no-provider")]
            tls: crate::net::tls::TlsOptions::default(),
        }
    }
}

impl NetworkOptions {
    /// Checks the options and makes the connector for both transports.
    pub(super) fn connector(self, target: &Target, is_secure: bool) -> Result<Connector, Error> {
        if self.custom.is_some() {
            let unused = [
                ("resolve", !self.tcp.addresses.is_empty()),
                ("local_address", self.tcp.local.is_some()),
                (
                    "proxy",
                    self.is_secured && !matches!(self.proxies, Proxies::None),
                ),
            ];
            if let Some((option, _)) = unused.iter().find(|(_, is_set)| *is_set) {
                let message = format!(
                    "`{option}` has no effect beside a connector that does its work; give one of them"
                );
                return Err(Error::invalid(message));
            }
        }
        let needs_tls = (is_secure && !self.is_secured) || self.proxies.is_secure();
        #[cfg(feature = "rustls-no-provider")]
        let security = {
            let tls = Tls::new(self.tls);
            // A redirect may lead to `https`, even if nothing needs it now.
            if needs_tls || tls.has_material() {
                tls.check()?;
            }
            match self.is_secured {
                true => Security::Done,
                false => Security::Tls(tls),
            }
        };
        #[cfg(not(feature = "rustls-no-provider"))]
        let security = match self.is_secured {
            true => Security::Done,
            false if needs_tls => {
                let message = format!(
                    "{target}, or its proxy, needs TLS; enable the feature `rustls` of engineio-client"
                );
                return Err(Error::invalid(message));
            }
            false => Security::None,
        };
        Ok(Connector::new(Options {
            dialer: match self.custom {
                Some(custom) => Dialer::Custom(custom),
                None => Dialer::Tcp(self.tcp),
            },
            proxies: self.proxies,
            security,
            timeout: self.connect_timeout,
            home: target.origin(),
        }))
    }
}

impl<M> ClientBuilder<M> {
    /// Sets which redirects (301, 302, 303, 307, 308) are followed while a session is opened, at most five for each
    /// transport. Default: [`Redirects::SameHost`].
    ///
    /// The session stays at the new address, with both transports; the next one begins at the URL of the builder again.
    /// Redirects of requests within a session are errors, since only the server that opened it knows it. A location on the
    /// same host that has no query keeps the query parameters of the application.
    pub const fn redirects(mut self, redirects: Redirects) -> Self {
        self.redirects = redirects;
        self
    }

    /// Makes the connections of both transports with a service of the application, in place of name resolution and TCP: to a
    /// Unix socket, through Tor, or to a server in the same process.
    ///
    /// The service gets the scheme, host and port to connect to, with the path `/`. The stream that it returns is used
    /// like a TCP connection: the client speaks TLS over it for `https` and `wss`, with the options for TLS that it was
    /// given and the host of the URL. A service that does TLS itself belongs in
    /// [`connector_with_tls`](Self::connector_with_tls). With a [`proxy`](Self::proxy), the service is asked for a
    /// connection to the proxy. [`connect_timeout`](Self::connect_timeout) limits its time; after that, the future is
    /// dropped.
    ///
    /// A panic of the service, or of a stream that it returned, closes the client, as a panic of a handler does.
    ///
    /// The service is cloned for each connection. At most three are open at a time: a poll, a POST, and the WebSocket.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # #[cfg(unix)]
    /// # async fn example() -> Result<(), engineio_client::Error> {
    /// use engineio_client::Client;
    /// use tokio::net::UnixStream;
    /// use tower::service_fn;
    ///
    /// let client = Client::builder("http://localhost")
    ///     .connector(service_fn(|_| UnixStream::connect("/run/engine.sock")))
    ///     .connect()
    ///     .await?;
    /// # client.close().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn connector<S>(mut self, connector: S) -> Self
    where
        S: Service<Uri> + Clone + Send + 'static,
        S::Response: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
    {
        self.network.custom = Some(CustomConnector::new(connector));
        self.network.is_secured = false;
        self
    }

    /// Sets a [`connector`](Self::connector) that, if the scheme is `https`, returns streams that are already encrypted
    /// and whose server is already authenticated. The client adds no TLS, and its options for TLS have no effect.
    ///
    /// It cannot be combined with a proxy: `connect` fails with [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) then.
    pub fn connector_with_tls<S>(self, connector: S) -> Self
    where
        S: Service<Uri> + Clone + Send + 'static,
        S::Response: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
    {
        let mut this = self.connector(connector);
        this.network.is_secured = true;
        this
    }

    /// Connects to this address instead of resolving the name `host`. The host keeps its name in TLS and in the `Host`
    /// header. Port 0 stands for the port of the URL. Several addresses for one host are tried in turn, like those of a
    /// name server. This applies to the names of proxies too.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), engineio_client::Error> {
    /// use engineio_client::Client;
    ///
    /// let client = Client::builder("https://example.com")
    ///     .resolve("example.com", "192.0.2.7:0".parse().unwrap())
    ///     .connect()
    ///     .await?;
    /// # client.close().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn resolve(mut self, host: &str, address: SocketAddr) -> Self {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        self.network.tcp.addresses.push((host.to_owned(), address));
        self
    }

    /// Makes TCP connections from this address of the machine, which selects the network interface if each has its own
    /// address. Addresses of the server in the other IP family are then not tried. Default: the system chooses.
    ///
    /// For other socket options, such as TCP keep-alive or `SO_BINDTODEVICE`, use a [`connector`](Self::connector).
    pub const fn local_address(mut self, address: IpAddr) -> Self {
        self.network.tcp.local = Some(address);
        self
    }

    /// Connects through a proxy, on both transports: `http://`, `https://` (the connection to the proxy uses TLS),
    /// `socks4://`, `socks5://` (names are resolved by the client) or `socks5h://` (names are resolved by the proxy),
    /// with `user:password@` if the proxy requires it. Default: none; environment variables are not read, unless
    /// [`proxy_from_environment`](Self::proxy_from_environment) is called.
    ///
    /// An `https` proxy must have a certificate that the client trusts, as a server must. The client's own certificate
    /// is never sent to it.
    pub fn proxy(mut self, url: &str) -> Self {
        match Proxy::parse(url) {
            Ok(proxy) => self.network.proxies = Proxies::One(proxy),
            Err(error) => self.fail(error),
        }
        self
    }

    /// Connects through the proxies that environment variables name, as curl reads them: `http_proxy` for `http` and `ws`,
    /// `https_proxy` or `HTTPS_PROXY` for `https` and `wss`, and where these are not set, `all_proxy` or `ALL_PROXY`.
    /// `HTTP_PROXY` is not read, because a web server may set it from a header of a request. The values are URLs as for
    /// [`proxy`](Self::proxy); without a scheme, it is `http`.
    ///
    /// `no_proxy` or `NO_PROXY` excludes servers, as a comma-separated list: `example.com` (with all names below it),
    /// `192.0.2.0/24`, `::1`, or `*` for all.
    ///
    /// The variables are read by this call. A value that cannot be used is reported by `connect`.
    pub fn proxy_from_environment(mut self) -> Self {
        let get = |name: &str| {
            let value = std::env::var_os(name)?;
            Some(value.to_string_lossy().into_owned())
        };
        match Environment::read(get) {
            Ok(environment) => self.network.proxies = Proxies::Environment(environment),
            Err(error) => self.fail(error),
        }
        self
    }
}
