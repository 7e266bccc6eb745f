//! The client of this project.

mod closing;
mod hostile;
mod messages;
mod opening;
mod secrets;

mod stalling;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use engineio_client::{Client, ClientBuilder};
use engineio_tower::{EngineIoService, ServerBuilder, Transport};
use tokio::net::TcpListener;
use web_transport_quinn::quinn::crypto::rustls::QuicServerConfig;
use web_transport_quinn::quinn::{
    Connection, Endpoint, EndpointConfig, ServerConfig, TokioRuntime,
};
use web_transport_quinn::{RecvStream, Request, SendStream, Session};

use crate::support::{Harness, start, start_on, within};

/// Starts a server that has the same port number for HTTP and for WebTransport.
async fn site(builder: impl Fn() -> ServerBuilder) -> Harness {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // The UDP port may be that of another test.
        if let Ok(harness) = start_on(builder(), port).await {
            serve(&harness, listener);
            return harness;
        }
    }
}

/// Starts a server that announces WebTransport at a port where something else has the UDP socket.
async fn site_without_udp(builder: ServerBuilder) -> (Harness, UdpSocket) {
    let mut harness = start(builder).await;
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        harness.address = listener.local_addr().unwrap();
        if let Ok(udp) = UdpSocket::bind(harness.address) {
            serve(&harness, listener);
            return (harness, udp);
        }
    }
}

/// Serves HTTP.
fn serve(harness: &Harness, listener: TcpListener) {
    let service = EngineIoService::new(harness.server.clone());
    tokio::spawn(async move { engineio_tower::serve(listener, service).await });
}

/// Returns the builder of a client for these transports, which trusts the server.
pub(crate) fn client(
    harness: &Harness,
    transports: impl IntoIterator<Item = Transport>,
) -> ClientBuilder {
    client_at(harness.address, transports)
        .server_certificate_hashes([harness.identity.get().sha256()])
}

fn client_at(
    address: SocketAddr,
    transports: impl IntoIterator<Item = Transport>,
) -> ClientBuilder {
    Client::builder(&format!("http://{address}")).transports(transports)
}

pub(crate) async fn connected(builder: ClientBuilder) -> Client {
    within(builder.connect()).await.unwrap()
}

/// A server of QUIC alone, with the certificate of a harness.
struct RawServer(Endpoint);

impl RawServer {
    fn new(socket: UdpSocket) -> (Self, ClientBuilder) {
        let key = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let certificate = key.cert.pem();
        let chain = vec![key.cert.der().clone()];
        let secret = key.signing_key.serialize_der().try_into().unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, secret)
            .unwrap();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let tls = QuicServerConfig::try_from(tls).unwrap();
        let config = ServerConfig::with_crypto(Arc::new(tls));
        let address = socket.local_addr().unwrap();
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(EndpointConfig::default(), Some(config), socket, runtime);
        let builder = client_at(address, [Transport::WebTransport]);
        let builder = builder.root_certificate(certificate.as_bytes());
        (Self(endpoint.unwrap()), builder)
    }

    /// Starts one on a port of its own, with the builder of a client that trusts it.
    fn start() -> (Self, ClientBuilder) {
        Self::new(UdpSocket::bind("127.0.0.1:0").unwrap())
    }

    async fn accept(&self) -> Connection {
        within(self.0.accept()).await.unwrap().await.unwrap()
    }

    async fn session(&self) -> Session {
        let request = within(Request::accept(self.accept().await)).await.unwrap();
        within(request.ok()).await.unwrap()
    }

    /// Accepts the stream of a session, and reads the packet that opens it.
    async fn stream(&self) -> (Session, SendStream, RecvStream) {
        let session = self.session().await;
        let (send, mut recv) = within(session.accept_bi()).await.unwrap();
        let mut packet = [0; 2];
        within(recv.read_exact(&mut packet)).await.unwrap();
        assert_eq!(&packet, b"\x010");
        (session, send, recv)
    }

    /// Accepts an Engine.IO session.
    async fn open(&self) -> (Session, SendStream, RecvStream) {
        self.open_with(25_000).await
    }

    /// Accepts an Engine.IO session with this ping interval in milliseconds, and a ping timeout of the same length.
    async fn open_with(&self, interval: u32) -> (Session, SendStream, RecvStream) {
        let (session, mut send, recv) = self.stream().await;
        let open = format!(
            r#"0{{"sid":"abcdefgh","upgrades":[],"pingInterval":{interval},"pingTimeout":{interval}}}"#
        );
        let head = [open.len() as u8];
        within(send.write_all(&[&head, open.as_bytes()].concat()))
            .await
            .unwrap();
        (session, send, recv)
    }
}
