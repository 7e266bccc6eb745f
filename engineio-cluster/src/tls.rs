//! TLS between nodes, with both certificates checked.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// The certificates by which the nodes of a cluster authenticate each other: TLS 1.3, with a certificate on both sides.
///
/// Anyone who has a certificate of the authority counts as a node, so use an authority that issues no other
/// certificates. The certificate of a node must be for the host, or the IP address, in the address at which the others
/// reach it.
///
/// ```no_run
/// use engineio_cluster::{Cluster, Tls};
///
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = Tls::from_pem(
///     &std::fs::read("cluster-ca.pem")?,
///     &std::fs::read("node.pem")?,
///     &std::fs::read("node.key")?,
/// )?;
/// let node = Cluster::builder().listen("10.0.0.5:7000").tls(tls);
/// # let _ = node;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tls {
    pub(crate) connector: TlsConnector,
    pub(crate) acceptor: TlsAcceptor,
}

/// The protocol that both sides offer (ALPN).
const H2: &[u8] = b"h2";

impl Tls {
    /// Reads the certificate of the authority, the certificate chain of this node and its private key, each as PEM.
    ///
    /// # Errors
    ///
    /// Fails if one of them cannot be read, or if the key does not belong to the certificate.
    pub fn from_pem(authority: &[u8], certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let unreadable = |what: &'static str| move |_| TlsError::Unreadable(what);
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(authority) {
            roots.add(root.map_err(unreadable("the certificate of the authority"))?)?;
        }
        if roots.is_empty() {
            return Err(TlsError::Unreadable("the certificate of the authority"));
        }
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
        let chain = chain.map_err(unreadable("the certificate of the node"))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(unreadable("the private key"))?;
        let (roots, provider) = (Arc::new(roots), Arc::new(ring::default_provider()));
        let versions = &[&rustls::version::TLS13];
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)?
            .with_root_certificates(Arc::clone(&roots))
            .with_client_auth_cert(chain.clone(), key.clone_key())?;
        client.alpn_protocols = vec![H2.to_vec()];
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
        let verifier =
            verifier.map_err(|_| TlsError::Unreadable("the certificate of the authority"))?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)?;
        server.alpn_protocols = vec![H2.to_vec()];
        Ok(Self {
            connector: Arc::new(client).into(),
            acceptor: Arc::new(server).into(),
        })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// Returns the name that the certificate of the node at this address must have.
pub(crate) fn server_name(address: &str) -> Option<ServerName<'static>> {
    let (host, _) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).ok()
}

/// The certificates of a node cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// Something that should be PEM is not.
    #[error("{0} cannot be read as PEM")]
    Unreadable(&'static str),
    /// rustls does not accept them.
    #[error("{0}")]
    Unusable(#[from] rustls::Error),
}
