//! A stream of HTTP/2 as the connection of a WebSocket.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::link::buffers::{self, BUFFER, LARGE};
use crate::link::stream::poll_capacity;

/// The part of a large frame of HTTP/2 that is handed out first, in bytes. It has the head of the WebSocket's frame, whose
/// payload then is read to where it stays instead of being copied there.
const BEGINNING: usize = 256;

/// The bytes of a WebSocket that enters at another node.
#[derive(Debug)]
pub(super) struct StreamIo {
    to_node: SendStream<Bytes>,
    from_node: RecvStream,
    /// The rest of the last frame.
    unread: Bytes,
}

impl StreamIo {
    pub(super) const fn new(to_node: SendStream<Bytes>, from_node: RecvStream) -> Self {
        Self {
            to_node,
            from_node,
            unread: Bytes::new(),
        }
    }
}

/// Copies the first bytes of all slices together, `len` of them.
fn gather(bufs: &[IoSlice<'_>], len: usize) -> Bytes {
    let is_large = len >= LARGE;
    let mut data = match is_large {
        true => buffers::take(),
        false => vec![0; len],
    };
    let mut filled = 0;
    for buf in bufs {
        let part = buf.len().min(len - filled);
        data[filled..filled + part].copy_from_slice(&buf[..part]);
        filled += part;
    }
    match is_large {
        true => buffers::freeze(data, len),
        false => data.into(),
    }
}

impl AsyncRead for StreamIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut most = usize::MAX;
        while this.unread.is_empty() {
            // Even an empty slice would keep the buffer of the connection alive.
            this.unread = Bytes::new();
            match ready!(this.from_node.poll_data(cx)) {
                Some(Ok(data)) => {
                    if data.len() >= LARGE {
                        most = BEGINNING;
                    }
                    this.unread = data;
                }
                None => return Poll::Ready(Ok(())),
                // The other node dropped the stream, because the client went away.
                Some(Err(error)) if error.reason() == Some(Reason::CANCEL) => {
                    return Poll::Ready(Ok(()));
                }
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        let len = buf.remaining().min(this.unread.len()).min(most);
        buf.put_slice(&this.unread[..len]);
        this.unread.advance(len);
        if this.unread.is_empty() {
            this.unread = Bytes::new();
        }
        let _ = this.from_node.flow_control().release_capacity(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for StreamIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    /// Writes all slices as one frame of HTTP/2, as far as there is room.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = &mut self.get_mut().to_node;
        let len = bufs.iter().map(|buf| buf.len()).sum::<usize>();
        let len = len.min(BUFFER);
        if len == 0 {
            return Poll::Ready(Ok(0));
        }
        let room = match ready!(poll_capacity(stream, len, cx)) {
            Some(room) => room.min(len),
            None => return Poll::Ready(Err(ErrorKind::BrokenPipe.into())),
        };
        let sent = stream.send_data(gather(bufs, room), false);
        Poll::Ready(sent.map(|()| room).map_err(io::Error::other))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The task of the connection writes.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = self.get_mut().to_node.send_data(Bytes::new(), true);
        Poll::Ready(ended.map_err(io::Error::other))
    }
}
