//! Options for TLS.

use super::ClientBuilder;

impl<M> ClientBuilder<M> {
    /// Trusts these certificates too: one or more, in PEM.
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

    /// Authenticates the client to the server with a certificate chain and its private key, in PEM.
    pub fn client_identity(mut self, pem: &[u8]) -> Self {
        self.network.tls.identity = Some(pem.to_owned());
        self
    }

    /// **Danger:** accepts every certificate, so that anybody on the network path can read and change everything. For tests.
    pub const fn danger_accept_invalid_certificates(mut self, accept: bool) -> Self {
        self.network.tls.accept_anything = accept;
        self
    }
}
