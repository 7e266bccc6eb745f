//! A client of QUIC alone, which writes the bytes of HTTP/3 itself.

use std::sync::Arc;

use web_transport_quinn::proto::ConnectRequest;
use web_transport_quinn::quinn::crypto::rustls::QuicClientConfig;
use web_transport_quinn::quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream, TransportConfig,
};

use crate::support::{Harness, within};

/// A control stream with a SETTINGS frame that promises WebTransport.
pub(crate) const SETTINGS: &[u8] = b"\x00\x04\x09\x08\x01\x33\x01\xab\x60\x37\x42\x01";

/// What a stream of the session begins with whose request is on the first stream of the connection.
pub(crate) const PREFIX: &[u8] = b"\x40\x41\x00";

/// Returns a client that trusts the certificate of the server.
pub(crate) fn endpoint(harness: &Harness, transport: TransportConfig) -> Endpoint {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    let certificate = harness.identity.get().certificate().to_vec();
    roots.add(certificate.into()).unwrap();
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    config.transport_config(Arc::new(transport));
    let mut endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint.set_default_client_config(config);
    endpoint
}

/// Connects by QUIC alone.
pub(crate) async fn connect(harness: &Harness) -> Result<Connection, ConnectionError> {
    connect_with(harness, TransportConfig::default()).await
}

pub(crate) async fn connect_with(
    harness: &Harness,
    transport: TransportConfig,
) -> Result<Connection, ConnectionError> {
    let endpoint = endpoint(harness, transport);
    within(endpoint.connect(harness.address, "localhost").unwrap()).await
}

/// Sends SETTINGS. Returns the control stream.
pub(crate) async fn settings(connection: &Connection) -> SendStream {
    let mut control = within(connection.open_uni()).await.unwrap();
    within(control.write_all(SETTINGS)).await.unwrap();
    control
}

/// Requests a session. Returns the stream of the request.
pub(crate) async fn request(
    harness: &Harness,
    connection: &Connection,
    path: &str,
) -> (SendStream, RecvStream) {
    let mut head = Vec::new();
    let request = ConnectRequest::new(harness.url(path));
    request.encode(&mut head).unwrap();
    let (mut send, recv) = within(connection.open_bi()).await.unwrap();
    within(send.write_all(&head)).await.unwrap();
    (send, recv)
}

/// An Engine.IO session over a connection of QUIC.
pub(crate) struct RawSession {
    pub(crate) connection: Connection,
    pub(crate) request: SendStream,
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
    _control: SendStream,
    _response: RecvStream,
}

impl RawSession {
    pub(crate) async fn open(harness: &Harness, endpoint: &Endpoint) -> Self {
        let connecting = endpoint.connect(harness.address, "localhost").unwrap();
        let connection = within(connecting).await.unwrap();
        let control = settings(&connection).await;
        let (request, mut response) = request(harness, &connection, "/engine.io/").await;
        within(response.read_chunk(1_000, true)).await.unwrap();
        let (mut send, recv) = within(connection.open_bi()).await.unwrap();
        within(send.write_all(PREFIX)).await.unwrap();
        within(send.write_all(b"\x010")).await.unwrap();
        let mut session = Self {
            connection,
            request,
            send,
            recv,
            _control: control,
            _response: response,
        };
        let len = session.read(1).await[0];
        assert!(session.read(len.into()).await.starts_with(b"0{\"sid\""));
        session
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        within(self.send.write_all(bytes)).await.unwrap();
    }

    pub(crate) async fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        within(self.recv.read_exact(&mut bytes)).await.unwrap();
        bytes
    }

    /// Checks that the server still answers.
    pub(crate) async fn is_alive(&mut self) {
        self.write(b"\x064still").await;
        assert_eq!(self.read(7).await, b"\x064still");
    }

    /// Sends bytes on the stream of the request, each in a DATA frame of its own.
    pub(crate) async fn capsule_in_pieces(&mut self, capsule: &[u8]) {
        for byte in capsule {
            let frame = [0, 1, *byte];
            within(self.request.write_all(&frame)).await.unwrap();
        }
    }
}
