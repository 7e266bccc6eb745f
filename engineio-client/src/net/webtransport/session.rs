//! The streams of HTTP/3 that make up a WebTransport session (draft-ietf-webtrans-http3): settings, the request, and the
//! one stream that carries packets.

use std::time::Duration;

use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use tokio::time::timeout;
use web_transport_proto as proto;
use web_transport_proto::{
    Capsule, ConnectRequest, ConnectResponse, Frame, Http3CapsuleReader, Settings, SettingsError,
};

/// `H3_NO_ERROR` (RFC 9114 § 8.1).
const NO_ERROR: VarInt = VarInt::from_u32(0x100);

/// The shortest time for the server to hear that its session is over.
const FAREWELL: Duration = Duration::from_millis(100);

/// An open session. The connection is closed when it is dropped.
pub(super) struct Session {
    pub(super) connection: Connection,
    /// The client's side of the request, until it closes the session.
    request: Option<SendStream>,
    /// The control streams and those of QPACK, which stay open as long as the connection (RFC 9114 § 6.2.1).
    _critical: (SendStream, Vec<RecvStream>),
}

/// The server's side of the request.
pub(super) struct Answer(RecvStream);

/// The end of a session.
#[derive(Debug)]
pub(super) enum SessionEnd {
    /// The server has closed it with a code and a text.
    Closed(u32, String),
    /// The connection has ended.
    Lost(ConnectionError),
    /// The server takes no more data of the stream.
    Stopped,
    /// The server did not keep to the rules of HTTP/3.
    Broken,
}

/// The failure to open a session.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("the server has HTTP/3 without WebTransport")]
    Unsupported,
    #[error("the settings of HTTP/3 cannot be exchanged")]
    Settings(#[source] SettingsError),
    #[error("the request cannot be sent, or its answer not be read")]
    Request(#[source] proto::ConnectError),
    #[error("the connection was lost")]
    Lost(#[from] ConnectionError),
    #[error("the stream cannot be opened")]
    Stream(#[from] quinn::WriteError),
}

impl Session {
    /// Requests a session over a new connection.
    pub(super) async fn open(
        connection: Connection,
        request: &ConnectRequest,
    ) -> Result<(Self, Answer), OpenError> {
        let ours = async {
            let mut settings = Settings::default();
            settings.enable_webtransport(1);
            let mut control = connection.open_uni().await?;
            let sent = settings.write(&mut control).await;
            sent.map(|()| control).map_err(OpenError::Settings)
        };
        let (ours, theirs) = tokio::try_join!(ours, control(&connection))?;
        let (mut send, mut recv) = connection.open_bi().await?;
        let sent = request.write(&mut send).await;
        sent.map_err(OpenError::Request)?;
        // Another status than success is an error.
        let answered = ConnectResponse::read(&mut recv).await;
        answered.map_err(OpenError::Request)?;
        let session = Self {
            connection,
            request: Some(send),
            _critical: (ours, theirs),
        };
        Ok((session, Answer(recv)))
    }

    /// Opens a stream.
    pub(super) async fn stream(&self) -> Result<(SendStream, RecvStream), OpenError> {
        let (mut send, recv) = self.connection.open_bi().await?;
        let mut prefix = Vec::new();
        Frame::WEBTRANSPORT.encode(&mut prefix);
        // The id of the session is that of its request's stream, which is the first of the client.
        proto::VarInt::from_u32(0).encode(&mut prefix);
        send.write_all(&prefix).await?;
        Ok((send, recv))
    }

    /// Closes the session. The future waits until the server has heard of it, or had the time to.
    pub(super) fn close(&mut self, code: u32, reason: &str) -> impl Future<Output = ()> + use<> {
        let connection = self.connection.clone();
        let request = self.request.take();
        let mut capsule = Vec::new();
        let reason = reason.to_owned();
        Capsule::CloseWebTransportSession { code, reason }.encode(&mut capsule);
        let mut frame = Vec::new();
        Frame::DATA.encode(&mut frame);
        // The reasons of this crate are short.
        proto::VarInt::from_u32(capsule.len() as u32).encode(&mut frame);
        frame.extend(capsule);
        async move {
            let told = async {
                if let Some(mut request) = request
                    && request.write_all(&frame).await.is_ok()
                    && request.finish().is_ok()
                {
                    connection.closed().await;
                }
            };
            let patience = FAREWELL.max(3 * connection.rtt());
            let _ = timeout(patience, told).await;
            connection.close(NO_ERROR, b"");
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.close(NO_ERROR, b"");
    }
}

impl Answer {
    /// Waits for the end of the session.
    pub(super) async fn end(self, connection: Connection) -> SessionEnd {
        let mut capsules = Http3CapsuleReader::new(self.0);
        loop {
            match capsules.read().await {
                Ok(Some(Capsule::CloseWebTransportSession { code, reason })) => {
                    return SessionEnd::Closed(code, reason);
                }
                Ok(Some(_)) => {}
                // The end without a capsule is one without a code (draft-ietf-webtrans-http3 § 6).
                Ok(None) => return SessionEnd::Closed(0, String::new()),
                Err(_) => {
                    let lost = connection.close_reason();
                    return lost.map_or(SessionEnd::Broken, SessionEnd::Lost);
                }
            }
        }
    }
}

/// Accepts the control stream of the server, and reads its settings. Those of QPACK may come first; they bring nothing as long
/// as the dynamic table has no room.
async fn control(connection: &Connection) -> Result<Vec<RecvStream>, OpenError> {
    let mut streams = Vec::new();
    loop {
        let mut stream = connection.accept_uni().await?;
        let settings = Settings::read(&mut stream).await;
        streams.push(stream);
        match settings {
            Ok(settings) if settings.supports_webtransport() > 0 => return Ok(streams),
            Ok(_) => return Err(OpenError::Unsupported),
            Err(SettingsError::UnexpectedStreamType(_)) => {}
            Err(error) => return Err(OpenError::Settings(error)),
        }
    }
}
