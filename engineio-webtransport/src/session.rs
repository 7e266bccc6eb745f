//! The streams of HTTP/3 that make up a WebTransport session (draft-ietf-webtrans-http3): settings, the request, and the
//! one stream that carries packets.

use std::future::poll_fn;
use std::time::Duration;

use http::StatusCode;
use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use web_transport_proto as proto;
use web_transport_proto::{
    Capsule, ConnectRequest, ConnectResponse, Frame, Http3CapsuleReader, Settings, SettingsError,
    StreamUni,
};

/// The shortest time for a client to hear that its session is closed, and the round trips that it has otherwise.
const FAREWELL: Duration = Duration::from_millis(100);
const TRIPS: u32 = 3;

/// The longest such time. It does not grow without limit with the round trips that the client lets the server measure.
pub(crate) const LONGEST_FAREWELL: Duration = Duration::from_secs(5);

/// The longest reason with which a session is closed, in bytes (draft-ietf-webtrans-http3 § 6).
const MAX_REASON: usize = 1_024;

/// A request for a session, which has not been answered.
pub(crate) struct Request {
    pub(crate) head: ConnectRequest,
    connection: Connection,
    send: SendStream,
    recv: RecvStream,
    control: SendStream,
    critical: Vec<RecvStream>,
}

/// The server's side of a session.
pub(crate) struct Session {
    pub(crate) connection: Connection,
    /// The server's side of the request.
    request: SendStream,
    /// Open as long as the connection (RFC 9114 § 6.2.1).
    _control: SendStream,
}

/// The client's side of a session.
pub(crate) struct Client {
    pub(crate) connection: Connection,
    /// The stream of the request, by which the client names the session.
    pub(crate) id: proto::VarInt,
    pub(crate) request: RecvStream,
    /// The client's control stream and those of QPACK, which stay open as long as the connection (RFC 9114 § 6.2.1).
    pub(crate) critical: Vec<RecvStream>,
}

