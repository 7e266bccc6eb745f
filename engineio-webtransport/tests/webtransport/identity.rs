//! Certificates.

use engineio_webtransport::{Identity, IdentityError};

use crate::support::{client, echo, start, within};

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
