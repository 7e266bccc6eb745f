//! TLS as QUIC needs it, and certificates that are known by their hashes.

use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::hash::HashAlgorithm;
use tokio_rustls::rustls::crypto::{CryptoProvider, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::quic::{ClientConnection, Version};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, PeerIncompatible,
    SignatureScheme,
};

use super::CertificateHash;
use crate::Error;

/// Adapts a configuration for TCP to QUIC. If there are hashes, they decide about certificates.
pub(super) fn config(
    mut config: ClientConfig,
    hashes: &Arc<[CertificateHash]>,
) -> Result<QuicClientConfig, Error> {
    config.alpn_protocols = vec![b"h3".to_vec()];
    // Sessions over TCP have others.
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    if !hashes.is_empty() {
        let known = Known {
            hashes: Arc::clone(hashes),
            provider: Arc::clone(config.crypto_provider()),
        };
        config.dangerous().set_certificate_verifier(Arc::new(known));
    }
    let config = Arc::new(config);
    let message = "WebTransport needs TLS 1.3 with AES-128-GCM, which the `tls_config` or the crypto provider does not have";
    let unfit = || Error::invalid(message);
    let quic = QuicClientConfig::try_from(Arc::clone(&config));
    let quic = quic.map_err(|error| unfit().with_source(error))?;
    // The library takes it for granted that this succeeds.
    let name = ServerName::try_from("localhost").map_err(|_| unfit())?;
    ClientConnection::new(config, Version::V1, name, Vec::new())
        .map_err(|error| unfit().with_source(error))?;
    Ok(quic)
}

/// Accepts the certificates with these hashes, and no others.
#[derive(Debug)]
struct Known {
    hashes: Arc<[CertificateHash]>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let mut suites = self.provider.cipher_suites.iter();
        let sha256 = suites.find_map(|suite| {
            let hash = suite.tls13()?.common.hash_provider;
            (hash.algorithm() == HashAlgorithm::SHA256).then_some(hash)
        });
        let hash = sha256.map(|sha256| sha256.hash(end_entity));
        match hash.is_some_and(|hash| self.hashes.iter().any(|known| known == hash.as_ref())) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        // QUIC has TLS 1.3 only.
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
