//! TLS by rustls, with a certificate made for the test: HTTP/1 and HTTP/2 by ALPN.

use std::net::SocketAddr;
use std::sync::Arc;

use engineio_e2e::app;
use engineio_e2e::http2::Http2;
use engineio_e2e::puppet::Puppet;
use engineio_tower::{ConnectRequest, EngineIoService, Scheme, Server, Socket, serve};
use http::StatusCode;
use rcgen::CertifiedKey;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const WEBSOCKET: &str = "/engine.io/?EIO=4&transport=websocket";
const POLLING: &str = "/engine.io/?EIO=4&transport=polling";

async fn start(server: Server) -> (SocketAddr, CertificateDer<'static>) {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served =
        serve(listener, EngineIoService::new(server)).tls(move |stream| acceptor.accept(stream));
    tokio::spawn(served.into_future());
    (address, cert.der().clone())
}

async fn connect(
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    protocol: &str,
) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.into()];
    let connector = TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    connector.connect(name, stream).await.unwrap()
}

#[tokio::test]
async fn http1() {
    let (server, _events) = app::echo(|builder| builder);
    let (address, certificate) = start(server).await;
    let stream = connect(address, certificate, "http/1.1").await;
    let mut client = Puppet::over(stream, address);
    assert_eq!(client.get(POLLING).await.status, 200);
    client.upgrade(WEBSOCKET).await;
    assert!(client.hear().await.starts_with("0{"));
    client.say("4hello").await;
    assert_eq!(client.hear().await, "4hello");
}

#[tokio::test]
async fn http2() {
    let (server, _events) = app::echo(|builder| builder);
    let (address, certificate) = start(server).await;
    let stream = connect(address, certificate, "h2").await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut client = Http2::over(stream, format!("localhost:{}", address.port())).await;
    assert_eq!(client.get(POLLING).await.0, StatusCode::OK);
    let mut socket = client.websocket(WEBSOCKET).await.unwrap();
    assert!(socket.hear().await.starts_with("0{"));
    socket.say("4hello");
    assert_eq!(socket.hear().await, "4hello");
}

/// A page of the same host without TLS is another origin, and the server knows that it speaks TLS.
#[tokio::test]
async fn the_scheme_is_known() {
    let server = Server::builder()
        .on_connect(|_: Socket, request: ConnectRequest| {
            assert_eq!(request.extensions().get(), Some(&Scheme::Https));
        })
        .build();
    let (address, certificate) = start(server).await;
    let stream = connect(address, certificate, "http/1.1").await;
    let mut client = Puppet::over(stream, address);
    for (scheme, status) in [("https", 200), ("http", 403)] {
        let origin = format!("origin: {scheme}://{address}\r\n");
        let answer = client.request("GET", POLLING, &origin).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
}
