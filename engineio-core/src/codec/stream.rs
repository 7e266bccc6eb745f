//! Packets on the stream of a WebTransport session: each behind a header with its kind and its length
//! (engine.io-protocol § WebTransport).
//!
//! The packet behind the header has the same bytes as in a WebSocket frame, with one exception: an empty binary message
//! would have no bytes, and a packet must have at least one. It is written as `b`, the text form with empty base64.

use std::fmt;

use crate::{DisconnectReason, Frame};

/// The bit of the first byte that marks a binary message.
const BINARY: u8 = 0x80;

/// The length in the first byte that announces a length of two bytes.
const TWO_BYTES: u8 = 126;

/// The length in the first byte that announces a length of eight bytes.
const EIGHT_BYTES: u8 = 127;

/// The header in front of a packet.
///
/// It is one byte: the highest bit marks a binary message, the others hold a length up to 125. The value 126 there announces
/// a length of two bytes that follow, and 127 one of eight, most significant byte first.
///
/// ```
/// use engineio_core::codec::stream::Header;
///
/// let hello = Header { binary: false, len: 6 };
/// assert_eq!(hello.encode().as_slice(), [0x06]);
/// assert_eq!(Header::decode(b"\x064hello", 1_000_000), Ok(Some((hello, 1))));
///
/// let large = Header { binary: true, len: 1_000_000 };
/// assert_eq!(large.encode().as_slice(), [0xff, 0, 0, 0, 0, 0, 0x0f, 0x42, 0x40]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The packet is a binary message, without a type.
    pub binary: bool,
    /// The length of the packet in bytes, including its type.
    pub len: usize,
}

/// The bytes of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderBytes {
    bytes: [u8; Header::MAX_LEN],
    len: u8,
}

impl HeaderBytes {
    /// Returns the bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// A header that ends the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HeaderError {
    /// It announces a packet of no bytes.
    Empty,
    /// It announces a packet that is larger than the limit.
    TooLarge,
}

impl Header {
    /// The length of the longest header, in bytes.
    pub const MAX_LEN: usize = 9;

    /// Returns the bytes, in the shortest form.
    #[must_use]
    pub fn encode(self) -> HeaderBytes {
        let mut bytes = [0; Self::MAX_LEN];
        let len = match self.len {
            len @ 0..126 => {
                bytes[0] = len as u8;
                1
            }
            len @ 126..65_536 => {
                bytes[0] = TWO_BYTES;
                bytes[1..3].copy_from_slice(&(len as u16).to_be_bytes());
                3
            }
            len => {
                bytes[0] = EIGHT_BYTES;
                bytes[1..9].copy_from_slice(&(len as u64).to_be_bytes());
                9
            }
        };
        if self.binary {
            bytes[0] |= BINARY;
        }
        HeaderBytes { bytes, len }
    }

    /// Reads the header at the beginning of `bytes`, and returns it with its own length. `None` means that it needs
    /// more bytes. A length in a longer form than necessary is accepted, as in the reference.
    ///
    /// # Errors
    ///
    /// Fails if the packet would have no bytes, or more than `max_payload`, before any of them is read.
    pub fn decode(bytes: &[u8], max_payload: usize) -> Result<Option<(Self, usize)>, HeaderError> {
        let (first, len, header_len) = match *bytes {
            [first, a, b, ..] if first & !BINARY == TWO_BYTES => {
                (first, u64::from(u16::from_be_bytes([a, b])), 3)
            }
            [first, a, b, c, d, e, f, g, h, ..] if first & !BINARY == EIGHT_BYTES => {
                (first, u64::from_be_bytes([a, b, c, d, e, f, g, h]), 9)
            }
            [first, ..] if first & !BINARY < TWO_BYTES => (first, u64::from(first & !BINARY), 1),
            _ => return Ok(None),
        };
        if len == 0 {
            return Err(HeaderError::Empty);
        }
        match usize::try_from(len) {
            Ok(len) if len <= max_payload => {
                let binary = first & BINARY != 0;
                Ok(Some((Self { binary, len }, header_len)))
            }
            _ => Err(HeaderError::TooLarge),
        }
    }
}

impl HeaderError {
    /// Returns the reason for which the session ends.
    #[must_use]
    pub const fn reason(self) -> DisconnectReason {
        match self {
            Self::Empty => DisconnectReason::ParseError,
            Self::TooLarge => DisconnectReason::PayloadTooLarge,
        }
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a packet of no bytes",
            Self::TooLarge => "a packet that is larger than the limit",
        })
    }
}

impl std::error::Error for HeaderError {}

