//! The bytes of one connection: TCP, a stream of the application's connector, or TLS over one of them.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::custom::CustomStream;

pub(crate) enum Stream {
    Tcp(TcpStream),
    Custom(CustomStream),
    /// Over any other: through an `https` proxy, TLS lies in TLS.
    #[cfg(feature = "rustls-no-provider")]
    Tls(Box<tokio_rustls::client::TlsStream<Self>>),
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "Tcp",
            Self::Custom(_) => "Custom",
            #[cfg(feature = "rustls-no-provider")]
            Self::Tls(_) => "Tls",
        })
    }
}

/// Calls a method of the stream inside.
macro_rules! inner {
    ($this:expr, $method:ident $(, $argument:expr)*) => {
        match $this.get_mut() {
            Self::Tcp(io) => Pin::new(io).$method($($argument),*),
            Self::Custom(io) => Pin::new(io).$method($($argument),*),
            #[cfg(feature = "rustls-no-provider")]
            Self::Tls(io) => Pin::new(io).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        inner!(self, poll_read, cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        inner!(self, poll_write, cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        inner!(self, poll_write_vectored, cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(io) => io.is_write_vectored(),
            Self::Custom(io) => io.is_write_vectored(),
            #[cfg(feature = "rustls-no-provider")]
            Self::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(self, poll_flush, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(self, poll_shutdown, cx)
    }
}
