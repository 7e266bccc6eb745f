//! The ways in which a WebSocket or a packet stream ends.

use std::fmt;
use std::io;

use engineio_core::DisconnectReason;

/// A close frame of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// The close code (RFC 6455 § 7.4).
    pub code: u16,
    /// The text that the peer gave; often empty.
    pub reason: Box<str>,
}

/// A violation by the peer of RFC 6455, RFC 7692, the framing of a packet stream, or a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A message was larger than the limit.
    TooLarge,
    /// A text message or the reason of a close frame was not UTF-8.
    NotUtf8,
    /// A compressed message could not be decompressed.
    NotDeflated,
    /// A packet of a stream had no bytes.
    Empty,
    /// A frame broke a framing rule, which is named here.
    Protocol(&'static str),
}

impl Violation {
    /// Returns the close code for the violation (RFC 6455 § 7.4.1).
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::TooLarge => 1009,
            // RFC 7692 names no code. This one is for data that do not match the type of their message, and ws takes it
            // too.
            Self::NotUtf8 | Self::NotDeflated => 1007,
            Self::Empty | Self::Protocol(_) => 1002,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "a message was larger than the limit",
            Self::NotUtf8 => "a text was not UTF-8",
            Self::NotDeflated => "a compressed message could not be decompressed",
            Self::Empty => "a packet had no bytes",
            Self::Protocol(rule) => return write!(f, "the peer sent {rule}"),
        })
    }
}

impl std::error::Error for Violation {}

/// The first cause for which a WebSocket or a packet stream ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum End {
    /// The peer sent a close frame, with or without a code. The answer is queued, and sent by the next flush.
    Close(Option<CloseFrame>),
    /// The connection ended without a close frame.
    Eof,
    /// The connection broke.
    Io(io::Error),
    /// The peer broke a rule. The close frame that is sent to it has the matching code.
    Violation(Violation),
}

impl End {
    /// Classifies the failure of a read. The end of a TLS connection without `close_notify` counts as the end of a TCP
    /// connection.
    pub(crate) fn of_read(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Eof,
            _ => Self::Io(error),
        }
    }

    /// Returns the reason with which a server ends the session.
    #[must_use]
    pub const fn reason(&self) -> DisconnectReason {
        match self {
            Self::Close(_) | Self::Eof | Self::Io(_) => DisconnectReason::TransportClose,
            Self::Violation(Violation::TooLarge) => DisconnectReason::PayloadTooLarge,
            Self::Violation(Violation::Empty) => DisconnectReason::ParseError,
            Self::Violation(_) => DisconnectReason::TransportError,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Close(None) => f.write_str("the peer closed it without a code"),
            Self::Close(Some(close)) => write!(f, "the peer closed it with code {}", close.code),
            Self::Eof => f.write_str("the connection ended without a close frame"),
            Self::Io(error) => write!(f, "the connection broke: {error}"),
            Self::Violation(violation) => violation.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_maps_to_a_reason_and_a_violation_to_a_close_code() {
        use DisconnectReason::{ParseError, PayloadTooLarge, TransportClose, TransportError};

        for (violation, reason, code) in [
            (Violation::TooLarge, PayloadTooLarge, 1009),
            (Violation::NotUtf8, TransportError, 1007),
            (Violation::NotDeflated, TransportError, 1007),
            (Violation::Empty, ParseError, 1002),
            (Violation::Protocol("a bit"), TransportError, 1002),
        ] {
            assert_eq!(End::Violation(violation).reason(), reason);
            assert_eq!(violation.close_code(), code);
        }
        assert_eq!(End::Eof.reason(), TransportClose);
        let unannounced = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert!(matches!(End::of_read(unannounced), End::Eof));
    }
}
