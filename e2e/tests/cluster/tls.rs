//! TLS between nodes.

use engineio_cluster::{Cluster, Peers, Tls};
use engineio_e2e::app;
use engineio_e2e::host::{Host, Hyper, Running};
use engineio_e2e::puppet::Puppet;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpListener;

use crate::support::{POLLING, sid};

/// An authority, and the certificates of one node.
fn certificates() -> Tls {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    Tls::from_pem(
        authority.pem().as_bytes(),
        certificate.pem().as_bytes(),
        key.serialize_pem().as_bytes(),
    )
    .unwrap()
}

/// A node `a`, and a node `b` that knows it, with these certificates.
async fn pair(a: Option<Tls>, b: Option<Tls>) -> [Running; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let start = async |mut builder: engineio_cluster::ClusterBuilder, tls: Option<Tls>| {
        let (server, _) = app::echo(|builder| builder);
        if let Some(tls) = tls {
            builder = builder.tls(tls);
        }
        builder.start(&server).await.unwrap();
        Hyper::start(server).await
    };
    let first = Cluster::builder().name("a").listener(listener);
    let second = Cluster::builder()
        .name("b")
        .peers(Peers::fixed([("a", address)]).unwrap());
    [start(first, a).await, start(second, b).await]
}

/// The status of a POST at `b` for a session of `a`.
async fn posted([a, b]: &[Running; 2]) -> u16 {
    let open = Puppet::connect(a.address).await.get(POLLING).await;
    let target = format!("{POLLING}&sid={}", sid(open.text()));
    let mut puppet = Puppet::connect(b.address).await;
    puppet.post(&target, "4over TLS").await.status
}

#[tokio::test]
async fn nodes_with_certificates_of_one_authority_forward_to_each_other() {
    let tls = certificates();
    assert_eq!(posted(&pair(Some(tls.clone()), Some(tls)).await).await, 200);
}

#[tokio::test]
async fn a_node_of_another_authority_or_without_a_certificate_is_not_spoken_to() {
    let pairs = [
        (Some(certificates()), Some(certificates())),
        (Some(certificates()), None),
        (None, Some(certificates())),
    ];
    for (a, b) in pairs {
        assert_eq!(posted(&pair(a, b).await).await, 503);
    }
}

#[tokio::test]
async fn certificates_that_cannot_be_read_are_named() {
    let error = Tls::from_pem(b"", b"", b"").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the certificate of the authority cannot be read as PEM"
    );
}
