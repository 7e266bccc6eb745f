//! WebTransport: a session over HTTP/3, and its one stream.

mod failure;
mod link;
mod request;
mod session;
mod socket;
mod tls;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use engineio_core::Frame;
use http::Uri;
use quinn::{Connection, Endpoint, EndpointConfig, TokioRuntime, TransportConfig};
use tokio::time::timeout;

use self::link::Stream;
pub(crate) use self::link::{Closed, WebTransport};
use self::request::Request;
use self::session::Session;
use super::connect::{ConnectTimeout, Connector, Datagrams};
use super::dial::{first_connected, host};
use super::headers::Headers;
use crate::Error;
use crate::error::BoxError;

/// The bytes that the server may send before they are read, on the stream and in all.
const STREAM_WINDOW: u32 = 256 * 1024;
const WINDOW: u32 = 512 * 1024;

/// The bytes that wait for the server to acknowledge them. Further bytes stay in the outbox.
const SEND_WINDOW: u64 = 256 * 1024;

/// The one-way streams of the server: control and two of QPACK (RFC 9114 § 6.2), and one that means nothing (§ 6.2.3). It
/// opens no others.
const UNIDIRECTIONAL: u32 = 4;

/// The memory for datagrams, which nothing reads. Servers may require that they can be sent.
const DATAGRAMS: usize = 2 * 1024;

/// The longest time without a packet. Servers give up a silent connection, often after 30 seconds, and the heartbeat of
/// the session may be slower.
const KEEP_ALIVE: Duration = Duration::from_secs(25);

/// The SHA-256 of a certificate.
pub(crate) type CertificateHash = [u8; 32];

/// Opens WebTransport sessions.
#[derive(Clone, Debug)]
pub(crate) struct WebTransports {
    pub(crate) connector: Connector,
    /// The largest message to accept, in bytes.
    pub(crate) max_message: usize,
    /// The certificates to accept, in place of those that the other options accept; empty if these decide.
    pub(crate) hashes: Arc<[CertificateHash]>,
}

impl WebTransports {
    /// Opens a session and its stream, for the Engine.IO session with this id or for a new one. `uri` is the server's own,
    /// with `http` or `https`.
    pub(crate) async fn open(
        self,
        uri: Uri,
        headers: Headers,
        sid: Option<String>,
    ) -> Result<WebTransport, Error> {
        let request = Request::new(&uri, &headers)?;
        let attempt = request.attempt(&headers);
        let datagrams = self.connector.datagrams(&uri)?;
        let config = self.config(&datagrams)?;
        let connecting = connect(&datagrams, config, &request.uri);
        let connection = match timeout(datagrams.timeout, connecting).await {
            Ok(connected) => connected.map_err(|error| failure::of_connection(&attempt, error))?,
            Err(_) => return Err(failure::of_udp(&attempt, ConnectTimeout(datagrams.timeout))),
        };
        let failed = |error| failure::of_session(&attempt, error, connection.close_reason());
        let opened = Session::open(connection.clone(), &request.inner).await;
        let (session, response) = opened.map_err(failed)?;
        let (send, recv) = session.stream().await.map_err(failed)?;
        let mut link =
            WebTransport::new(session, response, Stream { send, recv }, self.max_message);
        link.start_send(first_packet(sid));
        Ok(link)
    }

    /// Returns the settings of a connection.
    fn config(&self, datagrams: &Datagrams<'_>) -> Result<quinn::ClientConfig, Error> {
        let tls = tls::config(datagrams.tls.config(datagrams.is_home)?, &self.hashes)?;
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(0_u32.into())
            .max_concurrent_uni_streams(UNIDIRECTIONAL.into())
            .stream_receive_window(STREAM_WINDOW.into())
            .receive_window(WINDOW.into())
            .send_window(SEND_WINDOW)
            .datagram_receive_buffer_size(Some(DATAGRAMS))
            .datagram_send_buffer_size(DATAGRAMS)
            .keep_alive_interval(Some(KEEP_ALIVE))
            // The heartbeat of the session decides how long it lives.
            .max_idle_timeout(None);
        let mut config = quinn::ClientConfig::new(Arc::new(tls));
        config.transport_config(Arc::new(transport));
        Ok(config)
    }
}

/// Connects to the first address that answers.
async fn connect(
    datagrams: &Datagrams<'_>,
    config: quinn::ClientConfig,
    uri: &Uri,
) -> Result<Connection, BoxError> {
    let addresses = datagrams.tcp.addresses(uri).await?;
    let local = datagrams.tcp.local;
    let connect = |address: SocketAddr| {
        let config = config.clone();
        async move {
            let any = match address {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            let socket = socket::bind((local.unwrap_or(any), 0).into())?;
            let (settings, runtime) = (EndpointConfig::default(), Arc::new(TokioRuntime));
            let endpoint = Endpoint::new_with_abstract_socket(settings, None, socket, runtime)?;
            // The endpoint lives as long as its connection.
            Ok(endpoint.connect_with(config, address, host(uri))?.await?)
        }
    };
    first_connected(addresses, connect).await
}

/// Returns the packet that opens an Engine.IO session, or names the one that the stream is for.
fn first_packet(sid: Option<String>) -> Frame {
    match sid {
        None => Frame::text("0"),
        Some(sid) => Frame::text(format!("0{}", serde_json::json!({ "sid": sid }))),
    }
}
