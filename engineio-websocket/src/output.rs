//! Encoded frames that are on their way to the peer.

use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use engineio_core::Frame;
use tokio::io::AsyncWrite;

use crate::mask;
use crate::role::Role;

/// Frames gather up to this size before they are written, so that a batch is one system call. A multiple of the size of
/// a mask key, since a large payload is masked piece by piece.
pub(crate) const WRITE_BUFFER: usize = 64 * 1024;

/// Payloads from this size on are not copied among the others: a server writes them from where they are, a client masks
/// as much at once as the buffer has room for.
const WRITE_IN_PLACE: usize = 16 * 1024;

/// The first byte of a message that is one frame: the opcode, and the bit of the last frame.
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;

thread_local! {
    static WRITE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Encodes frames of a server and has `write` write them, all together and outside of the task of their connection.
/// `write` returns how many of the bytes it has written, and is not called if there are no frames.
///
/// Returns the bytes that were not written, which must go first when the task of the connection writes again; see
/// [`WebSocket::resume`](crate::WebSocket::resume).
///
/// ```
/// use engineio_core::Frame;
///
/// let frames = [Frame::text("4a"), Frame::text("4b")];
/// let rest = engineio_websocket::write_frames(frames, |bytes| {
///     assert_eq!(bytes, b"\x81\x024a\x81\x024b");
///     5 // The connection takes no more.
/// });
/// assert_eq!(rest, b"\x024b");
/// ```
#[must_use = "what follows a frame that was written in part is lost without the rest of it"]
pub fn write_frames(
    frames: impl IntoIterator<Item = Frame>,
    write: impl FnOnce(&[u8]) -> usize,
) -> Vec<u8> {
    let mut output = Output::new(Role::Server);
    for frame in frames {
        output.queue_frame(frame);
    }
    output.copy_tail(usize::MAX);
    if output.bytes.is_empty() {
        return Vec::new();
    }
    let written = write(&output.bytes);
    let rest = output.bytes[written..].to_vec();
    output.give_back();
    rest
}

pub(crate) struct Output {
    role: Role,
    /// Encoded frames, the first `written` bytes of which are on their way; borrowed from the thread while there are any.
    bytes: Vec<u8>,
    written: usize,
    /// The rest of a large payload, which follows `bytes`, and is not masked yet.
    tail: Bytes,
    /// The key with which a client masks `tail`.
    key: [u8; mask::KEY],
    /// The reason why a frame got no mask key. Nothing can be sent after it.
    failed: Option<io::Error>,
}

impl Output {
    pub(crate) const fn new(role: Role) -> Self {
        Self {
            role,
            bytes: Vec::new(),
            written: 0,
            tail: Bytes::new(),
            key: [0; mask::KEY],
            failed: None,
        }
    }

    /// Returns the number of bytes that wait to be written.
    pub(crate) const fn len(&self) -> usize {
        self.bytes.len() - self.written + self.tail.len()
    }

    /// Encodes a frame behind the queued ones.
    pub(crate) fn queue(&mut self, first: u8, payload: Bytes) {
        if self.failed.is_some() {
            return;
        }
        let key = match self.role {
            Role::Server => None,
            Role::Client => match mask::draw_key() {
                Ok(key) => Some(key),
                Err(error) => {
                    self.failed = Some(error);
                    return;
                }
            },
        };
        self.begin();
        let masked = if key.is_some() { 0x80 } else { 0 };
        self.bytes.push(first);
        match payload.len() {
            len @ 0..126 => self.bytes.push(masked | len as u8),
            len @ 126..65_536 => {
                self.bytes.push(masked | 126);
                self.bytes.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                self.bytes.push(masked | 127);
                self.bytes.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        if let Some(key) = key {
            self.bytes.extend_from_slice(&key);
            self.key = key;
        }
        self.push(payload);
    }

    /// Queues a header and a payload that are encoded already. For a server, which masks nothing.
    pub(crate) fn queue_encoded(&mut self, header: &[u8], payload: Bytes) {
        self.begin();
        self.bytes.extend_from_slice(header);
        self.push(payload);
    }

    /// Encodes a frame of the protocol behind what is queued.
    #[inline]
    pub(crate) fn queue_frame(&mut self, frame: Frame) {
        match frame {
            Frame::Text(text) => self.queue(TEXT, text.into_bytes()),
            Frame::Binary(bytes) => self.queue(BINARY, bytes),
        }
    }

    /// Queues the rest of what was written in part, ahead of what is queued.
    pub(crate) fn queue_first(&mut self, rest: &[u8]) {
        self.begin();
        self.bytes
            .splice(self.written..self.written, rest.iter().copied());
    }

    /// Makes the buffer ready for the head of a frame.
    #[inline(always)]
    fn begin(&mut self) {
        if self.bytes.capacity() == 0 {
            self.bytes = WRITE.take();
        }
        // A connection that always takes a part and never all would leave everything here that was ever written.
        if self.written >= WRITE_BUFFER || !self.tail.is_empty() {
            self.bytes.drain(..self.written);
            self.written = 0;
            self.copy_tail(usize::MAX);
        }
    }

    /// Queues a payload behind its head.
    #[inline(always)]
    fn push(&mut self, payload: Bytes) {
        if payload.len() < WRITE_IN_PLACE {
            self.copy(&payload);
            return;
        }
        self.tail = payload;
        if self.role == Role::Client {
            self.copy_tail(WRITE_BUFFER.saturating_sub(self.bytes.len()) / mask::KEY * mask::KEY);
        }
    }

    /// Copies a part of a payload into the buffer, masked if this is a client.
    fn copy(&mut self, payload: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        if self.role == Role::Client {
            mask::apply(&mut self.bytes[start..], self.key);
        }
    }

    /// Moves up to `len` bytes of the large payload into the buffer.
    fn copy_tail(&mut self, len: usize) {
        let part = self.tail.split_to(len.min(self.tail.len()));
        self.copy(&part);
        if self.tail.is_empty() {
            // An empty slice would keep the message alive.
            self.tail = Bytes::new();
        }
    }

    /// Hands everything that is encoded to the stream, and notes in `unflushed` that the stream may hold some of it.
    pub(crate) fn poll_drain<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        unflushed: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.len() > 0 {
            if self.written == self.bytes.len() && self.role == Role::Client {
                self.bytes.clear();
                self.written = 0;
                self.copy_tail(WRITE_BUFFER);
            }
            let head = &self.bytes[self.written..];
            let io = Pin::new(&mut *io);
            let written = ready!(match self.role {
                Role::Server if !self.tail.is_empty() => {
                    io.poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(&self.tail)])
                }
                _ => io.poll_write(cx, head),
            })?;
            if written == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            *unflushed = true;
            let of_head = written.min(head.len());
            self.written += of_head;
            self.tail.advance(written - of_head);
        }
        self.give_back();
        self.tail = Bytes::new();
        match self.failed.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Returns the buffer, all of which was written, to the thread.
    #[inline]
    fn give_back(&mut self) {
        if self.bytes.capacity() > 0 {
            self.bytes.clear();
            self.written = 0;
            // Large payloads that had to be copied leave a large buffer behind, which is not kept.
            let bytes = std::mem::take(&mut self.bytes);
            if bytes.capacity() <= 2 * WRITE_BUFFER {
                WRITE.set(bytes);
            }
        }
    }

    /// Returns how many bytes of memory the connection holds.
    #[cfg(test)]
    pub(crate) const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}
