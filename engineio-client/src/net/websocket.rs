//! WebSockets of the client: the opening handshake over HTTP, and the errors for the ways in which one ends.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use engineio_core::{DisconnectReason, Frame};
use engineio_websocket as codec;
use engineio_websocket::{ClientHandshake, CloseFrame, End, Received, Role, Violation};
use http::header::HOST;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;

use super::attempt::Attempt;
use super::connect::{Conn, Connector};
use super::exchange::exchange;
use super::failure;
use super::form::{host, origin_form};
use super::headers::Headers;
use super::http::{MAX_REFUSAL, first_bytes};
use crate::error::Ended;
use crate::redirect::is_redirect;
use crate::secrets::Secrets;
use crate::{Error, ErrorKind};

/// Opens WebSockets.
#[derive(Clone, Debug)]
pub(crate) struct WebSockets {
    pub(crate) connector: Connector,
    /// The largest message to accept, in bytes after decompression.
    pub(crate) max_message: usize,
    /// The size in bytes from which messages are compressed; `None` for never.
    pub(crate) compression: Option<usize>,
}

impl WebSockets {
    /// Opens a WebSocket. The HTTP library performs the handshake, so that a refusal arrives whole, as with polling.
    pub(crate) async fn open(self, uri: http::Uri, headers: Headers) -> Result<WebSocket, Error> {
        let attempt = Attempt::websocket(&uri, &headers);
        let connected = self.connector.to_server(&uri).await;
        let conn = connected.map_err(|error| failure::of_connection(&attempt, error))?;
        let mut handshake = ClientHandshake::new(self.compression.is_some()).map_err(|error| {
            let message =
                format!("{attempt} was not sent: the system gives no random bytes for it");
            Error::new(ErrorKind::Transport, message).with_source(error)
        })?;
        let request = request(&uri, &headers, &mut handshake)?;
        let answered = |response: Response<Incoming>| {
            let mut attempt = attempt.clone();
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                // The answer may repeat them, and may change those of the jar.
                let mut sent = HeaderMap::new();
                headers.apply(&uri, &mut sent);
                attempt = attempt.with_headers(sent);
            }
            headers.store(&uri, response.headers());
            accepted(response, &handshake, attempt)
        };
        let answer = exchange(conn, request, answered).await;
        let (accepted, io, early) =
            answer.map_err(|error| failure::of_request(&attempt, error.into()))?;
        let deflate = accepted?;
        let frames = codec::WebSocket::new(io, Role::Client, self.max_message, deflate);
        // The bytes that follow the head are copied, so that the buffer of the HTTP library is released.
        Ok(WebSocket {
            frames: frames.with_early(&early),
            threshold: self.compression.filter(|_| deflate).unwrap_or(usize::MAX),
            owes_answer: false,
        })
    }
}

/// Checks the answer to the handshake. Returns whether messages may be compressed.
async fn accepted(
    response: Response<Incoming>,
    handshake: &ClientHandshake,
    attempt: Attempt,
) -> Result<bool, Error> {
    let (head, body) = response.into_parts();
    if head.status != StatusCode::SWITCHING_PROTOCOLS {
        if is_redirect(head.status) {
            return Err(Error::redirect(&attempt, head));
        }
        let body = first_bytes(body, MAX_REFUSAL).await;
        return Err(Error::refused(&attempt, head, body));
    }
    handshake.check(&head.headers).map_err(|error| {
        let message = format!(
            "{attempt} was answered by something that is not a proper WebSocket server: {error}; check the URL, and \
             that no proxy on the way changes the headers"
        );
        Error::new(ErrorKind::Protocol, message)
    })
}

/// Builds the request of the opening handshake.
fn request(
    uri: &http::Uri,
    own: &Headers,
    handshake: &mut ClientHandshake,
) -> Result<Request<Empty<Bytes>>, Error> {
    let mut request = Request::new(Empty::new());
    let headers = request.headers_mut();
    headers.insert(HOST, host(uri)?);
    own.apply(uri, headers);
    handshake.apply(headers);
    *request.uri_mut() = origin_form(uri);
    Ok(request)
}

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct WebSocket {
    frames: codec::WebSocket<Conn>,
    /// The size in bytes from which messages are compressed.
    threshold: usize,
    /// The server sent a close frame, or broke a rule, and is to get a close frame for it.
    owes_answer: bool,
}

/// The end of a WebSocket, as it was read.
#[derive(Debug)]
pub(crate) struct Closed {
    reason: DisconnectReason,
    end: Option<End>,
}

