//! The stream of a WebTransport session, and the errors for the ways in which one ends.

use std::cell::Cell;
use std::fmt;
use std::future::pending;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use engineio_core::{DisconnectReason, Frame};
use engineio_websocket::{End, PacketStream, Received, Violation};
use futures_core::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use http::StatusCode;
use quinn::{ConnectionError, RecvStream, SendStream, WriteError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::failure::{NO_ERROR, head};
use super::session::{Answer, Session, SessionEnd};
use crate::error::Ended;
use crate::secrets::Secrets;
use crate::{Error, ErrorKind};

/// An open session with its stream.
pub(crate) struct WebTransport {
    packets: PacketStream<Stream>,
    session: Session,
    /// Complete when the server ends the session, or takes no more data. They are in a set so that they are polled only
    /// when they were themselves woken, not with each packet.
    end: FuturesUnordered<BoxFuture<'static, SessionEnd>>,
    is_over: bool,
    /// A message was sent.
    has_messages: bool,
    /// The number of acknowledgements that had come when this was last looked at.
    acknowledged: Cell<u64>,
    /// The server has ended its side, or broke a rule, and is to hear that the session is over.
    owes_answer: bool,
    /// The reason for which the client closes the session.
    reason: DisconnectReason,
    /// Completes when the server has heard of the close.
    closing: Option<BoxFuture<'static, ()>>,
}

impl fmt::Debug for WebTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebTransport").finish_non_exhaustive()
    }
}

/// The end of a session, as it was read.
#[derive(Debug)]
pub(crate) struct Closed {
    reason: DisconnectReason,
    end: Option<End>,
    /// The end of the session, if the stream ended with it.
    session: Option<Box<SessionEnd>>,
}

impl WebTransport {
    pub(super) fn new(
        session: Session,
        answer: Answer,
        stream: Stream,
        max_message: usize,
    ) -> Self {
        let end = FuturesUnordered::new();
        end.push(answer.end(session.connection.clone()).boxed());
        let stopped = stream.send.stopped();
        end.push(
            async move {
                match stopped.await {
                    Ok(Some(_)) => SessionEnd::Stopped,
                    _ => pending().await,
                }
            }
            .boxed(),
        );
        Self {
            packets: PacketStream::new(stream, max_message),
            session,
            end,
            is_over: false,
            has_messages: false,
            acknowledged: Cell::new(0),
            owes_answer: false,
            reason: DisconnectReason::Client,
            closing: None,
        }
    }

    pub(crate) const fn cost_of(&self, frame: &Frame) -> usize {
        frame.as_bytes().len()
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame>, Closed>> {
        Poll::Ready(match self.packets.poll_read(cx) {
            Poll::Ready(Some(Received::Frame(frame))) => Ok(Some(frame)),
            Poll::Ready(None) => Ok(None),
            Poll::Ready(Some(Received::Closed(reason))) => {
                let end = self.packets.take_end();
                self.owes_answer = matches!(end, Some(End::Eof | End::Violation(_)));
                let lost = self.session.connection.close_reason();
                let session = lost.map(|lost| Box::new(SessionEnd::Lost(lost)));
                Err(Closed {
                    reason,
                    end,
                    session,
                })
            }
            // After everything that came before the end of the session.
            Poll::Pending if !self.is_over => {
                let session = ready!(self.end.poll_next_unpin(cx)).map(Box::new);
                self.is_over = true;
                Err(Closed {
                    reason: DisconnectReason::TransportClose,
                    end: None,
                    session,
                })
            }
            Poll::Pending => Err(Closed {
                reason: DisconnectReason::TransportClose,
                end: None,
                session: None,
            }),
        })
    }

    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        let ready = self.packets.poll_room(cx);
        ready.map_err(broke)
    }

    pub(crate) fn start_send(&mut self, frame: Frame) {
        // Those of the other packets that are text have other first characters.
        self.has_messages |= match &frame {
            Frame::Text(text) => text.as_bytes().starts_with(b"4"),
            Frame::Binary(_) => true,
        };
        self.packets.write(frame);
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        let flushed = self.packets.poll_flush(cx);
        flushed.map_err(broke)
    }

    /// Queues the end of the stream. The server ends the session when it has read it.
    pub(crate) fn start_close(&mut self, reason: DisconnectReason) {
        self.packets.close();
        self.reason = reason;
        self.acknowledged.set(self.acknowledgements());
    }

    pub(crate) const fn owes_answer(&self) -> bool {
        self.owes_answer
    }

    pub(crate) fn is_still_sending(&self) -> bool {
        let now = self.acknowledgements();
        self.acknowledged.replace(now) != now
    }

    /// Returns whether messages were sent of which the server, that has not ended the session, has not acknowledged all.
    pub(crate) fn is_in_doubt(&self) -> bool {
        let has_ended = self.owes_answer || self.is_over;
        let acknowledged = || self.packets.get_ref().send.stopped().now_or_never();
        self.has_messages && !has_ended && !matches!(acknowledged(), Some(Ok(_)))
    }

