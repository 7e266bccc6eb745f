//! TLS: the roots that the client trusts, and its own certificate.

use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};

use super::stream::Stream;
use crate::Error;
use crate::error::BoxError;

#[derive(Clone)]
pub(crate) struct TlsOptions {
    pub(crate) built_in_roots: bool,
    /// PEM, one or more certificates each.
    pub(crate) roots: Vec<Vec<u8>>,
    /// PEM: a certificate chain and its key.
    pub(crate) identity: Option<Vec<u8>>,
    pub(crate) accept_anything: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            built_in_roots: true,
            roots: Vec::new(),
            identity: None,
            accept_anything: false,
        }
    }
}

/// Without the private key.
impl std::fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsOptions")
            .field("built_in_roots", &self.built_in_roots)
            .field("roots", &self.roots.len())
            .field("identity", &self.identity.is_some())
            .field("accept_anything", &self.accept_anything)
            .finish()
    }
}

/// Encrypts connections.
#[derive(Clone)]
pub(crate) struct Tls(TlsConnector);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    pub(super) async fn connect(&self, host: &str, io: Stream) -> Result<Stream, BoxError> {
        let name = ServerName::try_from(host.to_owned())?;
        Ok(Stream::Tls(Box::new(self.0.connect(name, io).await?)))
    }
}

impl TlsOptions {
    pub(crate) fn tls(&self) -> Result<Tls, Error> {
        let mut roots = RootCertStore::empty();
        if self.built_in_roots {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        for pem in &self.roots {
            for certificate in certificates(pem, "root")? {
                roots.add(certificate).map_err(|error| {
                    Error::invalid("a root certificate cannot be used").with_source(error)
                })?;
            }
        }
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::invalid("TLS cannot be set up").with_source(error))?;
        let config = if self.accept_anything {
            tracing::warn!(target: crate::TARGET, "certificates are not checked: anybody on the way can read and change everything");
            config
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AcceptAnything(provider)))
        } else {
            config.with_root_certificates(roots)
        };
        let config = match &self.identity {
            None => config.with_no_client_auth(),
            Some(pem) => {
                let chain = certificates(pem, "client")?;
                let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
                    Error::invalid("the client identity holds no private key in PEM")
                        .with_source(error)
                })?;
                config.with_client_auth_cert(chain, key).map_err(|error| {
                    Error::invalid("the client identity cannot be used").with_source(error)
                })?
            }
        };
        Ok(Tls(TlsConnector::from(Arc::new(config))))
    }
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(Error::invalid(format!(
            "the {what} certificate holds no PEM certificate"
        ))),
        Err(error) => {
            Err(Error::invalid(format!("the {what} certificate is not PEM")).with_source(error))
        }
    }
}

/// Trusts everybody; signatures are still checked, so that the other side has the key of what it shows.
#[derive(Debug)]
struct AcceptAnything(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnything {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
