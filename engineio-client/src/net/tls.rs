//! TLS: the configuration of rustls that the options ask for.

use std::fmt;
use std::sync::{Arc, OnceLock};

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SignatureScheme};

use super::stream::Stream;
use super::verifier::{AcceptAnything, Lenient};
use crate::Error;
use crate::error::BoxError;

#[derive(Clone)]
pub(crate) struct TlsOptions {
    /// Stands alone: all other options are those of the configuration.
    pub(crate) config: Option<Arc<ClientConfig>>,
    pub(crate) built_in_roots: bool,
    /// The operating system verifies certificates.
    pub(crate) platform: bool,
    /// PEM, one or more certificates each.
    pub(crate) roots: Vec<Vec<u8>>,
    /// PEM: a certificate chain and its key.
    pub(crate) identity: Option<Vec<u8>>,
    pub(crate) accept_anything: bool,
    pub(crate) accept_any_name: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            config: None,
            built_in_roots: true,
            platform: false,
            roots: Vec::new(),
            identity: None,
            accept_anything: false,
            accept_any_name: false,
        }
    }
}

/// Without the private key.
impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions")
            .field("config", &self.config.is_some())
            .field("built_in_roots", &self.built_in_roots)
            .field("platform", &self.platform)
            .field("roots", &self.roots.len())
            .field("identity", &self.identity.is_some())
            .field("accept_anything", &self.accept_anything)
            .field("accept_any_name", &self.accept_any_name)
            .finish()
    }
}

/// Encrypts connections. The options are checked when the first one is needed, or before.
#[derive(Debug)]
pub(crate) struct Tls {
    options: TlsOptions,
    connectors: OnceLock<Result<Connectors, Error>>,
}

#[derive(Clone)]
struct Connectors {
    server: TlsConnector,
    /// The same without the client's certificate.
    anonymous: TlsConnector,
}

impl fmt::Debug for Connectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connectors")
    }
}

impl Tls {
    pub(crate) const fn new(options: TlsOptions) -> Self {
        Self {
            options,
            connectors: OnceLock::new(),
        }
    }

    /// Returns whether the application gave certificates, keys or a configuration.
    pub(crate) const fn has_material(&self) -> bool {
        let options = &self.options;
        options.config.is_some() || options.identity.is_some() || !options.roots.is_empty()
    }

    /// Checks the options.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.connectors().map(|_| ())
    }

    fn connectors(&self) -> Result<&Connectors, Error> {
        let connectors = self.connectors.get_or_init(|| self.options.connectors());
        connectors.as_ref().map_err(Clone::clone)
    }

    /// Returns the configuration for connections to a server, which gets the client's certificate if it `is_identified`.
    #[cfg(feature = "webtransport")]
    pub(super) fn config(&self, is_identified: bool) -> Result<ClientConfig, Error> {
        let connectors = self.connectors()?;
        let connector = match is_identified {
            true => &connectors.server,
            false => &connectors.anonymous,
        };
        Ok(ClientConfig::clone(connector.config()))
    }

    /// Encrypts a connection to this host. The client's certificate is sent only to the server for which it is meant,
    /// which is neither a proxy nor the target of a redirect.
    pub(super) async fn connect(
        &self,
        host: &str,
        io: Stream,
        is_identified: bool,
    ) -> Result<Stream, BoxError> {
        let connectors = self.connectors()?;
        let connector = match is_identified {
            true => &connectors.server,
            false => &connectors.anonymous,
        };
        let name = ServerName::try_from(host.to_owned())?;
        Ok(Stream::Tls(Box::new(connector.connect(name, io).await?)))
    }
}

impl TlsOptions {
    /// Returns the configuration that these options amount to.
    pub(crate) fn effective(&self) -> Result<Arc<ClientConfig>, Error> {
        let mut config = match &self.config {
            Some(config) => self.given(config)?,
            None => Arc::new(self.config()?),
        };
        let is_h2 = |protocol: &Vec<u8>| protocol == b"h2";
        if config.alpn_protocols.iter().any(is_h2) {
            // The client speaks HTTP/1.1 only.
            let alpn = &mut Arc::make_mut(&mut config).alpn_protocols;
            alpn.retain(|protocol| !is_h2(protocol));
        }
        Ok(config)
    }

    fn connectors(&self) -> Result<Connectors, Error> {
        let config = self.effective()?;
        let mut anonymous = Arc::clone(&config);
        if config.client_auth_cert_resolver.has_certs() {
            Arc::make_mut(&mut anonymous).client_auth_cert_resolver = Arc::new(NoIdentity);
        }
        Ok(Connectors {
            server: TlsConnector::from(config),
            anonymous: TlsConnector::from(anonymous),
        })
    }

