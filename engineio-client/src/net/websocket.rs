//! WebSockets. This is the only module that knows the library which frames them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use engineio_core::{DisconnectReason, Frame};
use futures_core::Stream;
use futures_sink::Sink;
use http::header::{
    CONNECTION, HOST, HeaderValue, LOCATION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, Request};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};

use super::attempt::Attempt;
use super::connect::{Conn, Connector};
use super::cookies::Cookies;
use super::http::{self as requests, MAX_REFUSAL, first_bytes};
use crate::error::{BoxError, excerpt};
use crate::{Error, ErrorKind};

/// The library would take 128 KiB for each connection.
const READ_BUFFER: usize = 16 * 1024;

/// How many bytes of answers to pings may wait for a server that does not read them before it is not read either. The
/// library keeps all of them.
const MAX_PONGS: usize = 64 * 1024;

/// The head of a small frame with a mask.
const PONG_OVERHEAD: usize = 6;

/// What opens WebSockets.
#[derive(Clone, Debug)]
pub(crate) struct WebSockets {
    pub(crate) connector: Connector,
    pub(crate) headers: Arc<HeaderMap>,
    pub(crate) cookies: Option<Arc<Cookies>>,
    pub(crate) max_message: usize,
}

impl WebSockets {
    /// Opens one. The handshake is spoken by the HTTP library, so that a refusal arrives whole, as on polling.
    pub(crate) async fn open(self, uri: http::Uri) -> Result<WebSocket, Error> {
        let attempt = Attempt::websocket(&uri, &self.headers);
        let secure = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
        let connected = self.connector.clone().tunnel(uri.clone()).await;
        let conn = connected.map_err(|error| no_connection(&attempt, error))?;
        let (mut sender, conn) = http1::Builder::new()
            .title_case_headers(true)
            .handshake(TokioIo::new(conn))
            .await
            .map_err(|error| requests::failed(&attempt, error.into()))?;
        let mut conn = std::pin::pin!(conn.with_upgrades());
        let key = generate_key();
        let request = self.request(&uri, &key, secure)?;
        let mut exchange = std::pin::pin!(async {
            let response = sender.send_request(request).await;
            let response = response.map_err(|error| requests::failed(&attempt, error.into()))?;
            self.on_response(response, &key, &attempt).await
        });
        // The connection has to be driven beside the exchange; it ends with the upgrade.
        tokio::select! {
            biased;
            outcome = &mut exchange => return outcome,
            _ = &mut conn => {}
        }
        exchange.await
    }

    fn request(
        &self,
        uri: &http::Uri,
        key: &str,
        secure: bool,
    ) -> Result<Request<Empty<Bytes>>, Error> {
        let mut request = Request::new(Empty::new());
        let unusable =
            |what: &str| Error::invalid(format!("the {what} cannot be sent in a header"));
        let host = uri.authority().map_or("", http::uri::Authority::as_str);
        let target = uri
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        let headers = request.headers_mut();
        headers.insert(
            HOST,
            HeaderValue::try_from(host).map_err(|_| unusable("host"))?,
        );
        requests::apply(&self.headers, self.cookies.as_deref(), secure, headers);
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        let key = HeaderValue::try_from(key).map_err(|_| unusable("key"))?;
        headers.insert(SEC_WEBSOCKET_KEY, key);
        *request.uri_mut() = target.parse().map_err(|_| unusable("path"))?;
        Ok(request)
    }

    async fn on_response(
        &self,
        response: http::Response<hyper::body::Incoming>,
        key: &str,
        attempt: &Attempt,
    ) -> Result<WebSocket, Error> {
        let status = response.status();
        if let Some(cookies) = &self.cookies {
            cookies.store(response.headers());
        }
        if status.is_redirection() {
            let to = response.headers().get(LOCATION);
            return Err(Error::redirect(attempt, status, to));
        }
        if !requests::is_switching(status) {
            let body = first_bytes(response.into_body(), MAX_REFUSAL).await;
            return Err(Error::refused(attempt, status, body));
        }
        let accept = response.headers().get(SEC_WEBSOCKET_ACCEPT);
        if accept.is_none_or(|accept| *accept != *derive_accept_key(key.as_bytes())) {
            let message =
                format!("{attempt} was answered by something that is no WebSocket server");
            return Err(Error::new(ErrorKind::Protocol, message));
        }
        let upgraded = hyper::upgrade::on(response).await;
        let upgraded = upgraded.map_err(|error| requests::failed(attempt, error.into()))?;
        let parts = upgraded.downcast::<TokioIo<Conn>>().map_err(|_| {
            // It is what was put in above.
            Error::new(ErrorKind::Transport, format!("{attempt} was lost"))
        })?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_message_size(Some(self.max_message))
            .max_frame_size(Some(self.max_message));
        let (io, read) = (parts.io.into_inner(), parts.read_buf.to_vec());
        let stream = WebSocketStream::from_partially_read(io, read, Role::Client, Some(config));
        Ok(WebSocket {
            stream: stream.await,
            pongs: 0,
        })
    }
}

fn no_connection(attempt: &Attempt, error: BoxError) -> Error {
    if error.is::<super::connect::ConnectTimeout>() {
        return requests::failed(attempt, error);
    }
    let message = format!(
        "{attempt} found no connection; check that the server runs and that the host, the port, the proxy and the \
         certificates are right"
    );
    Error::new(ErrorKind::Connect, message).with_source(error)
}

