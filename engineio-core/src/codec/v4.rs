//! Revision 4: a digit and data; binary as a binary frame, or as `b` and base64 where only text can travel;
//! the packets of a payload are separated by the byte 0x1e (engine.io-protocol § Packet encoding).

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use bytes::{BufMut, Bytes, BytesMut};

use super::{DecodeError, DecodeErrorKind, Frame, Utf8, detach};
use crate::{Message, Packet, Text};

pub use crate::packet::SEPARATOR;

/// The character that begins a binary message in text form.
pub const BASE64_PREFIX: u8 = b'b';

/// Accepts what clients send in practice: padding or none, and the standard or the URL-safe alphabet. Anything else is an
/// error, so that no bytes are dropped silently.
const DECODING: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD_ALPHABET: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, DECODING);
const URL_SAFE_ALPHABET: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, DECODING);

/// Decodes one packet in text form, which must be UTF-8; `offset` is its place in the payload, for the error.
pub(super) fn decode_text(packet: Bytes, offset: usize) -> Result<Packet, DecodeError> {
    let Some(&first) = packet.first() else {
        return Err(DecodeError::new(DecodeErrorKind::EmptyPacket, offset));
    };
    Ok(match first {
        b'0' => Packet::Open(packet.slice(1..)),
        b'1' => Packet::Close,
        b'2' => Packet::Ping(packet.slice(1..)),
        b'3' => Packet::Pong(packet.slice(1..)),
        b'4' => Packet::Message(Message::Text(Text::from_checked(packet))),
        b'5' => Packet::Upgrade,
        b'6' => Packet::Noop,
        BASE64_PREFIX => Packet::Message(Message::Binary(decode_base64(&packet[1..], offset)?)),
        _ => return Err(DecodeError::new(DecodeErrorKind::UnknownType, offset)),
    })
}

pub(super) fn decode_base64(data: &[u8], offset: usize) -> Result<Bytes, DecodeError> {
    STANDARD_ALPHABET
        .decode(data)
        .or_else(|_| URL_SAFE_ALPHABET.decode(data))
        .map(Bytes::from)
        .map_err(|_| DecodeError::new(DecodeErrorKind::InvalidBase64, offset))
}

/// Decodes the packet of one WebSocket message. A binary frame is always a message.
///
/// # Errors
///
/// Fails if the frame is empty text, does not begin with a packet type, or holds `b` and invalid base64.
///
/// # Examples
///
/// ```
/// use engineio_core::{Frame, Message, Packet, codec::v4};
///
/// assert_eq!(v4::decode_frame(Frame::text("bAQID")), Ok(Packet::Message(Message::from([1, 2, 3]))));
/// assert!(v4::decode_frame(Frame::text("")).is_err());
/// ```
pub fn decode_frame(frame: Frame) -> Result<Packet, DecodeError> {
    match frame {
        Frame::Binary(bytes) => Ok(Packet::Message(Message::Binary(bytes))),
        Frame::Text(text) => decode_text(text.into_bytes(), 0),
    }
}

/// Encodes a packet as one WebSocket message; only the data of a ping or an open packet is copied.
///
/// With `base64`, a binary message travels as text (a session that was opened with `b64`).
///
/// ```
/// use engineio_core::{Frame, Message, Packet, codec::v4};
///
/// let packet = Packet::Message(Message::from([1, 2, 3]));
/// assert_eq!(v4::encode_frame(packet.clone(), false).as_bytes()[..], [1, 2, 3]);
/// assert_eq!(v4::encode_frame(packet, true), Frame::text("bAQID"));
/// ```
#[must_use]
pub fn encode_frame(packet: Packet, base64: bool) -> Frame {
    match packet {
        Packet::Message(Message::Binary(bytes)) if !base64 => Frame::Binary(bytes),
        Packet::Message(Message::Text(text)) => Frame::Text(Utf8::from_checked(text.into_wire())),
        Packet::Close => Frame::text("1"),
        Packet::Upgrade => Frame::text("5"),
        Packet::Noop => Frame::text("6"),
        Packet::Ping(data) if data.is_empty() => Frame::text("2"),
        Packet::Pong(data) if data.is_empty() => Frame::text("3"),
        packet => {
            let mut text = BytesMut::with_capacity(encoded_len(&packet));
            encode_text(&packet, &mut text);
            Frame::Text(Utf8::from_checked(text.freeze()))
        }
    }
}

