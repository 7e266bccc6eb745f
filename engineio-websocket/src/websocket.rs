//! The frames of one connection, in both directions.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use engineio_core::{DisconnectReason, Frame};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::input::{Input, READ_BUFFER};
use crate::output::{Output, WRITE_BUFFER};
use crate::parser::{COMPRESSED, Compressed, Parsed, Parser};
use crate::role::Role;
use crate::{End, Violation, deflate};

/// A WebSocket after its handshake, over the bytes of `IO`.
///
/// Poll-based, so that one task can read, handle and write in turn. It answers pings and close frames by itself: the
/// answers are queued, and [`poll_flush`](Self::poll_flush) sends them.
///
/// # Examples
///
/// ```
/// use std::future::poll_fn;
///
/// use engineio_core::Frame;
/// use engineio_websocket::{Received, Role, WebSocket};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let (near, far) = tokio::io::duplex(1_024);
/// let mut client = WebSocket::new(near, Role::Client, 1_000_000, false);
/// let mut server = WebSocket::new(far, Role::Server, 1_000_000, false);
///
/// client.write(Frame::text("hello"));
/// poll_fn(|cx| client.poll_flush(cx)).await?;
/// let received = poll_fn(|cx| server.poll_read(cx)).await;
/// assert!(matches!(received, Some(Received::Frame(frame)) if frame == Frame::text("hello")));
/// # Ok(())
/// # }
/// ```
pub struct WebSocket<IO> {
    io: IO,
    parser: Parser,
    input: Input,
    output: Output,
    /// The latest ping that is to be answered; earlier ones need no answer then (RFC 6455 § 5.5.3).
    pong: Option<Bytes>,
    /// Something was written that the stream may still hold.
    unflushed: bool,
    /// A close frame was queued; nothing may follow it (RFC 6455 § 5.5.1).
    closing: bool,
    /// Nothing more is to be read.
    ended: Option<DisconnectReason>,
    /// The cause of that, until it is asked for.
    end: Option<Box<End>>,
    /// The code that the close frame must carry because of what the peer did.
    fault: Option<u16>,
}

/// The outcome of a read.
#[derive(Debug)]
pub enum Received {
    /// A whole message.
    Frame(Frame),
    /// The peer closed, or the connection failed; [`WebSocket::take_end`] has the cause.
    Closed(DisconnectReason),
}

impl<IO: fmt::Debug> fmt::Debug for WebSocket<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("io", &self.io)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> WebSocket<IO> {
    /// Takes over a connection whose handshake is done. Messages may have up to `max_payload` bytes, after
    /// decompression; with `deflate`, which the handshake has agreed on, either side may compress them.
    pub const fn new(io: IO, role: Role, max_payload: usize, deflate: bool) -> Self {
        Self {
            io,
            parser: Parser::new(role, max_payload, deflate),
            input: Input::new(),
            output: Output::new(role),
            pong: None,
            unflushed: false,
            closing: false,
            ended: None,
            end: None,
            fault: None,
        }
    }

    /// Adds bytes that were read together with the handshake, before the first read. They are copied.
    #[must_use]
    pub fn with_early(mut self, bytes: &[u8]) -> Self {
        self.input.push(bytes);
        self
    }

    /// Reads the next frame; `None` if much was read that completed none: pings, pongs and parts of messages.
    ///
    /// Pings and close frames are answered by the next flush. A caller that reads in a loop and limits its bytes per
    /// turn should count a `None` as 128 KiB.
    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Received>> {
        let mut read = 0;
        self.parser.start_turn();
        loop {
            let compressed = match self.closing {
                false => Compressed::Decompress,
                true => Compressed::Drop,
            };
            if let Some(received) = self.parse(compressed) {
                return Poll::Ready(Some(received));
            }
            // So that this reads 128 KiB at most; the rest of a large frame is bounded, and is read in one go.
            let is_much = read >= READ_BUFFER / 2 && !self.input.is_large();
            if is_much || self.parser.is_turn_over() {
                return Poll::Ready(None);
            }
            let announced = self.parser.announced();
            match ready!(self.input.poll_fill(&mut self.io, announced, cx)) {
                Ok(0) => self.end(End::Eof),
                Ok(len) => read += len,
                Err(error) => self.end(End::of_read(error)),
            }
        }
    }

    /// Returns the next frame of those that were already read, unless it is compressed. It reads and decompresses
    /// nothing and calls no code of the stream, so it can be used under a lock.
    ///
    /// After many frames without a message there may be more, which [`poll_read`](Self::poll_read) returns.
    pub fn parse_plain(&mut self) -> Option<Received> {
        self.parser.start_turn();
        self.parse(Compressed::Leave)
    }

    /// Returns the compressed length of the message that the last [`poll_read`](Self::poll_read) returned, in bytes,
    /// once; 0 if it was not compressed. It may be far larger than the message, and is then a measure of the work.
    pub const fn take_compressed_len(&mut self) -> usize {
        self.parser.take_decompressed()
    }