    /// Returns the number of packets of acknowledgements, which come as long as the server takes data.
    fn acknowledgements(&self) -> u64 {
        self.session.connection.stats().frame_rx.acks
    }

    /// Closes the session, and waits until the server has heard of it or had the time to.
    pub(crate) fn poll_shut_down(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // The server may close it at the same time, and would wait for the connection to end, as the client does.
        self.is_over |= self.end.poll_next_unpin(cx).is_ready();
        if self.is_over {
            return Poll::Ready(());
        }
        let reason = self.reason;
        let closing = self.closing.get_or_insert_with(|| {
            let (code, text) = (reason.webtransport_code(), reason.as_str());
            self.session.close(code, text).boxed()
        });
        closing.as_mut().poll(cx)
    }
}

impl Closed {
    /// Describes the end. The server's words may repeat the secrets, which are removed.
    pub(crate) fn describe(self, secrets: impl FnOnce() -> Secrets) -> Ended {
        match (self.end, self.session) {
            (Some(End::Violation(violation)), _) => broke_a_rule(violation),
            (None | Some(End::Io(_)), Some(end)) => ended(*end, secrets),
            (Some(End::Io(error)), None) => {
                let message =
                    "the server gave up the stream of the WebTransport session; see its log";
                let error = Error::new(ErrorKind::Transport, message).with_source(error);
                (error.reason(), Some(error))
            }
            _ => (self.reason, None),
        }
    }
}

/// Describes the failure of a write. What the server says about it may still be read.
fn broke(error: io::Error) -> Ended {
    let message = "the connection of the WebTransport session broke; connect again";
    // The words of the server may repeat secrets.
    let quic = error.get_ref().and_then(|error| error.downcast_ref());
    let is_said = matches!(
        quic,
        Some(WriteError::ConnectionLost(
            ConnectionError::ApplicationClosed(_) | ConnectionError::ConnectionClosed(_)
        ))
    );
    let broke = Error::new(ErrorKind::Transport, message);
    let broke = match is_said {
        true => broke,
        false => broke.with_source(error),
    };
    (broke.reason(), Some(broke))
}

fn broke_a_rule(violation: Violation) -> Ended {
    let (kind, message) = match violation {
        Violation::TooLarge => (
            ErrorKind::TooLarge,
            "the server sent a larger message than the client takes; raise `max_response` if it may",
        ),
        _ => (
            ErrorKind::Protocol,
            "the server sent a packet that breaks the rules of Engine.IO over WebTransport",
        ),
    };
    let error = Error::new(kind, message).with_source(violation);
    (error.reason(), Some(error))
}

/// Describes the end of a session.
fn ended(end: SessionEnd, secrets: impl FnOnce() -> Secrets) -> Ended {
    let (code, reason): (u64, Bytes) = match end {
        SessionEnd::Closed(code, reason) => (code.into(), reason.into()),
        SessionEnd::Lost(ConnectionError::ApplicationClosed(close)) => {
            let code = close.error_code.into_inner();
            let of_session = web_transport_proto::error_from_http3(code);
            (of_session.map_or(code, u64::from), close.reason)
        }
        SessionEnd::Lost(ConnectionError::ConnectionClosed(close)) => {
            (u64::from(close.error_code), close.reason)
        }
        SessionEnd::Lost(lost) => {
            let message = "the connection of the WebTransport session broke: the server was killed, or a device on the \
                           way gave up; connect again";
            let error = Error::new(ErrorKind::Transport, message).with_source(lost);
            return (error.reason(), Some(error));
        }
        SessionEnd::Stopped => {
            let message = "the server takes no more data of the WebTransport session; see its log";
            let error = Error::new(ErrorKind::Transport, message);
            return (error.reason(), Some(error));
        }
        SessionEnd::Broken => {
            let message = "the server did not keep to the rules of WebTransport; see its log";
            let error = Error::new(ErrorKind::Protocol, message);
            return (DisconnectReason::TransportError, Some(error));
        }
    };
    if matches!(code, 0 | NO_ERROR) {
        return (DisconnectReason::TransportClose, None);
    }
    let secrets = secrets();
    let status = u16::try_from(code).ok();
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    // engineio-webtransport closes a session that the connect handler refuses with the status of the refusal.
    if let Some(status) = status.filter(|status| !status.is_success()) {
        let what = "the request for a WebTransport session";
        let error = Error::refused_with(&what, &secrets, head(status), reason);
        return (error.reason(), Some(error));
    }
    let reason = match &*reason {
        [] => String::new(),
        reason => format!(", {}", secrets.excerpt(reason)),
    };
    let message = format!(
        "the server closed the WebTransport session with code {code}{reason}; see its log for the reason"
    );
    let error = Error::new(ErrorKind::Transport, message);
    (DisconnectReason::TransportClose, Some(error))
}

/// The two directions of the stream.
pub(super) struct Stream {
    pub(super) send: SendStream,
    pub(super) recv: RecvStream,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.recv), cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.send).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.send).poll_shutdown(cx)
    }
}