/// Decodes a polling body, one packet after another.
///
/// Ends after the first packet that cannot be read: the protocol has no way to find the next one. A text message that
/// fills most of the body shares its memory; a smaller one gets memory of its own ([`detach`]).
///
/// ```
/// use bytes::Bytes;
/// use engineio_core::{Message, Packet, codec::v4};
///
/// let body = Bytes::from_static("4hello\u{1e}2\u{1e}4€".as_bytes());
/// let packets: Vec<_> = v4::decode_payload(body).collect::<Result<_, _>>().unwrap();
/// assert_eq!(packets[0], Packet::Message(Message::from("hello")));
/// assert_eq!(packets[1], Packet::ping());
/// assert_eq!(packets[2], Packet::Message(Message::from("€")));
/// ```
#[must_use]
pub fn decode_payload(body: Bytes) -> Packets {
    let valid = match std::str::from_utf8(&body) {
        Ok(text) => text.len(),
        Err(error) => error.valid_up_to(),
    };
    Packets {
        buffer: body.len(),
        body: Some(body),
        offset: 0,
        valid,
    }
}

/// The iterator over the packets of a payload; see [`decode_payload`].
#[derive(Debug)]
pub struct Packets {
    /// The bytes that are left, or `None` after the last packet.
    body: Option<Bytes>,
    /// The length of the whole payload.
    buffer: usize,
    offset: usize,
    /// The length of the valid UTF-8 at the start of the payload, in bytes.
    valid: usize,
}

impl Packets {
    pub(crate) const fn is_finished(&self) -> bool {
        self.body.is_none()
    }
}

impl Iterator for Packets {
    type Item = Result<Packet, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut body = self.body.take()?;
        let offset = self.offset;
        let packet = match memchr::memchr(SEPARATOR, &body) {
            Some(at) => {
                let packet = body.split_to(at);
                let _ = body.split_to(1);
                self.offset += at + 1;
                self.body = Some(body);
                packet
            }
            None => body,
        };
        let decoded = if offset + packet.len() <= self.valid {
            decode_text(detach_message(packet, self.buffer), offset)
        } else {
            Err(DecodeError::new(DecodeErrorKind::InvalidUtf8, offset))
        };
        if decoded.is_err() {
            self.body = None;
        }
        Some(decoded)
    }
}

/// Detaches the text of a message; base64 is decoded into memory of its own anyway, and no other packet is queued.
pub(super) fn detach_message(packet: Bytes, buffer: usize) -> Bytes {
    match packet.first() {
        Some(&Text::PREFIX) => detach(packet, buffer),
        _ => packet,
    }
}

/// Returns the exact number of bytes that a packet takes in a payload, without a separator.
#[must_use]
pub fn encoded_len(packet: &Packet) -> usize {
    match packet {
        Packet::Message(Message::Text(text)) => text.as_wire().len(),
        Packet::Message(Message::Binary(bytes)) => 1 + bytes.len().div_ceil(3) * 4,
        Packet::Open(data) | Packet::Ping(data) | Packet::Pong(data) => 1 + data.len(),
        Packet::Close | Packet::Upgrade | Packet::Noop => 1,
    }
}

/// Appends a packet in text form.
pub fn encode_text(packet: &Packet, into: &mut BytesMut) {
    match packet {
        Packet::Message(Message::Text(text)) => into.put_slice(text.as_wire()),
        Packet::Message(Message::Binary(bytes)) => {
            into.put_u8(BASE64_PREFIX);
            encode_base64(bytes, into);
        }
        Packet::Open(data) | Packet::Ping(data) | Packet::Pong(data) => {
            into.put_u8(packet.digit());
            into.put_slice(data);
        }
        Packet::Close | Packet::Upgrade | Packet::Noop => into.put_u8(packet.digit()),
    }
}

/// Appends base64 with padding.
pub(super) fn encode_base64(bytes: &[u8], into: &mut BytesMut) {
    let start = into.len();
    into.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // The slice is exactly as long as the encoding; a shorter one is the only way for this to fail.
    let _ = STANDARD.encode_slice(bytes, &mut into[start..]);
}

/// Encodes a payload in one buffer of the exact size; a single text message is not copied.
///
/// ```
/// use engineio_core::{Message, Packet, codec::v4};
///
/// let packets: [Packet; 2] = [Message::from("€").into(), Message::from([1, 2, 3, 4]).into()];
/// assert_eq!(v4::encode_payload(&packets), "4€\u{1e}bAQIDBA==");
/// ```
#[must_use]
pub fn encode_payload<'a, I>(packets: I) -> Bytes
where
    I: IntoIterator<Item = &'a Packet, IntoIter: Clone>,
{
    let packets = packets.into_iter();
    let mut first_two = packets.clone();
    if let (Some(Packet::Message(Message::Text(text))), None) = (first_two.next(), first_two.next())
    {
        return text.as_wire().clone();
    }
    let size: usize = packets.clone().map(|packet| encoded_len(packet) + 1).sum();
    let mut body = BytesMut::with_capacity(size.saturating_sub(1));
    for packet in packets {
        if !body.is_empty() {
            body.put_u8(SEPARATOR);
        }
        encode_text(packet, &mut body);
    }
    body.freeze()
}
