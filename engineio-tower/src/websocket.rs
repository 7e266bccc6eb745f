//! Frames over a byte stream. The only module that knows tungstenite.

use std::io::{self, ErrorKind, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use engineio_core::{DisconnectReason, Frame};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{self, CloseFrame};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error, Message};

/// tungstenite zero-fills this much before every read and keeps it while idle; its default of 128 KiB would cost as
/// much memory a connection.
const READ_BUFFER: usize = 4 * 1024;

/// Frames gather up to this size before they are written, so that a batch is one system call.
const WRITE_BUFFER: usize = 16 * 1024;

/// A WebSocket of the server's side.
///
/// It drives tungstenite's context directly, with the waker of the current poll. tokio-tungstenite's own stream keeps
/// two shared waker proxies for each connection to make it a `Stream` and a `Sink`, which one task does not need.
pub(crate) struct WebSocket<IO> {
    io: IO,
    context: WebSocketContext,
    /// Something was written that is not flushed.
    dirty: bool,
    /// The code that the close frame must carry because of what the peer did.
    fault: Option<u16>,
}

/// What a read brings.
pub(crate) enum Received {
    Frame(Frame),
    /// The peer closed, or the connection failed.
    Closed(DisconnectReason),
}

impl<IO: AsyncRead + AsyncWrite + Unpin> WebSocket<IO> {
    pub(crate) fn new(io: IO, max_payload: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            // The outbox is the bound; this one only must not be in the way of a single large message.
            .max_write_buffer_size(usize::MAX)
            .max_message_size(Some(max_payload))
            .max_frame_size(Some(max_payload));
        Self {
            io,
            context: WebSocketContext::new(Role::Server, Some(config)),
            dirty: false,
            fault: None,
        }
    }

    /// The next frame. Pings of the WebSocket layer are answered on the way.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        loop {
            let mut stream = Stream {
                io: &mut self.io,
                cx,
            };
            let received = match self.context.read(&mut stream) {
                Ok(Message::Text(text)) => Received::Frame(Frame::text(text)),
                Ok(Message::Binary(bytes)) => Received::Frame(Frame::Binary(bytes)),
                // The answer is queued; the next read or flush sends it.
                Ok(Message::Ping(_)) => {
                    self.dirty = true;
                    continue;
                }
                Ok(Message::Pong(_) | Message::Frame(_)) => continue,
                Ok(Message::Close(_)) => {
                    self.dirty = true;
                    Received::Closed(DisconnectReason::TransportClose)
                }
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    return Poll::Pending;
                }
                Err(error) => {
                    let (reason, fault) = classify(&error);
                    self.fault = fault;
                    tracing::debug!(target: "engineio::websocket", %error, "the WebSocket ended");
                    Received::Closed(reason)
                }
            };
            return Poll::Ready(received);
        }
    }

    /// Puts a frame into the buffer, which is written when it is full.
    ///
    /// `Pending` says that the connection takes no more for now; the frame is kept all the same.
    pub(crate) fn poll_write(
        &mut self,
        frame: Frame,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let (bytes, kind) = match frame {
            Frame::Text(text) => (text.into_bytes(), Data::Text),
            Frame::Binary(bytes) => (bytes, Data::Binary),
        };
        // A raw frame: the text is known to be UTF-8 and is not checked again.
        let frame = frame::Frame::message(bytes, OpCode::Data(kind), true);
        self.dirty = true;
        let mut stream = Stream {
            io: &mut self.io,
            cx,
        };
        pending(self.context.write(&mut stream, Message::Frame(frame)))
    }

    /// Writes out what is buffered.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.dirty {
            return Poll::Ready(Ok(()));
        }
        let mut stream = Stream {
            io: &mut self.io,
            cx,
        };
        let flushed = pending(self.context.flush(&mut stream));
        self.dirty = flushed.is_pending();
        flushed
    }

    /// Queues the close frame; the peer's own fault, if any, decides its code.
    pub(crate) fn close(&mut self, code: u16, cx: &mut Context<'_>) {
        let frame = CloseFrame {
            code: self.fault.unwrap_or(code).into(),
            reason: Default::default(),
        };
        let mut stream = Stream {
            io: &mut self.io,
            cx,
        };
        self.dirty = true;
        // The frame is queued even if it cannot be written yet; a broken connection is noticed by the flush.
        let _ = self.context.close(&mut stream, Some(frame));
    }

    /// Closes the connection below, so that the peer sees an end rather than a reset.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

fn pending(result: Result<(), Error>) -> Poll<Result<(), Error>> {
    match result {
        Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

/// Why the session ends, and the close code that tells the peer what it did wrong (RFC 6455 § 7.4.1).
fn classify(error: &Error) -> (DisconnectReason, Option<u16>) {
    use tokio_tungstenite::tungstenite::error::ProtocolError;
    match error {
        Error::Capacity(_) => (DisconnectReason::PayloadTooLarge, Some(1009)),
        Error::Utf8(_) => (DisconnectReason::TransportError, Some(1007)),
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Io(_)
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            (DisconnectReason::TransportClose, None)
        }
        _ => (DisconnectReason::TransportError, Some(1002)),
    }
}

/// An async stream as tungstenite wants it: what would wait is `WouldBlock`, and the task is woken.
struct Stream<'a, 'b, IO> {
    io: &'a mut IO,
    cx: &'a mut Context<'b>,
}

fn ready<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}

impl<IO: AsyncRead + Unpin> Read for Stream<'_, '_, IO> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(buf);
        ready(Pin::new(&mut *self.io).poll_read(self.cx, &mut buf))?;
        Ok(buf.filled().len())
    }
}

impl<IO: AsyncWrite + Unpin> Write for Stream<'_, '_, IO> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        ready(Pin::new(&mut *self.io).poll_write(self.cx, buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        ready(Pin::new(&mut *self.io).poll_flush(self.cx))
    }
}
