//! The bytes of an upgraded hyper connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
#[cfg(feature = "server")]
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

#[cfg(feature = "server")]
use crate::hosting::heads::Heads;
use crate::session::direct::TryWrite;

/// The number of bytes that a stream of HTTP/2 gets at a time. hyper copies them, and keeps up to three copies until the peer
/// opens a window, even after the stream has been dropped.
const PIECE: usize = 16 * 1024;

/// The plain TCP stream where it can be had, which saves two virtual calls an operation and lets Nagle's algorithm be
/// switched off: with it, the second of two small frames waits for the peer's delayed acknowledgement, some 40 ms.
#[derive(Debug)]
pub(crate) enum HyperIo {
    Tcp {
        read: OwnedReadHalf,
        /// Shared with the session, which writes while the task sleeps. `None` after the shutdown.
        write: Option<Arc<OwnedWriteHalf>>,
        /// The bytes that were read beyond the request head.
        early: Bytes,
        shutdown: Shutdown,
    },
    /// A stream of HTTP/2.
    Stream(TokioIo<Upgraded>),
    Any(TokioIo<Upgraded>),
}

/// The effect of a shutdown on a TCP stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shutdown {
    /// It ends the direction to the peer.
    AtOnce,
    /// It does so only if something is read after it. Otherwise the drop that follows says the same to the peer, and spares
    /// a system call.
    WithDrop,
    /// It has come, and the drop may follow.
    Waiting,
}

impl From<Upgraded> for HyperIo {
    fn from(upgraded: Upgraded) -> Self {
        let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => return Self::tcp(parts.io.into_inner(), parts.read_buf),
            Err(upgraded) => upgraded,
        };
        // axum's connections and those of `serve`.
        #[cfg(feature = "server")]
        let upgraded = match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
            Ok(parts) => return Self::tcp(parts.io.into_inner(), parts.read_buf),
            Err(upgraded) => upgraded,
        };
        #[cfg(feature = "server")]
        let upgraded = match auto::upgrade::downcast::<TokioIo<Heads<TcpStream>>>(upgraded) {
            Ok(parts) => {
                return Self::tcp(parts.io.into_inner().into_inner(), parts.read_buf);
            }
            Err(upgraded) => upgraded,
        };
        Self::Any(TokioIo::new(upgraded))
    }
}

impl HyperIo {
    /// Takes a stream of HTTP/2.
    pub(crate) fn stream(upgraded: Upgraded) -> Self {
        Self::Stream(TokioIo::new(upgraded))
    }

    fn tcp(stream: TcpStream, early: Bytes) -> Self {
        // A connection that is broken already shows that at the first read.
        let _ = stream.set_nodelay(true);
        // Even an empty slice keeps the 8 KiB alive into which hyper read the request.
        let early = if early.is_empty() {
            Bytes::new()
        } else {
            early
        };
        let (read, write) = stream.into_split();
        Self::Tcp {
            read,
            write: Some(Arc::new(write)),
            early,
            shutdown: Shutdown::AtOnce,
        }
    }

    /// Declares that it is dropped soon after it is shut down, unless it is read.
    pub(crate) const fn closes_with_shutdown(&mut self) {
        if let Self::Tcp { shutdown, .. } = self {
            *shutdown = Shutdown::WithDrop;
        }
    }

    /// Returns the writing half, if it can be shared.
    pub(crate) fn connection(&self) -> Option<Arc<dyn TryWrite>> {
        match self {
            Self::Tcp { write, .. } => {
                let write = write.clone()?;
                Some(write)
            }
            Self::Stream(_) | Self::Any(_) => None,
        }
    }
}

/// Writes by `try_write`, or waits until the connection takes more.
fn poll_write_with(
    write: Option<&OwnedWriteHalf>,
    cx: &mut Context<'_>,
    mut try_write: impl FnMut(&OwnedWriteHalf) -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    let Some(write) = write else {
        return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
    };
    loop {
        match try_write(write) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let connection: &TcpStream = write.as_ref();
                ready!(connection.poll_write_ready(cx))?;
            }
            written => return Poll::Ready(written),
        }
    }
}

impl AsyncRead for HyperIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp { early, .. } if !early.is_empty() => {
                let len = early.len().min(buf.remaining());
                buf.put_slice(&early[..len]);
                early.advance(len);
                if early.is_empty() {
                    // The last slice of hyper's buffer: let it go.
                    *early = Bytes::new();
                }
                Poll::Ready(Ok(()))
            }
            Self::Tcp {
                read,
                write,
                shutdown,
                ..
            } => {
                if *shutdown == Shutdown::Waiting {
                    *shutdown = Shutdown::AtOnce;
                    drop(write.take());
                }
                Pin::new(read).poll_read(cx, buf)
            }
            Self::Stream(io) | Self::Any(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for HyperIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp { write, .. } => {
                poll_write_with(write.as_deref(), cx, |write| write.try_write(buf))
            }
            Self::Stream(io) => Pin::new(io).poll_write(cx, &buf[..buf.len().min(PIECE)]),
            Self::Any(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp { write, .. } => {
                poll_write_with(write.as_deref(), cx, |write| write.try_write_vectored(bufs))
            }
            Self::Stream(io) => {
                let first = bufs.iter().find(|buf| !buf.is_empty());
                let first = first.map_or(&[][..], |buf| &buf[..buf.len().min(PIECE)]);
                Pin::new(io).poll_write(cx, first)
            }
            Self::Any(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp { .. } => true,
            // As one write after the other, which spares a copy of the payload.
            Self::Stream(_) => true,
            Self::Any(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            // TCP holds nothing back.
            Self::Tcp { .. } => Poll::Ready(Ok(())),
            Self::Stream(io) | Self::Any(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp {
                read,
                write,
                shutdown,
                ..
            } => {
                let stream: &TcpStream = read.as_ref();
                // With unread data, a drop would reset the connection.
                if *shutdown == Shutdown::WithDrop && stream.poll_read_ready(cx).is_pending() {
                    *shutdown = Shutdown::Waiting;
                } else {
                    // The last half that writes shuts the connection down; the session has given its own back.
                    drop(write.take());
                }
                Poll::Ready(Ok(()))
            }
            Self::Stream(io) | Self::Any(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}

impl Drop for HyperIo {
    fn drop(&mut self) {
        if let Self::Tcp {
            write,
            shutdown: Shutdown::Waiting,
            ..
        } = self
            && let Some(write) = write.take().and_then(Arc::into_inner)
        {
            write.forget();
        }
    }
}
