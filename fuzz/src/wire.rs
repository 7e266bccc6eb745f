//! A connection in memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One end of a connection: bytes that come in parts, and what was written.
#[derive(Debug)]
pub struct Wire<'a> {
    unread: &'a [u8],
    /// The sizes of the parts, over and over; without any, all comes at once.
    parts: &'a [u8],
    part: usize,
    /// The next part is still on its way.
    waits: bool,
    pub written: Vec<u8>,
}

impl<'a> Wire<'a> {
    #[must_use]
    pub const fn new(unread: &'a [u8], parts: &'a [u8]) -> Self {
        Self {
            unread,
            parts,
            part: 0,
            waits: false,
            written: Vec::new(),
        }
    }
}

impl AsyncRead for Wire<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if std::mem::take(&mut this.waits) {
            return Poll::Pending;
        }
        let mut len = this.unread.len().min(buffer.remaining());
        if !this.parts.is_empty() {
            len = len.min(usize::from(this.parts[this.part % this.parts.len()]).max(1));
            this.part += 1;
            this.waits = true;
        }
        let (part, rest) = this.unread.split_at(len);
        buffer.put_slice(part);
        this.unread = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