/// The failure to get a request or to answer it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("the client has HTTP/3 without WebTransport")]
    Unsupported,
    #[error("the settings of HTTP/3 cannot be exchanged: {0}")]
    Settings(#[from] SettingsError),
    #[error("the request cannot be read, or not be answered: {0}")]
    Request(#[from] proto::ConnectError),
    #[error("the connection was lost: {0}")]
    Lost(#[from] ConnectionError),
}

impl Request {
    /// Exchanges the settings over a new connection, and reads the request.
    pub(crate) async fn accept(connection: Connection) -> Result<Self, RequestError> {
        let ours = async {
            let mut settings = Settings::default();
            settings.enable_webtransport(1);
            let mut control = connection.open_uni().await?;
            settings.write(&mut control).await?;
            Ok::<_, RequestError>(control)
        };
        let (control, critical) = tokio::try_join!(ours, read_settings(&connection))?;
        let (send, mut recv) = connection.accept_bi().await?;
        let head = ConnectRequest::read(&mut recv).await?;
        Ok(Self {
            head,
            connection,
            send,
            recv,
            control,
            critical,
        })
    }

    /// Answers the request. The streams stay open, whatever the status is.
    pub(crate) async fn respond(
        mut self,
        status: StatusCode,
    ) -> Result<(Session, Client), RequestError> {
        let response = ConnectResponse::new(status);
        response.write(&mut self.send).await?;
        let id = VarInt::from(self.send.id()).into_inner();
        let id = proto::VarInt::from_u64(id).expect("the id of a stream has 62 bits");
        let client = Client {
            connection: self.connection.clone(),
            id,
            request: self.recv,
            critical: self.critical,
        };
        let session = Session {
            connection: self.connection,
            request: self.send,
            _control: self.control,
        };
        Ok((session, client))
    }
}

impl Session {
    /// Closes the session, and waits until the client has heard of it or had the time to.
    pub(crate) async fn close(&mut self, code: u32, reason: &str) {
        let reason = reason[..reason.floor_char_boundary(MAX_REASON)].to_owned();
        let mut capsule = Vec::new();
        Capsule::CloseWebTransportSession { code, reason }.encode(&mut capsule);
        let mut frame = Vec::new();
        Frame::DATA.encode(&mut frame);
        proto::VarInt::from_u32(capsule.len() as u32).encode(&mut frame);
        frame.extend(capsule);
        let told = async {
            // A client that takes no capsule may still take the end of the connection.
            if self.request.write_all(&frame).await.is_ok() && self.request.finish().is_ok() {
                self.connection.closed().await;
            }
        };
        let patience = FAREWELL.max(TRIPS * self.connection.rtt());
        let _ = timeout(patience.min(LONGEST_FAREWELL), told).await;
        self.connection.close(http3_code(code), b"");
    }
}

/// Accepts the control stream of the client, and reads its settings. Those of QPACK may come first; they bring nothing as long
/// as the dynamic table has no room.
async fn read_settings(connection: &Connection) -> Result<Vec<RecvStream>, RequestError> {
    // Many clients open no others.
    let mut streams = Vec::with_capacity(1);
    loop {
        let mut stream = connection.accept_uni().await?;
        let settings = Settings::read(&mut stream).await;
        streams.push(stream);
        match settings {
            Ok(settings) if settings.supports_webtransport() > 0 => return Ok(streams),
            Ok(_) => return Err(RequestError::Unsupported),
            Err(SettingsError::UnexpectedStreamType(kind)) if is_qpack(kind) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_qpack(kind: StreamUni) -> bool {
    [StreamUni::QPACK_ENCODER, StreamUni::QPACK_DECODER].contains(&kind)
}

/// Waits for the next stream of a session. Other requests are not answered.
pub(crate) async fn next_stream(
    connection: &Connection,
    id: proto::VarInt,
) -> Result<(SendStream, RecvStream), ConnectionError> {
    loop {
        let (send, mut recv) = connection.accept_bi().await?;
        // In memory of its own, which is free while nothing comes; also below.
        let prefix = Box::pin(async move {
            let kind = proto::VarInt::read(&mut recv).await.ok()?;
            let is_stream = Frame(kind) == Frame::WEBTRANSPORT;
            let is_ours = is_stream && proto::VarInt::read(&mut recv).await.ok()? == id;
            is_ours.then_some((send, recv))
        });
        if let Some(stream) = prefix.await {
            return Ok(stream);
        }
    }
}

/// Waits for the next one-way stream of a session. Streams of kinds that are not known are not read (RFC 9114 § 6.2).
pub(crate) async fn next_one_way(
    connection: &Connection,
    id: proto::VarInt,
    critical: &mut Vec<RecvStream>,
) -> Result<(), ConnectionError> {
    loop {
        let mut stream = connection.accept_uni().await?;
        let prefix = Box::pin(async move {
            let kind = StreamUni(proto::VarInt::read(&mut stream).await.ok()?);
            let is_stream = kind == StreamUni::WEBTRANSPORT;
            let is_ours = is_stream && proto::VarInt::read(&mut stream).await.ok()? == id;
            Some((stream, kind, is_ours))
        });
        match prefix.await {
            Some((_, _, true)) => return Ok(()),
            Some((stream, kind, _)) if is_qpack(kind) => critical.push(stream),
            _ => {}
        }
    }
}

/// Waits until the client ends the session, and closes the connection then.
pub(crate) async fn leave(connection: &Connection, request: &mut RecvStream) {
    let mut first = [0];
    let (code, reason) = match poll_fn(|cx| request.poll_read(cx, &mut first)).await {
        // In memory of its own, because most clients send nothing before.
        Ok(1) => Box::pin(last_capsule(first, request)).await,
        // The end without a capsule is one without a code (draft-ietf-webtrans-http3 § 6).
        _ => (0, String::new()),
    };
    connection.close(http3_code(code), reason.as_bytes());
}

/// Reads the capsules of a request, of which the first byte was read, to the one that ends the session.
async fn last_capsule(first: [u8; 1], request: &mut RecvStream) -> (u32, String) {
    let mut capsules = Http3CapsuleReader::new((&first[..]).chain(request));
    loop {
        match capsules.read().await {
            Ok(Some(Capsule::CloseWebTransportSession { code, reason })) => return (code, reason),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return (0, String::new()),
        }
    }
}

/// Returns the code of a session's end as that of a connection.
fn http3_code(code: u32) -> VarInt {
    VarInt::try_from(proto::error_to_http3(code)).unwrap_or(VarInt::MAX)
}
