//! TLS with a private root, and proxies.

use std::path::Path;

use engineio_client::{Client, ErrorKind, Message, Transport};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::peers::{MODES, Peer, in_time, peer, peers};
use crate::proxy::Proxy;

async fn exchange(client: &mut Client) {
    for n in 0..50 {
        client.send(format!("message {n}")).await.unwrap();
    }
    for n in 0..50 {
        let echo = in_time(client.next()).await;
        let why = client.disconnect_error();
        assert_eq!(echo, Some(Message::from(format!("message {n}"))), "{why:?}");
    }
}

#[tokio::test]
async fn tls_with_a_private_root() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &root).unwrap();
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let write = |name: &str, pem: String| {
        let path = directory.join(name);
        std::fs::write(&path, pem).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let certificate = write("interop-certificate.pem", certificate.pem());
    let key = write("interop-key.pem", key.serialize_pem());

    let options = ["--tls-cert", &certificate, "--tls-key", &key];
    let server = peer("npm").start(&options).await;
    assert!(server.url.starts_with("https://"), "{}", server.url);
    for mode in MODES {
        let builder = || Client::builder(&server.url).transports(mode.iter().copied());
        let trusting = builder().root_certificate(root.pem().as_bytes());
        let mut client = in_time(trusting.connect()).await.unwrap();
        exchange(&mut client).await;
        assert_eq!(in_time(client.settled()).await, mode[mode.len() - 1]);
        exchange(&mut client).await;
        in_time(client.close()).await;

        let error = in_time(builder().connect()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
    }
    server.kill().await;
}

#[tokio::test]
async fn a_proxy_that_refuses_websocket_leaves_the_session_on_polling() {
    // gevent's server closes a connection, as the proxy asks, without a header that says so.
    let is_honest = |peer: &Peer| !peer.name.ends_with("gevent");
    for peer in peers().into_iter().filter(is_honest) {
        let proxy = Proxy::start(&peer.url).await;
        // Named as a proxy, it is asked to CONNECT; in the server's place, it is asked to upgrade.
        let named = peer.client(MODES[2]).proxy(&proxy.url);
        let in_place = Client::builder(&proxy.url).transports(MODES[2].iter().copied());
        for (builder, refused) in [(named, "CONNECT"), (in_place, "upgrade")] {
            let mut client = in_time(builder.connect()).await.unwrap();
            exchange(&mut client).await;
            assert_eq!(in_time(client.settled()).await, Transport::Polling);
            assert_eq!(proxy.refused(), [refused], "{}", peer.name);
            exchange(&mut client).await;
            assert!(!client.upgraded());
            in_time(client.close()).await;
            assert_eq!(
                client.disconnect_error().map(|error| error.to_string()),
                None
            );
        }
    }
}
