//! The errors of decoding.

use std::fmt;

/// The error for bytes that are not a packet or a payload, with the position of the fault.
///
/// ```
/// use bytes::Bytes;
/// use engineio_core::codec::{DecodeErrorKind, v4};
///
/// let error = v4::decode_payload(Bytes::from("4a\u{1e}x")).find_map(Result::err).unwrap();
/// assert_eq!((error.kind(), error.offset()), (DecodeErrorKind::UnknownType, 3));
/// assert_eq!(error.to_string(), "unknown packet type at byte 3");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    kind: DecodeErrorKind,
    offset: usize,
}

/// The fault in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// A packet without a type: an empty body or frame, or a separator with nothing beside it.
    EmptyPacket,
    /// The type of a packet is unknown: the first character, or in revision 3 the raw type byte or the byte
    /// before a binary payload's length.
    UnknownType,
    /// The bytes are not UTF-8.
    InvalidUtf8,
    /// The data after `b` is not base64.
    InvalidBase64,
    /// A length that is missing, malformed or larger than what follows (revision 3).
    InvalidLength,
}

impl DecodeError {
    pub(crate) const fn new(kind: DecodeErrorKind, offset: usize) -> Self {
        Self { kind, offset }
    }

    /// Returns the kind of the error.
    #[must_use]
    pub const fn kind(&self) -> DecodeErrorKind {
        self.kind
    }

    /// Returns the offset of the invalid packet in bytes, from the start of the payload or frame.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            DecodeErrorKind::EmptyPacket => "empty packet",
            DecodeErrorKind::UnknownType => "unknown packet type",
            DecodeErrorKind::InvalidUtf8 => "text that is not UTF-8",
            DecodeErrorKind::InvalidBase64 => "binary data that is not base64",
            DecodeErrorKind::InvalidLength => "invalid length",
        };
        write!(f, "{what} at byte {}", self.offset)
    }
}

impl std::error::Error for DecodeError {}
