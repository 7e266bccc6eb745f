//! Certificates.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use engineio_webtransport::{Identity, IdentityError};
use rustls::CertificateError;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use crate::raw::connect;
use crate::support::{client, echo, start, within};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The key's algorithm and curve in a certificate: `id-ecPublicKey` and `secp256r1` (RFC 5480 § 2.1.1), and the beginning
/// of an uncompressed point of 65 bytes.
const P_256: &[u8] = b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04";

/// Verifies a certificate as its own root at a time, as clients do.
fn verify(identity: &Identity, name: &'static str, at: SystemTime) -> Result<(), rustls::Error> {
    let certificate = CertificateDer::from(identity.certificate());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone().into_owned()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let (name, at) = (
        ServerName::try_from(name).unwrap(),
        UnixTime::since_unix_epoch(since),
    );
    let verifier = verifier.build().unwrap();
    let verified = verifier.verify_server_cert(&certificate, &[], &name, &[], at);
    verified.map(|_| ())
}

fn reason(error: rustls::Error) -> CertificateError {
    match error {
        rustls::Error::InvalidCertificate(reason) => reason,
        other => panic!("{other}"),
    }
}

/// Browsers refuse a certificate that is named by its hash and is valid for more than 14 days.
#[test]
fn a_self_signed_certificate_is_valid_from_yesterday_for_10_days() {
    let minute = Duration::from_secs(60);
    let identity = Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
    let now = SystemTime::now();
    let (from, to) = (now - DAY, now + 9 * DAY);
    for name in ["localhost", "127.0.0.1"] {
        for at in [from + minute, now, to - minute] {
            verify(&identity, name, at).unwrap();
        }
    }
    let early = verify(&identity, "localhost", from - minute).unwrap_err();
    let late = verify(&identity, "localhost", to + minute).unwrap_err();
    let elsewhere = verify(&identity, "example.com", now).unwrap_err();
    use CertificateError::{ExpiredContext, NotValidForNameContext, NotValidYetContext};
    assert!(matches!(reason(early), NotValidYetContext { .. }));
    assert!(matches!(reason(late), ExpiredContext { .. }));
    assert!(matches!(reason(elsewhere), NotValidForNameContext { .. }));
}

#[test]
fn the_key_of_a_self_signed_certificate_is_of_the_curve_p_256() {
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let mut parts = identity.certificate().windows(P_256.len());
    assert!(parts.any(|part| part == P_256));
}

#[tokio::test]
async fn the_announced_hash_is_that_of_the_certificate_that_clients_get() {
    let suite = ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let sha256 = suite.tls13().unwrap().common.hash_provider;
    let harness = start(echo()).await;
    for _ in 0..2 {
        let announced = harness.identity.get().sha256();
        let connection = connect(&harness).await.unwrap();
        let chain = connection.peer_identity().unwrap();
        let chain: Box<Vec<CertificateDer<'static>>> = chain.downcast().unwrap();
        assert_eq!(chain.len(), 1);
        assert_eq!(sha256.hash(&chain[0]).as_ref(), announced);
        harness
            .identity
            .replace(Identity::self_signed(["localhost"]).unwrap());
        assert_ne!(harness.identity.get().sha256(), announced);
    }
}

#[tokio::test]
async fn a_certificate_is_replaced_while_sessions_go_on() {
    let harness = start(echo()).await;
    let (mut peer, _) = harness.open().await;
    let old = harness.identity.get();
    let new = Identity::self_signed(["localhost"]).unwrap();
    assert_ne!(old.sha256(), new.sha256());
    harness.identity.replace(new.clone());
    assert_eq!(harness.identity.get().sha256(), new.sha256());
    let url = harness.url("/engine.io/");
    within(client(&old).connect(url.clone())).await.unwrap_err();
    within(client(&new).connect(url)).await.unwrap();
    peer.send(b"\x064still").await;
    assert_eq!(peer.text().await, "4still");
}

#[test]
fn certificates_are_read_as_pem() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    assert_ne!(identity.sha256(), [0; 32]);
    assert!(matches!(
        Identity::from_pem(b"", key.as_bytes()),
        Err(IdentityError::Certificate)
    ));
    assert!(matches!(
        Identity::from_pem(certificate.as_bytes(), b"key"),
        Err(IdentityError::Key)
    ));
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    assert!(matches!(
        Identity::from_pem(certificate.as_bytes(), other.as_bytes()),
        Err(IdentityError::Unusable(_))
    ));
}