    /// Returns the cause for which the WebSocket ended, once.
    pub fn take_end(&mut self) -> Option<End> {
        self.end.take().map(|end| *end)
    }

    fn parse(&mut self, compressed: Compressed) -> Option<Received> {
        loop {
            if let Some(reason) = self.ended {
                return Some(Received::Closed(reason));
            }
            // As after every batch, and before every read.
            if self.input.unparsed().is_empty() && self.parser.announced().is_none() {
                return None;
            }
            if let Some(short) = self.parser.next_short(&mut self.input) {
                match short {
                    Ok(frame) => return Some(Received::Frame(frame)),
                    Err(violation) => self.violated(violation),
                }
                continue;
            }
            match self.parser.next(&mut self.input, compressed) {
                Ok(Some(Parsed::Message(frame))) => return Some(Received::Frame(frame)),
                Ok(Some(Parsed::Ping(data))) => self.pong = Some(data),
                Ok(Some(Parsed::Pong)) => {}
                Ok(Some(Parsed::Close(close))) => {
                    self.queue_close(close.as_ref().map(|close| close.code));
                    self.end(End::Close(close));
                }
                Ok(None) => return None,
                Err(violation) => self.violated(violation),
            }
        }
    }

    fn violated(&mut self, violation: Violation) {
        self.fault = Some(violation.close_code());
        self.end(End::Violation(violation));
    }

    fn end(&mut self, end: End) {
        self.ended = Some(end.reason());
        self.end = Some(Box::new(end));
    }

    /// Encodes a frame behind the queued ones. The caller must check for room first.
    pub fn write(&mut self, frame: Frame) {
        if self.closing {
            return;
        }
        self.queue_pong();
        self.output.queue_frame(frame);
    }

    /// Queues the rest of frames that [`write_frames`](crate::write_frames) has written in part, ahead of everything else.
    pub fn resume(&mut self, rest: &[u8]) {
        self.output.queue_first(rest);
    }

    /// Compresses a frame, if that makes it smaller, and encodes it. Only for a WebSocket with `deflate`.
    pub fn write_compressed(&mut self, frame: Frame) {
        if self.closing {
            return;
        }
        let Some(compressed) = deflate::compress(frame.as_bytes()) else {
            return self.write(frame);
        };
        self.queue_pong();
        let first = match frame {
            Frame::Text(_) => 0x81,
            Frame::Binary(_) => 0x82,
        };
        self.output.queue(first | COMPRESSED, compressed);
    }

    /// Returns whether less than 64 KiB wait to be written.
    pub const fn has_room(&self) -> bool {
        self.unwritten() < WRITE_BUFFER
    }

    /// Returns the number of bytes that wait to be written.
    pub const fn unwritten(&self) -> usize {
        self.output.len()
    }

    /// Waits until there is room in the buffer; writes if there is none.
    ///
    /// # Errors
    ///
    /// Fails if the connection is broken, or if the system gives no randomness for a mask.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_room() {
            return Poll::Ready(Ok(()));
        }
        self.poll_drain(cx)
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output
            .poll_drain(&mut self.io, &mut self.unflushed, cx)
    }

    /// Writes everything that is queued.
    ///
    /// # Errors
    ///
    /// Fails if the connection is broken, or if the system gives no randomness for a mask.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.queue_pong();
            ready!(self.poll_drain(cx))?;
            // A pong that had to wait finds an empty buffer now.
            if self.pong.is_none() {
                break;
            }
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Queues a close frame, unless there was one. The peer's own violation, if any, decides its code.
    pub fn close(&mut self, code: u16) {
        self.queue_close(Some(self.fault.unwrap_or(code)));
    }

    /// Queues the answer to the last ping, ahead of later frames. While the peer takes nothing only the last ping is
    /// remembered, because a flood of pings would fill the buffer otherwise.
    fn queue_pong(&mut self) {
        if self.output.len() > 0 {
            return;
        }
        if let Some(data) = self.pong.take()
            && !self.closing
        {
            self.output.queue(0x8a, data);
        }
    }

    fn queue_close(&mut self, code: Option<u16>) {
        if !std::mem::replace(&mut self.closing, true) {
            let code = code.map(u16::to_be_bytes);
            let payload = code.map_or_else(Bytes::new, |code| Bytes::copy_from_slice(&code));
            self.output.queue(0x88, payload);
        }
    }

    /// Closes the connection below, so that the peer sees an end rather than a reset.
    ///
    /// # Errors
    ///
    /// Fails if the connection is broken.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    /// Returns the memory that the connection holds for reading and writing, in bytes.
    #[cfg(test)]
    const fn capacities(&self) -> (usize, usize) {
        (self.input.capacity(), self.output.capacity())
    }
}

#[cfg(test)]
mod tests;