impl Closed {
    pub(super) const fn is_eof(&self) -> bool {
        matches!(self.end, Some(End::Eof))
    }

    /// Describes the end. The server's words may repeat the secrets, which are removed.
    pub(super) fn describe(self, secrets: impl FnOnce() -> Secrets) -> Ended {
        match self.end {
            Some(end) => ended(end, secrets),
            None => (self.reason, None),
        }
    }
}

impl WebSocket {
    /// Returns the part of a turn, in bytes, that a frame takes that was just read: an empty message may have a
    /// compressed size of a megabyte, and takes as long to decompress.
    pub(crate) fn cost_of(&mut self, frame: &Frame) -> usize {
        let compressed = self.frames.take_compressed_len();
        frame.as_bytes().len().max(compressed)
    }

    /// Reads the next frame; `None` if much was read that completed none. Pings and close frames are answered by the
    /// next flush.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame>, Closed>> {
        Poll::Ready(match ready!(self.frames.poll_read(cx)) {
            Some(Received::Frame(frame)) => Ok(Some(frame)),
            None => Ok(None),
            Some(Received::Closed(reason)) => {
                let end = self.frames.take_end();
                self.owes_answer = matches!(end, Some(End::Close(_) | End::Violation(_)));
                Err(Closed { reason, end })
            }
        })
    }

    /// Waits for room in the write buffer.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        self.frames.poll_room(cx).map_err(broke)
    }

    pub(crate) fn start_send(&mut self, frame: Frame) {
        if frame.as_bytes().len() >= self.threshold {
            self.frames.write_compressed(frame);
        } else {
            self.frames.write(frame);
        }
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        self.frames.poll_flush(cx).map_err(broke)
    }

    /// Begins the closing handshake, behind all frames that were sent.
    pub(crate) fn start_close(&mut self, reason: DisconnectReason) {
        self.frames.close(reason.websocket_code());
    }

    /// Returns whether a close frame must be sent before the connection of an ended WebSocket is dropped (RFC 6455 §
    /// 5.5.1, § 7.1.7).
    pub(crate) const fn owes_answer(&self) -> bool {
        self.owes_answer
    }

    /// Ends the client's direction of the connection. That it has broken is seen when it is read.
    pub(crate) fn poll_end_output(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.frames.poll_shutdown(cx).map(drop)
    }
}

/// Describes a close frame, unless it reports an orderly end.
fn closed_for_cause(frame: &CloseFrame, secrets: &Secrets) -> Option<Error> {
    let advice = match frame.code {
        // Normal closure, going away.
        1000 | 1001 => return None,
        // Policy violation.
        1008 => "check the credentials and the origin that the client sends",
        // Message too big.
        1009 => "send smaller messages, or raise the server's limit",
        // Service restart, try again later.
        1012 | 1013 => "the server is busy: try again later",
        _ => "see the server's log for the reason",
    };
    let reason = match frame.reason.as_bytes() {
        [] => String::new(),
        reason => format!(", {}", secrets.excerpt(reason)),
    };
    let code = frame.code;
    let message = format!("the server closed the WebSocket with code {code}{reason}; {advice}");
    Some(Error::new(ErrorKind::Transport, message))
}

fn broke(error: std::io::Error) -> Ended {
    let error = if failure::is_panic(&error) {
        failure::panicked("the WebSocket", error.into())
    } else {
        let message = "the connection of the WebSocket broke; connect again";
        Error::new(ErrorKind::Transport, message).with_source(error)
    };
    (error.reason(), Some(error))
}

fn ended(end: End, secrets: impl FnOnce() -> Secrets) -> Ended {
    match end {
        End::Io(error) => broke(error),
        End::Close(frame) => {
            let error = frame.and_then(|frame| closed_for_cause(&frame, &secrets()));
            (DisconnectReason::TransportClose, error)
        }
        End::Violation(Violation::TooLarge) => {
            let message = "the server sent a larger message than the client takes; raise `max_response` if it may";
            let error = Error::new(ErrorKind::TooLarge, message).with_source(Violation::TooLarge);
            (error.reason(), Some(error))
        }
        End::Violation(violation) => {
            let message = "the server sent a frame that breaks the rules of WebSocket";
            let error = Error::new(ErrorKind::Protocol, message).with_source(violation);
            (DisconnectReason::TransportError, Some(error))
        }
        _ => {
            let message = "the connection of the WebSocket ended without a close frame; the server was killed, or a \
                           proxy on the way gave up: connect again";
            let error = Error::new(ErrorKind::Transport, message);
            (DisconnectReason::TransportClose, Some(error))
        }
    }
}
