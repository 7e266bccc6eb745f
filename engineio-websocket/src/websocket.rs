//! Frames over a byte stream: the server's side of RFC 6455, and permessage-deflate (RFC 7692) where it was agreed on.
//!
//! Written for many connections that are mostly idle. A connection that waits holds no buffer to read into, and none to
//! write from: bytes are read into a buffer of the thread and written out of another one, and a connection keeps only
//! what is left when it must wait. (tungstenite, which we used before, keeps at least its read buffer in every
//! connection, and fills all of it with zeroes before each read.)

use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use engineio_core::{DisconnectReason, Frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::deflate;
use crate::parser::{PACKED, Packed, Parsed, Parser};

/// How much is read at once. One buffer of this size belongs to each thread.
const READ_BUFFER: usize = 64 * 1024;

/// When a frame lacks more than this, it is read to its place, without a copy.
const READ_IN_PLACE: usize = 4 * 1024;

/// A buffer for received bytes up to this size is kept, by the thread, when a connection has parsed all of them.
const KEPT: usize = 1024;

/// Frames gather up to this size before they are written, so that a batch is one system call.
const WRITE_BUFFER: usize = 64 * 1024;

/// Payloads from this size on are written from where they are, not copied among the others.
const WRITE_IN_PLACE: usize = 16 * 1024;

thread_local! {
    static READ: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// What a connection parsed from last, for the next one that has something to parse. What it read is gone by then as
    /// a rule, so that this costs no allocation, and it is in the processor's cache, where a connection's own would not be.
    static PARSE: Cell<Option<BytesMut>> = const { Cell::new(None) };
    static WRITE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A WebSocket of the server's side.
pub struct WebSocket<IO> {
    io: IO,
    parser: Parser,
    /// What was read and is not parsed.
    raw: BytesMut,
    /// The buffer behind `raw` is too large to be kept, and not given to the thread.
    large: bool,
    /// Encoded frames, the first `written` bytes of which are on their way; borrowed from the thread while there are any.
    out: Vec<u8>,
    written: usize,
    /// A large payload, which follows `out`.
    tail: Bytes,
    /// The latest ping that is to be answered; earlier ones need no answer then (RFC 6455 § 5.5.3).
    pong: Option<Bytes>,
    /// Something was written that the stream may still hold.
    unflushed: bool,
    /// Our close frame was queued; nothing may follow it.
    closing: bool,
    /// Nothing more is to be read.
    ended: Option<DisconnectReason>,
    /// The code that the close frame must carry because of what the peer did.
    fault: Option<u16>,
}

/// What a read brings.
#[derive(Debug)]
pub enum Received {
    /// A whole message.
    Frame(Frame),
    /// The peer closed, or the connection failed.
    Closed(DisconnectReason),
}

impl<IO: std::fmt::Debug> std::fmt::Debug for WebSocket<IO> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSocket")
            .field("io", &self.io)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> WebSocket<IO> {
    /// With `deflate`, either side may compress messages.
    pub fn new(io: IO, max_payload: usize, deflate: bool) -> Self {
        Self {
            io,
            parser: Parser::new(max_payload, deflate),
            raw: BytesMut::new(),
            large: false,
            out: Vec::new(),
            written: 0,
            tail: Bytes::new(),
            pong: None,
            unflushed: false,
            closing: false,
            ended: None,
            fault: None,
        }
    }

    /// The next frame, or nothing if much was read that brought none: pings, pongs and parts of messages. Pings of the
    /// WebSocket layer are answered by the next flush.
    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Received>> {
        let mut read = 0;
        loop {
            let packed = match self.closing {
                false => Packed::Unpack,
                true => Packed::Drop,
            };
            if let Some(received) = self.parse(packed) {
                return Poll::Ready(Some(received));
            }
            // More than one buffer, since a message of 64 KiB just fills the first. The rest of a large frame is bounded,
            // and is read in one go.
            if read > READ_BUFFER && self.parser.missing(&self.raw) <= READ_IN_PLACE {
                return Poll::Ready(None);
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) => self.ended = Some(DisconnectReason::TransportClose),
                Ok(len) => read += len,
                Err(error) => {
                    tracing::debug!(target: "engineio::websocket", %error, "the WebSocket ended");
                    self.ended = Some(DisconnectReason::TransportClose);
                }
            }
        }
    }

    /// The next frame of those that were read already, without reading, and if it takes no time.
    pub fn parse_plain(&mut self) -> Option<Received> {
        self.parse(Packed::Leave)
    }

    fn parse(&mut self, packed: Packed) -> Option<Received> {
        loop {
            if let Some(reason) = self.ended {
                return Some(Received::Closed(reason));
            }
            match self.parser.next(&mut self.raw, packed) {
                Ok(Some(Parsed::Message(frame))) => return Some(Received::Frame(frame)),
                Ok(Some(Parsed::Ping(data))) => self.pong = Some(data),
                Ok(Some(Parsed::Pong)) => {}
                Ok(Some(Parsed::Close(code))) => {
                    self.queue_close(code);
                    self.ended = Some(DisconnectReason::TransportClose);
                }
                Ok(None) => return None,
                Err(fault) => {
                    tracing::debug!(target: "engineio::websocket", ?fault, "the WebSocket ended");
                    let (reason, code) = fault.outcome();
                    self.fault = Some(code);
                    self.ended = Some(reason);
                }
            }
        }
    }

    /// Reads what is there. Gives 0 at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let missing = self.parser.missing(&self.raw);
        if missing > READ_IN_PLACE {
            // What is announced is not trusted with memory all at once: it doubles as bytes come.
            let step = self.raw.len().max(READ_BUFFER);
            self.raw.reserve(missing.min(step));
            self.large = true;
            return pin!(self.io.read_buf(&mut self.raw)).poll(cx);
        }
        if self.raw.is_empty() {
            if std::mem::take(&mut self.large) {
                self.raw = BytesMut::new();
            }
            if let Some(shared) = PARSE.take() {
                self.raw = shared;
            }
        }
        let mut buffer = READ.take();
        if buffer.is_empty() {
            buffer.resize(READ_BUFFER, 0);
        }
        let mut read = ReadBuf::new(&mut buffer);
        let outcome = Pin::new(&mut self.io).poll_read(cx, &mut read);
        let bytes = read.filled();
        let len = bytes.len();
        self.raw.extend_from_slice(bytes);
        self.large |= self.raw.len() > KEPT;
        READ.set(buffer);
        if self.raw.is_empty() {
            PARSE.set(Some(std::mem::take(&mut self.raw)));
        }
        outcome.map_ok(|()| len)
    }

    /// Puts a frame into the buffer, which is to be written when it has no room any more.
    pub fn write(&mut self, frame: Frame) {
        if self.closing {
            return;
        }
        self.queue_pong();
        match frame {
            Frame::Text(text) => self.queue(0x81, text.into_bytes()),
            Frame::Binary(bytes) => self.queue(0x82, bytes),
        }
    }

    /// Does the same with a frame that is compressed, if that makes it smaller. This takes its time.
    pub fn write_packed(&mut self, frame: Frame) {
        if self.closing {
            return;
        }
        let Some(packed) = deflate::pack(frame.as_bytes()) else {
            return self.write(frame);
        };
        self.queue_pong();
        let first = match frame {
            Frame::Text(_) => 0x81,
            Frame::Binary(_) => 0x82,
        };
        self.queue(first | PACKED, packed);
    }

    /// Whether less than a buffer waits to be written.
    pub fn has_room(&self) -> bool {
        self.out.len() - self.written + self.tail.len() < WRITE_BUFFER
    }

    /// Ready while there is room in the buffer; writes if there is none.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_room() {
            return Poll::Ready(Ok(()));
        }
        self.poll_drain(cx)
    }

    /// Encodes a frame, without a mask, behind what is queued.
    fn queue(&mut self, first: u8, payload: Bytes) {
        if self.out.capacity() == 0 {
            self.out = WRITE.take();
        }
        // A connection that always takes a part and never all would leave everything here that was ever written.
        if self.written >= WRITE_BUFFER {
            self.out.drain(..self.written);
            self.written = 0;
        }
        if !self.tail.is_empty() {
            self.out.drain(..self.written);
            self.written = 0;
            self.out.extend_from_slice(&self.tail);
        }
        self.tail = Bytes::new();
        self.out.push(first);
        match payload.len() {
            len @ 0..126 => self.out.push(len as u8),
            len @ 126..65_536 => {
                self.out.push(126);
                self.out.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                self.out.push(127);
                self.out.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        if payload.len() < WRITE_IN_PLACE {
            self.out.extend_from_slice(&payload);
        } else {
            self.tail = payload;
        }
    }

    /// Hands everything that is encoded to the stream.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.out.len() || !self.tail.is_empty() {
            let head = &self.out[self.written..];
            let io = Pin::new(&mut self.io);
            let written = ready!(if self.tail.is_empty() {
                io.poll_write(cx, head)
            } else {
                io.poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(&self.tail)])
            })?;
            if written == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            let of_head = written.min(head.len());
            self.written += of_head;
            let _ = self.tail.split_to(written - of_head);
        }
        if self.out.capacity() > 0 {
            self.out.clear();
            self.written = 0;
            // A stream that is copied and not written in place leaves a large one behind.
            let out = std::mem::take(&mut self.out);
            if out.capacity() <= 2 * WRITE_BUFFER {
                WRITE.set(out);
            }
        }
        self.tail = Bytes::new();
        Poll::Ready(Ok(()))
    }

    /// Writes out what is buffered.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.queue_pong();
            ready!(self.poll_drain(cx))?;
            // One that had to wait for that finds an empty buffer now.
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

    /// Queues the close frame, unless there was one; the peer's own fault, if any, decides its code.
    pub fn close(&mut self, code: u16) {
        self.queue_close(Some(self.fault.unwrap_or(code)));
    }

    /// The answer to a ping comes before whatever is sent after it. Behind what the peer does not take only the last
    /// ping is remembered, or a flood of them would fill the buffer.
    fn queue_pong(&mut self) {
        if self.written < self.out.len() || !self.tail.is_empty() {
            return;
        }
        if let Some(data) = self.pong.take()
            && !self.closing
        {
            self.queue(0x8a, data);
        }
    }

    fn queue_close(&mut self, code: Option<u16>) {
        if !std::mem::replace(&mut self.closing, true) {
            let code = code.map(u16::to_be_bytes);
            let payload = code.map_or_else(Bytes::new, |code| Bytes::copy_from_slice(&code));
            self.queue(0x88, payload);
        }
    }

    /// Closes the connection below, so that the peer sees an end rather than a reset.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use bytes::Bytes;
    use engineio_core::Frame;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::{WRITE_BUFFER, WebSocket};

    #[tokio::test]
    async fn a_connection_that_never_takes_all_does_not_fill_memory() {
        let (mut peer, io) = tokio::io::duplex(1000);
        let mut socket = WebSocket::new(io, 1000, false);
        let cx = &mut Context::from_waker(Waker::noop());
        let mut taken = [0; 900];
        for _ in 0..10_000 {
            // Each round is a new turn of the task, as in life; a turn may not go on for ever.
            tokio::task::yield_now().await;
            while socket.poll_room(cx).is_ready() {
                let frame = Frame::Binary(Bytes::from_static(&[0; 500]));
                socket.write(frame);
            }
            let _ = socket.poll_flush(cx);
            peer.read_exact(&mut taken).await.unwrap();
            let capacity = socket.out.capacity();
            assert!(capacity <= 4 * WRITE_BUFFER, "{capacity} bytes");
        }
    }

    #[tokio::test]
    async fn a_connection_that_waits_holds_no_buffer() {
        let (mut peer, io) = tokio::io::duplex(1000);
        let mut socket = WebSocket::new(io, 1000, false);
        let cx = &mut Context::from_waker(Waker::noop());
        // A masked text frame, whole and then in two parts.
        let frame = [0x81, 0x82, 0, 0, 0, 0, b'4', b'a'];
        for part in [&frame[..], &frame[..3], &frame[3..]] {
            peer.write_all(part).await.unwrap();
            let received = socket.poll_read(cx);
            assert_eq!(received.is_ready(), part.ends_with(b"a"));
            assert!(socket.poll_read(cx).is_pending());
            assert_eq!(socket.raw.capacity() == 0, part.ends_with(b"a"));
        }
    }
}
