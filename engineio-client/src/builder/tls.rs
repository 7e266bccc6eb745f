//! Options for TLS.

use std::sync::Arc;

use tokio_rustls::rustls::ClientConfig;

use super::ClientBuilder;
use crate::Error;

impl<M> ClientBuilder<M> {
    /// Uses this configuration of [`rustls`](crate::rustls) for `https` and `wss`, in place of all other options for TLS:
    /// for other TLS versions, cipher suites or crypto providers, or keys that are not in a PEM file. `h2` is removed
    /// from its ALPN protocols, since the client uses HTTP/1.1.
    ///
    /// `connect` fails with [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if another option for TLS is set.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::Arc;
    ///
    /// use engineio_client::Client;
    /// use engineio_client::rustls::{ClientConfig, RootCertStore, version::TLS13};
    ///
    /// let config = ClientConfig::builder_with_protocol_versions(&[&TLS13])
    ///     .with_root_certificates(RootCertStore::empty())
    ///     .with_no_client_auth();
    /// let client = Client::builder("https://example.com")
    ///     .tls_config(Arc::new(config))
    ///     .connect()
    ///     .await?;
    /// # client.close().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn tls_config(mut self, config: Arc<ClientConfig>) -> Self {
        self.network.tls.config = Some(config);
        self
    }

    /// Returns the configuration that these options amount to, for a program that sends requests of its own as the client
    /// would: `eio doctor`.
    #[doc(hidden)]
    pub fn rustls_config(&self) -> Result<Arc<ClientConfig>, Error> {
        self.network.tls.effective()
    }

    /// Trusts these certificates too: one or more, in PEM. A self-signed certificate of the server is trusted for this
    /// server, even if it is marked as that of an authority, as `openssl req -x509` does.
    pub fn root_certificate(mut self, pem: &[u8]) -> Self {
        self.network.tls.roots.push(pem.to_owned());
        self
    }

    /// Sets whether the certificate authorities of the web are trusted. Default: yes; with `false`, only those given to
    /// [`root_certificate`](Self::root_certificate) are.
    pub const fn built_in_roots(mut self, trusted: bool) -> Self {
        self.network.tls.built_in_roots = trusted;
        self
    }

    /// Sets whether certificates are verified by the rules of the operating system, with its trust store, to which
    /// companies and antivirus programs add their own authorities. Default: no; the authorities of the web that this
    /// crate includes are used.
    ///
    /// The verifier of the system is used on Windows, macOS, iOS and Android; elsewhere that of rustls, with the
    /// certificates found in the usual files, or in `SSL_CERT_FILE` and `SSL_CERT_DIR`. They are read by `connect`.
    /// Those given to [`root_certificate`](Self::root_certificate) are trusted too, except on Android;
    /// [`built_in_roots`](Self::built_in_roots) has no effect.
    #[cfg(feature = "rustls-platform-verifier")]
    pub const fn platform_verifier(mut self, platform: bool) -> Self {
        self.network.tls.platform = platform;
        self
    }

    /// Authenticates the client to the server with a certificate chain and its private key, in PEM and without a
    /// passphrase. For other formats, use [`tls_config`](Self::tls_config).
    pub fn client_identity(mut self, pem: &[u8]) -> Self {
        self.network.tls.identity = Some(pem.to_owned());
        self
    }

    /// Accepts every certificate. **Danger:** anybody on the network path can read and change everything. For tests.
    /// Default: no.
    ///
    /// Certificates that rustls cannot read are accepted as well, such as those of version 1 or with short keys.
    pub const fn danger_accept_invalid_certificates(mut self, accept: bool) -> Self {
        self.network.tls.accept_anything = accept;
        self
    }

    /// Accepts a valid certificate for another host. **Danger:** anybody with any valid certificate can read and change
    /// everything. For tests. Default: no.
    ///
    /// To connect to a server by an address, leave its name in the URL and use [`resolve`](Self::resolve) instead.
    pub const fn danger_accept_invalid_hostnames(mut self, accept: bool) -> Self {
        self.network.tls.accept_any_name = accept;
        self
    }

    /// Accepts, for WebTransport, the server certificates with these SHA-256 hashes, and no others: for development, where
    /// no authority has signed the certificate. Default: none; the other options decide, as for `https`.
    ///
    /// The hash is that of the whole certificate in DER, as a page gives it in `serverCertificateHashes` and
    /// `engineio_webtransport::Identity::sha256` returns it. Neither the name in the certificate nor its validity
    /// period is checked. Polling and WebSocket are not affected.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(hash: [u8; 32]) -> Result<(), engineio_client::Error> {
    /// use engineio_client::{Client, Transport};
    ///
    /// let client = Client::builder("http://localhost:3000")
    ///     .transports([Transport::Polling, Transport::WebTransport])
    ///     .server_certificate_hashes([hash])
    ///     .connect()
    ///     .await?;
    /// # client.close().await;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "webtransport")]
    pub fn server_certificate_hashes(mut self, hashes: impl IntoIterator<Item = [u8; 32]>) -> Self {
        self.certificate_hashes = hashes.into_iter().collect();
        self
    }
}