/// Returns the header and the packet that carry a frame.
///
/// ```
/// use engineio_core::Frame;
/// use engineio_core::codec::stream;
///
/// let (header, packet) = stream::encode(Frame::Binary(vec![1, 2, 3].into()));
/// assert_eq!((header.as_slice(), &packet.as_bytes()[..]), (&[0x83][..], &[1, 2, 3][..]));
///
/// let (header, packet) = stream::encode(Frame::Binary(Default::default()));
/// assert_eq!((header.as_slice(), &packet.as_bytes()[..]), (&[0x01][..], &b"b"[..]));
/// ```
#[must_use]
pub fn encode(frame: Frame) -> (HeaderBytes, Frame) {
    let frame = match frame {
        Frame::Binary(bytes) if bytes.is_empty() => Frame::text("b"),
        frame => frame,
    };
    let header = Header {
        binary: matches!(frame, Frame::Binary(_)),
        len: frame.as_bytes().len(),
    };
    (header.encode(), frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::v4;
    use crate::{Message, Packet};

    const LIMIT: usize = 1_000_000_000;

    fn bytes_of(packet: Packet) -> Vec<u8> {
        let (header, frame) = encode(v4::encode_frame(packet, false));
        [header.as_slice(), frame.as_bytes()].concat()
    }

    fn text(text: &str) -> Packet {
        Packet::Message(Message::from(text))
    }

    #[test]
    fn packets_have_the_bytes_of_the_reference() {
        let probe = |data: &'static [u8]| bytes::Bytes::from_static(data);
        for (packet, expected) in [
            (Packet::Open(probe(b"")), &b"\x010"[..]),
            (
                Packet::Open(probe(br#"{"sid":"lv_VI97HAXpY6yYWAAAB"}"#)),
                b"\x1f0{\"sid\":\"lv_VI97HAXpY6yYWAAAB\"}",
            ),
            (Packet::Ping(probe(b"probe")), b"\x062probe"),
            (Packet::Pong(probe(b"probe")), b"\x063probe"),
            (Packet::Upgrade, b"\x015"),
            (Packet::ping(), b"\x012"),
            (Packet::Pong(probe(b"")), b"\x013"),
            (Packet::Noop, b"\x016"),
            (Packet::Close, b"\x011"),
            (text("hello"), b"\x064hello"),
            (text(""), b"\x014"),
            (
                Packet::Message(Message::from([1, 2, 3])),
                b"\x83\x01\x02\x03",
            ),
            (Packet::Message(Message::from(Vec::new())), b"\x01b"),
        ] {
            assert_eq!(bytes_of(packet.clone()), expected, "{packet:?}");
        }
    }

    #[test]
    fn lengths_have_the_bytes_of_the_reference() {
        for (len, expected) in [
            (1, &b"\x81"[..]),
            (125, b"\xfd"),
            (126, b"\xfe\x00\x7e"),
            (12_345, b"\xfe\x30\x39"),
            (65_535, b"\xfe\xff\xff"),
            (65_536, b"\xff\x00\x00\x00\x00\x00\x01\x00\x00"),
            (1_000_000, b"\xff\x00\x00\x00\x00\x00\x0f\x42\x40"),
            (123_456_789, b"\xff\x00\x00\x00\x00\x07\x5b\xcd\x15"),
        ] {
            for binary in [true, false] {
                let header = Header { binary, len };
                let mut expected = expected.to_vec();
                if !binary {
                    expected[0] &= !BINARY;
                }
                assert_eq!(header.encode().as_slice(), expected, "{len}");
                let decoded = Header::decode(&expected, LIMIT);
                assert_eq!(decoded, Ok(Some((header, expected.len()))), "{len}");
                for part in 0..expected.len() {
                    assert_eq!(Header::decode(&expected[..part], LIMIT), Ok(None), "{len}");
                }
            }
        }
    }

    #[test]
    fn the_limit_is_checked_at_the_header() {
        for limit in [1, 5, 125, 126, 1_000, 65_535, 65_536, 1_000_000] {
            let header = |len| Header { binary: true, len }.encode();
            assert!(Header::decode(header(limit).as_slice(), limit).is_ok_and(|h| h.is_some()));
            assert_eq!(
                Header::decode(header(limit + 1).as_slice(), limit),
                Err(HeaderError::TooLarge)
            );
        }
        // The marker of a long header is not its length, even where the limit is smaller than the marker.
        let decoded = Header::decode(b"\x7e\x00\x05", 5);
        let five = Header {
            binary: false,
            len: 5,
        };
        assert_eq!(decoded, Ok(Some((five, 3))));
        assert_eq!(
            Header::decode(&[0xff; 9], usize::MAX - 1),
            Err(HeaderError::TooLarge)
        );
    }

    #[test]
    fn a_packet_of_no_bytes_is_refused_in_every_form() {
        for bytes in [
            &b"\x00"[..],
            b"\x80",
            b"\x7e\x00\x00",
            b"\xff\x00\x00\x00\x00\x00\x00\x00\x00",
        ] {
            assert_eq!(Header::decode(bytes, LIMIT), Err(HeaderError::Empty));
        }
        assert_eq!(HeaderError::Empty.reason(), DisconnectReason::ParseError);
    }

    #[test]
    fn an_empty_binary_message_comes_back_as_one() {
        let packet = Packet::Message(Message::from(Vec::new()));
        let (_, frame) = encode(v4::encode_frame(packet.clone(), false));
        assert_eq!(v4::decode_frame(frame), Ok(packet));
    }
}