    fn given(&self, config: &Arc<ClientConfig>) -> Result<Arc<ClientConfig>, Error> {
        let unused = [
            ("root_certificate", !self.roots.is_empty()),
            ("built_in_roots", !self.built_in_roots),
            ("platform_verifier", self.platform),
            ("client_identity", self.identity.is_some()),
            ("danger_accept_invalid_certificates", self.accept_anything),
            ("danger_accept_invalid_hostnames", self.accept_any_name),
        ];
        match unused.iter().find(|(_, is_set)| *is_set) {
            None => Ok(Arc::clone(config)),
            Some((option, _)) => Err(Error::invalid(format!(
                "`{option}` has no effect beside `tls_config`, which decides it; give one of them"
            ))),
        }
    }

    fn config(&self) -> Result<ClientConfig, Error> {
        let provider = provider()?;
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::invalid("TLS cannot be set up").with_source(error))?;
        let config = config
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(provider)?);
        let Some(pem) = &self.identity else {
            return Ok(config.with_no_client_auth());
        };
        let chain = certificates(pem, "client")?;
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
            Error::invalid("the client identity holds no private key in PEM").with_source(error)
        })?;
        config.with_client_auth_cert(chain, key).map_err(|error| {
            Error::invalid("the client identity cannot be used").with_source(error)
        })
    }

    fn verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, Error> {
        if self.accept_anything {
            tracing::warn!(target: crate::log::TARGET, "certificates are not checked: anybody on the network path can read and change everything");
            return Ok(Arc::new(AcceptAnything));
        }
        let mut given = Vec::new();
        for pem in &self.roots {
            given.extend(certificates(pem, "root")?);
        }
        let inner = match self.platform {
            true => platform(given.clone(), provider)?,
            false => self.webpki(&given, provider)?,
        };
        Ok(Arc::new(Lenient {
            inner,
            given,
            any_name: self.accept_any_name,
        }))
    }

    fn webpki(
        &self,
        given: &[CertificateDer<'static>],
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, Error> {
        let mut roots = RootCertStore::empty();
        if self.built_in_roots {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        for certificate in given {
            roots.add(certificate.clone()).map_err(|error| {
                Error::invalid("a root certificate cannot be used").with_source(error)
            })?;
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        Ok(verifier.map_err(|error| {
            let message = "no certificate is trusted; give one by `root_certificate`, or leave `built_in_roots` on";
            Error::invalid(message).with_source(error)
        })?)
    }
}

/// Returns the verifier of the operating system, which trusts the given certificates too.
#[cfg(feature = "rustls-platform-verifier")]
fn platform(
    given: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    use rustls_platform_verifier::Verifier;

    #[cfg(not(target_os = "android"))]
    let verifier = Verifier::new_with_extra_roots(given, provider);
    #[cfg(target_os = "android")]
    let verifier = match given.is_empty() {
        true => Verifier::new(provider),
        false => {
            let message = "`root_certificate` cannot be combined with `platform_verifier` on Android; install the \
                           certificate in the system";
            return Err(Error::invalid(message));
        }
    };
    let verifier = verifier.map_err(|error| {
        let message = "the certificates of the operating system cannot be used; install its package of root \
                       certificates, or give one by `root_certificate`";
        Error::invalid(message).with_source(error)
    })?;
    Ok(Arc::new(verifier))
}

#[cfg(not(feature = "rustls-platform-verifier"))]
fn platform(
    _: Vec<CertificateDer<'static>>,
    _: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    // The option does not exist in this build.
    Err(Error::invalid(
        "enable the feature `rustls-platform-verifier`",
    ))
}

/// Returns the provider that the application has installed, or the one of this crate's features.
fn provider() -> Result<Arc<CryptoProvider>, Error> {
    if let Some(installed) = CryptoProvider::get_default() {
        return Ok(Arc::clone(installed));
    }
    #[cfg(feature = "rustls")]
    return Ok(Arc::new(
        tokio_rustls::rustls::crypto::ring::default_provider(),
    ));
    #[cfg(not(feature = "rustls"))]
    Err(Error::invalid(
        "TLS needs a crypto provider; enable the feature `rustls` of engineio-client, install a provider with \
         `CryptoProvider::install_default`, or give a `tls_config`",
    ))
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

/// Sends no certificate to servers that ask for one.
#[derive(Debug)]
struct NoIdentity;

impl ResolvesClientCert for NoIdentity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
