//! The bytes of an upgraded hyper connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
#[cfg(feature = "server")]
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

#[cfg(feature = "server")]
use crate::hosting::heads::Heads;

/// The plain TCP stream where it can be had, which saves two virtual calls an operation and lets Nagle's algorithm be
/// switched off: with it, the second of two small frames waits for the peer's delayed acknowledgement, some 40 ms.
#[derive(Debug)]
pub(crate) enum HyperIo {
    Tcp {
        stream: TcpStream,
        /// The bytes that were read beyond the request head.
        early: Bytes,
    },
    Any(TokioIo<Upgraded>),
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
    fn tcp(stream: TcpStream, early: Bytes) -> Self {
        // A connection that is broken already shows that at the first read.
        let _ = stream.set_nodelay(true);
        // Even an empty slice keeps the 8 KiB alive into which hyper read the request.
        let early = if early.is_empty() {
            Bytes::new()
        } else {
            early
        };
        Self::Tcp { stream, early }
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
            Self::Tcp { stream, .. } => Pin::new(stream).poll_read(cx, buf),
            Self::Any(io) => Pin::new(io).poll_read(cx, buf),
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
            Self::Tcp { stream, .. } => Pin::new(stream).poll_write(cx, buf),
            Self::Any(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp { stream, .. } => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Any(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp { stream, .. } => stream.is_write_vectored(),
            Self::Any(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp { stream, .. } => Pin::new(stream).poll_flush(cx),
            Self::Any(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp { stream, .. } => Pin::new(stream).poll_shutdown(cx),
            Self::Any(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