/// An open WebSocket, in the words of the protocol's core.
#[derive(Debug)]
pub(crate) struct WebSocket {
    stream: WebSocketStream<Conn>,
    /// How many bytes of answers to pings were queued since everything was out.
    pongs: usize,
}

/// Why a WebSocket is over, and the error if it is one.
pub(crate) type Ended = (DisconnectReason, Option<Error>);

impl WebSocket {
    /// The next frame. Pings of the WebSocket itself are answered below.
    ///
    /// A small one is copied, because the library's would keep the whole read alive that it came with, and that may be
    /// larger than all that the inbox counts.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, Ended>> {
        loop {
            if self.pongs >= MAX_PONGS {
                // A connection that is broken shows that at the next read too.
                let _ = ready!(Pin::new(&mut self.stream).poll_flush(cx));
                self.pongs = 0;
            }
            let message = ready!(Pin::new(&mut self.stream).poll_next(cx));
            return Poll::Ready(match message {
                Some(Ok(Message::Text(text))) if text.len() < READ_BUFFER => {
                    Ok(Frame::text(String::from(text.as_str())))
                }
                Some(Ok(Message::Binary(bytes))) if bytes.len() < READ_BUFFER => {
                    Ok(Frame::Binary(Bytes::copy_from_slice(&bytes)))
                }
                Some(Ok(Message::Text(text))) => Ok(Frame::text(Utf8(text))),
                Some(Ok(Message::Binary(bytes))) => Ok(Frame::Binary(bytes)),
                Some(Ok(Message::Close(frame))) => {
                    let error = frame.and_then(|frame| closed_for_cause(&frame));
                    Err((DisconnectReason::TransportClose, error))
                }
                None => Err((DisconnectReason::TransportClose, None)),
                Some(Ok(Message::Ping(data))) => {
                    self.pongs += data.len() + PONG_OVERHEAD;
                    continue;
                }
                Some(Ok(_)) => continue,
                Some(Err(error)) => Err(ended(error)),
            });
        }
    }

    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        Pin::new(&mut self.stream).poll_ready(cx).map_err(ended)
    }

    pub(crate) fn start_send(&mut self, frame: Frame) -> Result<(), Ended> {
        let message = match frame {
            Frame::Binary(bytes) => Message::Binary(bytes),
            Frame::Text(text) => {
                // The library checks the encoding again, because it cannot take anybody's word for it.
                match tungstenite::Utf8Bytes::try_from(text.into_bytes()) {
                    Ok(text) => Message::Text(text),
                    Err(_) => return Ok(()),
                }
            }
        };
        Pin::new(&mut self.stream)
            .start_send(message)
            .map_err(ended)
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx)).map_err(ended)?;
        self.pongs = 0;
        Poll::Ready(Ok(()))
    }

    /// Begins the closing handshake, behind all frames that were sent.
    pub(crate) fn start_close(&mut self, reason: DisconnectReason) -> Result<(), Ended> {
        let close = CloseFrame {
            code: CloseCode::from(reason.websocket_code()),
            reason: "".into(),
        };
        Pin::new(&mut self.stream)
            .start_send(Message::Close(Some(close)))
            .map_err(ended)
    }
}

/// Text that the library has checked, on its way to the core without a second check.
struct Utf8(tungstenite::Utf8Bytes);

impl AsRef<str> for Utf8 {
    fn as_ref(&self) -> &str {
        self.0.as_str()
    }
}

impl From<Utf8> for Bytes {
    fn from(text: Utf8) -> Self {
        text.0.into()
    }
}

/// What a close frame says, unless it is an ordinary good-bye.
fn closed_for_cause(frame: &CloseFrame) -> Option<Error> {
    let advice = match frame.code {
        CloseCode::Normal | CloseCode::Away | CloseCode::Status => return None,
        CloseCode::Policy => "check the credentials and the origin that the client sends",
        CloseCode::Size => "send smaller messages, or raise the server's limit",
        CloseCode::Restart | CloseCode::Again => "the server is busy: try again later",
        _ => "see the server's log for the reason",
    };
    let reason = match frame.reason.as_bytes() {
        [] => String::new(),
        reason => format!(", {}", excerpt(reason)),
    };
    let code = u16::from(frame.code);
    let message = format!("the server closed the WebSocket with code {code}{reason}; {advice}");
    Some(Error::new(ErrorKind::Transport, message))
}

fn ended(error: tungstenite::Error) -> Ended {
    use tungstenite::Error as E;
    use tungstenite::error::ProtocolError;

    let (kind, message) = match &error {
        E::ConnectionClosed | E::AlreadyClosed => return (DisconnectReason::TransportClose, None),
        E::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            let message = "the connection of the WebSocket ended without a word; the server was killed, or a proxy on \
                           the way gave up: connect again";
            let error = Error::new(ErrorKind::Transport, message);
            return (DisconnectReason::TransportClose, Some(error));
        }
        E::Capacity(_) => (
            ErrorKind::TooLarge,
            "the server sent a larger message than the client takes; raise `max_response` if it may",
        ),
        E::Protocol(_) | E::Utf8(_) => (
            ErrorKind::Protocol,
            "the server sent a frame that breaks the rules of WebSocket",
        ),
        _ => (
            ErrorKind::Transport,
            "the connection of the WebSocket broke; connect again",
        ),
    };
    let error = Error::new(kind, message).with_source(error);
    let reason = match kind {
        ErrorKind::Protocol => DisconnectReason::TransportError,
        _ => error.reason(),
    };
    (reason, Some(error))
}
