//! Received bytes that are not parsed yet.

use std::cell::Cell;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

/// The maximum number of bytes read at once: a message of 64 KiB and its head. One buffer of this size belongs to each thread.
pub(crate) const READ_BUFFER: usize = 65 * 1024;

/// The smallest payload that is read into memory of its own when it did not come whole. The message gets that memory.
const READ_IN_PLACE: usize = 16 * 1024;

thread_local! {
    /// The buffer that a connection read into last. It is in the processor's cache, where a connection's own would not be, and it
    /// stays initialized, so that no read has to fill it with zeroes.
    static READ: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The bytes that a connection has read and not parsed.
///
/// As long as it parses, it holds the buffer of the thread. A connection that waits holds exactly the beginning of a
/// frame, or nothing.
pub(crate) struct Input {
    /// The thread's buffer, or the beginning of a frame. The unparsed part is `start..end`.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// The part of a large frame's payload that has arrived. While there is one, `bytes` is empty.
    large: Vec<u8>,
}

impl Input {
    pub(crate) const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            end: 0,
            large: Vec::new(),
        }
    }

    /// Returns the bytes after the head of the frame, or from the head on if it is incomplete.
    #[inline]
    pub(crate) fn unparsed(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Advances past bytes that were parsed.
    pub(crate) const fn advance(&mut self, len: usize) {
        self.start += len;
    }

    /// Returns how many bytes of the payload have arrived, together with the frames behind it.
    pub(crate) const fn payload_len(&self) -> usize {
        self.large.len() + self.end - self.start
    }

    /// Returns whether a payload is being read into memory of its own.
    pub(crate) const fn is_large(&self) -> bool {
        self.large.capacity() > 0
    }

    /// Takes a payload that was read into memory of its own.
    pub(crate) fn take_large(&mut self) -> Option<Vec<u8>> {
        self.is_large().then(|| std::mem::take(&mut self.large))
    }

    /// Takes a payload that is complete, to be unmasked in place.
    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> &mut [u8] {
        let start = self.start;
        self.start += len;
        &mut self.bytes[start..self.start]
    }

    /// Skips a payload that is complete.
    pub(crate) fn skip(&mut self, len: usize) {
        if self.take_large().is_none() {
            self.start += len;
        }
    }

    /// Adds bytes that were read together with the handshake.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let mut all = self.unparsed().to_vec();
        all.extend_from_slice(bytes);
        self.keep(all);
    }

    /// Reads available bytes; `len` is the length of the payload if the head of the frame is parsed. Returns 0 at the end of
    /// the stream.
    ///
    /// While it is pending, the connection holds no more memory than the part of the frame that has arrived.
    pub(crate) fn poll_fill<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        len: Option<usize>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Some(len) = len
            && (self.is_large() || len >= READ_IN_PLACE)
        {
            return self.poll_fill_large(io, len, cx);
        }
        self.borrow();
        let mut read = ReadBuf::new(&mut self.bytes[self.end..]);
        let outcome = Pin::new(io).poll_read(cx, &mut read);
        let len = read.filled().len();
        self.end += len;
        // Pending, broken, or at the end.
        if len == 0 {
            self.give_back();
        }
        outcome.map_ok(|()| len)
    }

    /// Reads to the end of the payload and no farther, so that the message is as large as its memory.
    fn poll_fill_large<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        len: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if !self.is_large() {
            self.large = Vec::with_capacity(len.min(READ_BUFFER));
            self.large
                .extend_from_slice(&self.bytes[self.start..self.end]);
            self.start = self.end;
            self.give_back();
        }
        let missing = len - self.large.len();
        if self.large.len() == self.large.capacity() {
            // A peer may announce more than it sends, so the memory grows with the bytes that arrive.
            let step = self.large.len().max(READ_BUFFER);
            self.large.reserve_exact(missing.min(step));
        }
        let room = missing.min(self.large.capacity() - self.large.len());
        let mut place = (&mut self.large).limit(room);
        pin!(io.read_buf(&mut place)).poll(cx)
    }

    /// Moves the unparsed bytes to the beginning of the thread's buffer, to read behind them.
    fn borrow(&mut self) {
        if self.bytes.len() == READ_BUFFER {
            // It is held already. What is left is the beginning of a frame that is not large.
            self.bytes.copy_within(self.start..self.end, 0);
        } else {
            let mut buffer = READ.take();
            if buffer.is_empty() {
                buffer = vec![0; READ_BUFFER];
            }
            let unparsed = &self.bytes[self.start..self.end];
            buffer[..unparsed.len()].copy_from_slice(unparsed);
            self.bytes = buffer;
        }
        self.end -= self.start;
        self.start = 0;
    }

    /// Returns the buffer to the thread, and keeps a copy of the unparsed bytes.
    fn give_back(&mut self) {
        let unparsed = self.unparsed().to_vec();
        let buffer = self.keep(unparsed);
        if buffer.len() == READ_BUFFER {
            READ.set(buffer);
        }
    }

    fn keep(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        self.start = 0;
        self.end = bytes.len();
        std::mem::replace(&mut self.bytes, bytes)
    }

    /// Returns how many bytes of memory the connection holds.
    #[cfg(test)]
    pub(crate) const fn capacity(&self) -> usize {
        self.bytes.capacity() + self.large.capacity()
    }
}

impl Drop for Input {
    /// Returns the buffer to the thread. A connection whose last read brought its end still holds it, and the next one would
    /// have to fill a new one with zeroes.
    fn drop(&mut self) {
        if self.bytes.len() == READ_BUFFER {
            let buffer = std::mem::take(&mut self.bytes);
            // A thread that ends has none any more.
            let _ = READ.try_with(|read| read.set(buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::{Input, READ, READ_BUFFER};

    #[test]
    fn a_connection_that_ends_within_a_read_leaves_its_buffer_to_the_thread() {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut input = Input::new();
        let filled = input.poll_fill(&mut &b"the last frame"[..], None, cx);
        assert!(filled.is_ready());
        drop(input);
        assert_eq!(READ.take().len(), READ_BUFFER);
    }
}
