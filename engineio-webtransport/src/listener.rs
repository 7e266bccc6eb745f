//! The UDP socket, and the connections that arrive at it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use engineio_tower::Server;
use engineio_tower::webtransport::{Announcement, Listener};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, IdleTimeout, Incoming, TokioRuntime, TransportConfig};
use rustls::crypto::ring;
use tokio::net::{ToSocketAddrs, UdpSocket};
use tokio::sync::mpsc;

use crate::connection::{self, Beginning, NO_ERROR};
use crate::identity::{CurrentIdentity, Identity};

/// The streams that a client may have open: those of the request and of the session, and one more, so that it is seen.
const BIDIRECTIONAL: u32 = 3;

/// The one-way streams: control and two of QPACK (RFC 9114 § 6.2), and one more.
const UNIDIRECTIONAL: u32 = 4;

/// The bytes that a client may send before they are read, on one stream and in all. Those beyond one stream are for the
/// others, of which the server reads few and clients use few.
///
/// They and what a connection takes otherwise are part of the inbox's limit (`Config::WEBTRANSPORT_UNREAD`).
const STREAM_WINDOW: u32 = 256 * 1024;
const WINDOW: u32 = STREAM_WINDOW + 16 * 1024;

/// The bytes that wait for a client to acknowledge them. Further bytes stay in the outbox.
const SEND_WINDOW: u64 = 256 * 1024;

/// The memory for datagrams, which nothing reads. Browsers require that they can be sent.
const DATAGRAMS: usize = 2 * 1024;

/// The shortest time after which a silent connection is closed, and the time beyond a heartbeat.
const IDLE: Duration = Duration::from_secs(30);
const IDLE_SLACK: Duration = Duration::from_secs(5);

/// The longest time without a packet: the client gives up a silent connection too, often after 30 seconds, and does not
/// tell the server so.
const KEEP_ALIVE: Duration = Duration::from_secs(25);

/// The bytes that wait for a connection to be accepted, for each and in all.
const INCOMING: u64 = 64 * 1024;
const INCOMING_TOTAL: u64 = 16 * 1024 * 1024;

/// The time for the last requests to be answered, and that for the last connections to close.
const FAREWELL: Duration = Duration::from_secs(1);

/// A UDP socket for WebTransport sessions, beside the host that serves HTTP.
///
/// Clients connect to it with the host and port number by which they reach the HTTP server, so it usually has the same
/// port number.
///
/// # Examples
///
/// ```no_run
/// use engineio_tower::{EngineIoService, Server, Transport};
/// use engineio_webtransport::{Identity, WebTransport};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder()
///     .transports([Transport::Polling, Transport::WebSocket, Transport::WebTransport])
///     .build();
/// let identity = Identity::from_pem(&std::fs::read("cert.pem")?, &std::fs::read("key.pem")?)?;
/// let udp = WebTransport::bind("[::]:443", identity).await?;
/// tokio::spawn(udp.serve(&server));
/// // Serve HTTP as without it.
/// # Ok(())
/// # }
/// ```
pub struct WebTransport {
    endpoint: Endpoint,
    tls: Arc<QuicServerConfig>,
    identity: CurrentIdentity,
}

