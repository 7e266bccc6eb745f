//! The connection of a session that carries frames, whichever transport it is.

use std::task::{Context, Poll};

use engineio_core::{DisconnectReason, Frame};

use super::websocket::{self, WebSocket};
#[cfg(feature = "webtransport")]
use super::webtransport::{self, WebTransport};
use crate::error::Ended;
use crate::secrets::Secrets;

/// An open link.
#[derive(Debug)]
#[cfg_attr(
    feature = "webtransport",
    expect(
        clippy::large_enum_variant,
        reason = "a WebSocket takes no other memory for the sake of the rarer transport"
    )
)]
pub(crate) enum Link {
    WebSocket(WebSocket),
    #[cfg(feature = "webtransport")]
    WebTransport(Box<WebTransport>),
}

/// The end of a link, as it was read.
#[derive(Debug)]
pub(crate) enum Closed {
    WebSocket(websocket::Closed),
    #[cfg(feature = "webtransport")]
    WebTransport(webtransport::Closed),
}

impl Closed {
    /// Returns whether nothing is known but that the connection has ended.
    pub(crate) const fn is_eof(&self) -> bool {
        match self {
            Self::WebSocket(closed) => closed.is_eof(),
            // QUIC keeps the reason.
            #[cfg(feature = "webtransport")]
            Self::WebTransport(_) => false,
        }
    }

    /// Describes the end. The server's words may repeat the secrets, which are removed.
    pub(crate) fn describe(self, secrets: impl FnOnce() -> Secrets) -> Ended {
        match self {
            Self::WebSocket(closed) => closed.describe(secrets),
            #[cfg(feature = "webtransport")]
            Self::WebTransport(closed) => closed.describe(secrets),
        }
    }
}

/// Calls a method of the link inside.
macro_rules! inner {
    ($this:expr, $method:ident $(, $argument:expr)*) => {
        match $this {
            Self::WebSocket(link) => link.$method($($argument),*),
            #[cfg(feature = "webtransport")]
            Self::WebTransport(link) => link.$method($($argument),*),
        }
    };
}

impl Link {
    /// Returns the part of a turn, in bytes, that a frame takes that was just read.
    pub(crate) fn cost_of(&mut self, frame: &Frame) -> usize {
        inner!(self, cost_of, frame)
    }

    /// Reads the next frame; `None` if much was read that completed none.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame>, Closed>> {
        match self {
            Self::WebSocket(link) => link.poll_frame(cx).map_err(Closed::WebSocket),
            #[cfg(feature = "webtransport")]
            Self::WebTransport(link) => link.poll_frame(cx).map_err(Closed::WebTransport),
        }
    }

    /// Waits for room in the write buffer.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        inner!(self, poll_ready, cx)
    }

    pub(crate) fn start_send(&mut self, frame: Frame) {
        inner!(self, start_send, frame);
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        inner!(self, poll_flush, cx)
    }

    /// Begins to close, behind all frames that were sent.
    pub(crate) fn start_close(&mut self, reason: DisconnectReason) {
        inner!(self, start_close, reason);
    }

    /// Returns whether the server must be told of the end before the connection is dropped.
    pub(crate) const fn owes_answer(&self) -> bool {
        inner!(self, owes_answer)
    }

    /// Returns whether the server may still be taking frames: whether it has taken more of them since the last call, and
    /// has not taken all. For a WebSocket only the operating system knows. It goes on without the client, but only until the
    /// server sends something: that is answered with a reset, and the rest is lost.
    pub(crate) fn is_still_sending(&self) -> bool {
        match self {
            Self::WebSocket(_) => true,
            #[cfg(feature = "webtransport")]
            Self::WebTransport(link) => link.is_still_sending(),
        }
    }

    /// Returns whether the server may not have all messages, once the link was closed. Of a WebSocket that is known only
    /// if its server has ended its side.
    pub(crate) fn is_in_doubt(&self, is_unanswered: bool) -> bool {
        match self {
            Self::WebSocket(_) => is_unanswered,
            #[cfg(feature = "webtransport")]
            Self::WebTransport(link) => link.is_in_doubt(),
        }
    }

    /// Ends the client's direction, after everything was written, while the link is still read.
    pub(crate) fn poll_end_output(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::WebSocket(link) => link.poll_end_output(cx),
            // The end of the stream was among what was written.
            #[cfg(feature = "webtransport")]
            Self::WebTransport(_) => Poll::Ready(()),
        }
    }

    /// Ends the connection in an orderly way, after everything was written.
    pub(crate) fn poll_shut_down(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::WebSocket(link) => {
                // As far as possible without waiting.
                let _ = link.poll_end_output(cx);
                Poll::Ready(())
            }
            #[cfg(feature = "webtransport")]
            Self::WebTransport(link) => link.poll_shut_down(cx),
        }
    }
}
