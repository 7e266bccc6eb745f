//! The certificate of a listener.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::ring;
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// A certificate chain with its private key.
///
/// Browsers accept a certificate of an authority that they trust, or one whose hash the page has named
/// (`serverCertificateHashes`). The latter must use ECDSA with the curve P-256 and be valid for at most 14 days.
///
/// ```
/// use engineio_webtransport::Identity;
///
/// # #[cfg(feature = "self-signed")]
/// # fn example() -> Result<(), engineio_webtransport::IdentityError> {
/// let identity = Identity::self_signed(["localhost"])?;
/// println!("for the page: {:?}", identity.sha256());
/// # Ok(())
/// # }
/// # #[cfg(feature = "self-signed")]
/// # example().unwrap();
/// ```
#[derive(Clone)]
pub struct Identity {
    key: Arc<CertifiedKey>,
}

/// A certificate or its key that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// There is no certificate, or it is not PEM.
    #[error("the certificate cannot be read as PEM")]
    Certificate,
    /// There is no private key, or it is not PEM.
    #[error("the private key cannot be read as PEM")]
    Key,
    /// rustls does not accept them, for example because they do not belong together.
    #[error("the certificate cannot be used")]
    Unusable(#[source] rustls::Error),
    /// The certificate could not be created.
    #[cfg(feature = "self-signed")]
    #[error("a certificate cannot be created")]
    Generate(#[source] rcgen::Error),
}

#[cfg(feature = "self-signed")]
mod self_signed {
    use std::time::{Duration, SystemTime};

    use rcgen::{CertificateParams, KeyPair};
    use rustls::pki_types::PrivateKeyDer;

    use super::{Identity, IdentityError};

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// A clock that is a little behind finds the certificate valid too.
    const BEFORE: Duration = DAY;

    impl Identity {
        /// Creates a certificate for these names, for development: ECDSA with P-256, valid for 10 days from yesterday.
        ///
        /// # Errors
        ///
        /// Fails if a name cannot be in a certificate.
        pub fn self_signed<I>(names: I) -> Result<Self, IdentityError>
        where
            I: IntoIterator,
            I::Item: Into<String>,
        {
            let names: Vec<String> = names.into_iter().map(Into::into).collect();
            let mut params = CertificateParams::new(names).map_err(IdentityError::Generate)?;
            let now = SystemTime::now();
            params.not_before = (now - BEFORE).into();
            params.not_after = (now + 9 * DAY).into();
            let key = KeyPair::generate().map_err(IdentityError::Generate)?;
            let certificate = params.self_signed(&key).map_err(IdentityError::Generate)?;
            let key =
                PrivateKeyDer::try_from(key.serialize_der()).map_err(|_| IdentityError::Key)?;
            Self::new(vec![certificate.der().clone()], key)
        }
    }
}

impl Identity {
    /// Reads a certificate chain and its private key, each as PEM.
    ///
    /// # Errors
    ///
    /// Fails if one of them cannot be read, or if the key does not belong to the certificate.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
        let chain = chain.map_err(|_| IdentityError::Certificate)?;
        if chain.is_empty() {
            return Err(IdentityError::Certificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| IdentityError::Key)?;
        Self::new(chain, key)
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, IdentityError> {
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider());
        Ok(Self {
            key: Arc::new(key.map_err(IdentityError::Unusable)?),
        })
    }

    /// Returns the certificate itself, in DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        self.key.cert.first().map_or(&[], |certificate| certificate)
    }

    /// Returns the SHA-256 of the certificate, as `serverCertificateHashes` of a page takes it.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        // The suite has TLS 1.3, and the hash this length.
        if let Some(suite) = TLS13_AES_128_GCM_SHA256.tls13() {
            let digest = suite.common.hash_provider.hash(self.certificate());
            hash.copy_from_slice(digest.as_ref());
        }
        hash
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// The certificate of a running listener, which can be replaced.
///
/// ```no_run
/// use engineio_webtransport::{Identity, WebTransport};
///
/// # async fn example(udp: WebTransport) -> Result<(), Box<dyn std::error::Error>> {
/// let current = udp.identity();
/// // Later, when the certificate was renewed:
/// current.replace(Identity::from_pem(&std::fs::read("cert.pem")?, &std::fs::read("key.pem")?)?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct CurrentIdentity(Arc<RwLock<Identity>>);

impl CurrentIdentity {
    pub(crate) fn new(identity: Identity) -> Self {
        Self(Arc::new(RwLock::new(identity)))
    }

    /// Replaces the certificate for new connections. Existing ones go on.
    pub fn replace(&self, identity: Identity) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = identity;
    }

    /// Returns the current certificate.
    #[must_use]
    pub fn get(&self) -> Identity {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl ResolvesServerCert for CurrentIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get().key)
    }
}