impl WebTransport {
    /// Binds a UDP socket, which answers nothing until it is [served](Self::serve).
    ///
    /// # Errors
    ///
    /// Fails if the address cannot be bound.
    pub async fn bind(address: impl ToSocketAddrs, identity: Identity) -> io::Result<Self> {
        let socket = UdpSocket::bind(address).await?.into_std()?;
        let identity = CurrentIdentity::new(identity);
        let tls = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(io::Error::other)?;
        let mut tls = tls
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(identity.clone()));
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let runtime = Arc::new(TokioRuntime);
        Ok(Self {
            endpoint: Endpoint::new(EndpointConfig::default(), None, socket, runtime)?,
            tls: Arc::new(QuicServerConfig::try_from(tls).map_err(io::Error::other)?),
            identity,
        })
    }

    /// Returns the address of the socket.
    ///
    /// # Errors
    ///
    /// Fails if the system does not know it.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Returns the certificate, to replace it while it is in use.
    #[must_use]
    pub fn identity(&self) -> CurrentIdentity {
        self.identity.clone()
    }

    /// Serves sessions until the server has [shut down](Server::shutdown). Until the future ends or is dropped, the server
    /// announces WebTransport to clients that poll.
    ///
    /// # Panics
    ///
    /// Panics if WebTransport is not among the [transports](engineio_tower::ServerBuilder::transports) of the server.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped, new connections are refused, and the sessions go on.
    pub fn serve(self, server: &Server) -> impl Future<Output = ()> + Send + 'static + use<> {
        let Some(listener) = Listener::new(server) else {
            panic!("WebTransport is not among the transports of the server");
        };
        // From now on, because clients may come before the future is polled, and the socket keeps what they send.
        let announcement = listener.announce();
        self.run(Arc::new(listener), announcement)
    }

    async fn run(self, listener: Arc<Listener>, _announcement: Announcement) {
        let endpoint = &self.endpoint;
        endpoint.set_server_config(Some(self.config(&listener)));
        let open = CloseOnDrop(endpoint);
        let (beginning, mut begun) = mpsc::channel(1);
        let accept = async {
            while let Some(incoming) = endpoint.accept().await {
                begin(&listener, incoming, &beginning);
            }
        };
        tokio::select! {
            () = listener.shut_down() => {}
            () = accept => {}
        }
        drop((open, beginning));
        // Those that have requested a session hear that they are refused.
        let _ = tokio::time::timeout(FAREWELL, begun.recv()).await;
        endpoint.close(NO_ERROR, b"");
        let _ = tokio::time::timeout(FAREWELL, endpoint.wait_idle()).await;
    }

    /// Returns the settings of the connections.
    fn config(&self, listener: &Listener) -> quinn::ServerConfig {
        let idle = IDLE.max(listener.heartbeat().saturating_add(IDLE_SLACK));
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(BIDIRECTIONAL.into())
            .max_concurrent_uni_streams(UNIDIRECTIONAL.into())
            .stream_receive_window(STREAM_WINDOW.into())
            .receive_window(WINDOW.into())
            .send_window(SEND_WINDOW)
            .datagram_receive_buffer_size(Some(DATAGRAMS))
            .datagram_send_buffer_size(DATAGRAMS)
            .keep_alive_interval((listener.ping_interval() > KEEP_ALIVE).then_some(KEEP_ALIVE))
            // Longer than any client waits.
            .max_idle_timeout(IdleTimeout::try_from(idle).ok());
        let mut config = quinn::ServerConfig::with_crypto(Arc::clone(&self.tls) as _);
        config
            .transport_config(Arc::new(transport))
            .incoming_buffer_size(INCOMING)
            .incoming_buffer_size_total(INCOMING_TOTAL);
        config
    }
}

/// Begins to serve a connection, or asks the client to prove its address, or refuses it.
fn begin(listener: &Arc<Listener>, incoming: Incoming, beginning: &Beginning) {
    let address = incoming.remote_address();
    let peer = SocketAddr::new(address.ip().to_canonical(), address.port());
    let validated = incoming.remote_address_validated();
    let Some(newcomer) = listener.begin(peer, validated) else {
        if validated {
            incoming.refuse();
        } else if let Err(error) = incoming.retry() {
            error.into_incoming().refuse();
        }
        return;
    };
    match incoming.accept() {
        Ok(connecting) => {
            let listener = Arc::clone(listener);
            let beginning = beginning.clone();
            let begin = connection::begin(listener, connecting, peer, newcomer, beginning);
            tokio::spawn(begin);
        }
        Err(error) => {
            tracing::debug!(target: "engineio::webtransport", %error, "a connection was not accepted");
        }
    }
}

/// Refuses new connections when it is dropped.
struct CloseOnDrop<'a>(&'a Endpoint);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.set_server_config(None);
    }
}

impl fmt::Debug for WebTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebTransport")
            .field("local_addr", &self.local_addr().ok())
            .finish_non_exhaustive()
    }
}
