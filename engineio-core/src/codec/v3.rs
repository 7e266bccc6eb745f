//! Revision 3: every packet of a payload is preceded by its length; the type of a binary packet is a raw byte
//! (engine.io-protocol, revision 3, § Encoding).
//!
//! - A packet is a digit and text, or, where it holds binary data, a raw byte 0x00–0x06 and that data. Where only text
//!   can travel, binary data is `b`, the digit, and base64.
//! - A text payload is `<length>:<packet>` over and over; the length counts UTF-16 code units, because the reference
//!   is written in JavaScript.
//! - A binary payload is 0 (text) or 1 (binary), the digits of the length as bytes 0x00–0x09, 0xff, and the packet;
//!   the length counts bytes. It is used only for a batch that holds binary data.
//!
//! # Where this is stricter than the reference
//!
//! Each of these ends the session with a parse error; no client is known to send them.
//! - A length is decimal digits, at most [`MAX_LENGTH_DIGITS`]. Leading zeros are read; the blanks, signs, exponents
//!   and hexadecimal numbers of JavaScript's number parser are not.
//! - A length beyond the end of a binary payload is an error; the reference delivers what there is.
//! - A length that ends between the two halves of a surrogate pair is an error; the reference tears the pair.
//! - The byte before a length in a binary payload is 0 or 1; the reference treats every value but 0 as 1.
//! - A packet of an unknown type is an error in binary and base64 form too; the reference ignores it.
//! - Text is UTF-8; the reference reads encoded surrogates as U+FFFD.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{DecodeError, DecodeErrorKind, Frame, Payload, Utf8, detach, v4};
use crate::{Message, Packet};

/// The maximum number of digits of a length, including leading zeros (the reference's limit for binary payloads).
pub const MAX_LENGTH_DIGITS: usize = 310;

/// The byte between the length and the packet in a text payload.
const TEXT_SEPARATOR: u8 = b':';

/// The byte between the length and the packet in a binary payload.
const BINARY_SEPARATOR: u8 = 0xff;

/// The raw type byte of a message with binary data.
const BINARY_MESSAGE: u8 = 4;

/// The prefix of the base64 of a binary message in text form.
const BASE64_MESSAGE: &[u8] = b"b4";

/// Decodes one packet in text form, which must be UTF-8; `offset` is its place in the payload, for the error.
fn decode_text(packet: Bytes, offset: usize) -> Result<Packet, DecodeError> {
    if packet.first() != Some(&v4::BASE64_PREFIX) {
        return v4::decode_text(packet, offset);
    }
    let unknown = DecodeError::new(DecodeErrorKind::UnknownType, offset);
    let Some(kind @ b'0'..=b'6') = packet.get(1) else {
        return Err(unknown);
    };
    let data = v4::decode_base64(&packet[2..], offset)?;
    from_raw(kind - b'0', data, offset)
}

/// Decodes one packet in binary form.
fn decode_binary(packet: &Bytes, offset: usize) -> Result<Packet, DecodeError> {
    let Some(&kind) = packet.first() else {
        return Err(DecodeError::new(DecodeErrorKind::EmptyPacket, offset));
    };
    from_raw(kind, packet.slice(1..), offset)
}

/// Creates a packet of a raw type with binary data. Only messages are binary in this crate; the data of every other
/// packet is text, in whatever form it came.
fn from_raw(kind: u8, data: Bytes, offset: usize) -> Result<Packet, DecodeError> {
    if matches!(kind, 0 | 2 | 3) && std::str::from_utf8(&data).is_err() {
        return Err(DecodeError::new(DecodeErrorKind::InvalidUtf8, offset));
    }
    Ok(match kind {
        0 => Packet::Open(data),
        1 => Packet::Close,
        2 => Packet::Ping(data),
        3 => Packet::Pong(data),
        BINARY_MESSAGE => Packet::Message(Message::Binary(data)),
        5 => Packet::Upgrade,
        6 => Packet::Noop,
        _ => return Err(DecodeError::new(DecodeErrorKind::UnknownType, offset)),
    })
}

/// Decodes the packet of one WebSocket message.
///
/// # Errors
///
/// Fails if the frame is empty, does not begin with a packet type, or holds invalid base64.
///
/// # Examples
///
/// ```
/// use engineio_core::{Frame, Message, Packet, codec::v3};
///
/// assert_eq!(v3::decode_frame(Frame::text("b4AQID")), Ok(Packet::Message(Message::from([1, 2, 3]))));
/// assert!(v3::decode_frame(Frame::text("")).is_err());
/// ```
pub fn decode_frame(frame: Frame) -> Result<Packet, DecodeError> {
    match frame {
        Frame::Binary(bytes) => decode_binary(&bytes, 0),
        Frame::Text(text) => decode_text(text.into_bytes(), 0),
    }
}

/// Encodes a packet as one WebSocket message. Text is not copied; binary data is, to put the type in front of it.
///
/// With `base64`, a binary message travels as text (a session that was opened with `b64`).
///
/// ```
/// use engineio_core::{Frame, Message, Packet, codec::v3};
///
/// let packet = Packet::Message(Message::from([1, 2, 3]));
/// assert_eq!(v3::encode_frame(packet.clone(), false).as_bytes()[..], [4, 1, 2, 3]);
/// assert_eq!(v3::encode_frame(packet, true), Frame::text("b4AQID"));
/// ```
#[must_use]
pub fn encode_frame(packet: Packet, base64: bool) -> Frame {
    match &packet {
        Packet::Message(Message::Binary(_)) if base64 => {
            let mut text = BytesMut::with_capacity(text_bytes(&packet));
            encode_text(&packet, &mut text);
            Frame::Text(Utf8::from_checked(text.freeze()))
        }
        Packet::Message(Message::Binary(data)) => {
            let mut bytes = BytesMut::with_capacity(1 + data.len());
            bytes.put_u8(BINARY_MESSAGE);
            bytes.put_slice(data);
            Frame::Binary(bytes.freeze())
        }
        _ => v4::encode_frame(packet, base64),
    }
}

/// Decodes a polling body, one packet after another.
///
/// Ends after the first packet that cannot be read. A message that fills most of the body shares its memory; a smaller
/// one gets memory of its own ([`detach`]). An empty text payload is an error and an empty binary one holds no packets,
/// as in the reference.
///
/// ```
/// use engineio_core::codec::{Payload, v3};
/// use engineio_core::{Message, Packet};
///
/// let body = Payload::text("6:4hello2:4€1:2");
/// let packets: Vec<_> = v3::decode_payload(body).collect::<Result<_, _>>().unwrap();
/// assert_eq!(packets[0], Packet::Message(Message::from("hello")));
/// assert_eq!(packets[1], Packet::Message(Message::from("€")));
/// assert_eq!(packets[2], Packet::ping());
/// ```
#[must_use]
pub fn decode_payload(payload: Payload) -> Packets {
    let Payload { body, binary, .. } = payload;
    let failed = if binary {
        None
    } else if body.is_empty() {
        Some(DecodeError::new(DecodeErrorKind::EmptyPacket, 0))
    } else {
        std::str::from_utf8(&body)
            .err()
            .map(|error| DecodeError::new(DecodeErrorKind::InvalidUtf8, error.valid_up_to()))
    };
    Packets {
        buffer: body.len(),
        rest: body,
        binary,
        offset: 0,
        failed,
    }
}

/// The iterator over the packets of a payload; see [`decode_payload`].
#[derive(Debug)]
pub struct Packets {
    /// The bytes that are left; empty after the last packet.
    rest: Bytes,
    /// The length of the whole payload.
    buffer: usize,
    binary: bool,
    offset: usize,
    failed: Option<DecodeError>,
}

impl Packets {
    pub(crate) fn is_finished(&self) -> bool {
        self.rest.is_empty() && self.failed.is_none()
    }

    /// Cuts the next packet off what follows.
    fn cut(&mut self) -> Result<Cut, DecodeErrorKind> {
        let (form, header, len) = if self.binary {
            let form = match self.rest.first() {
                Some(0) => Form::Text { checked: false },
                Some(1) => Form::Binary,
                _ => return Err(DecodeErrorKind::UnknownType),
            };
            let (header, len) = length(&self.rest[1..], 0, BINARY_SEPARATOR)
                .ok_or(DecodeErrorKind::InvalidLength)?;
            (form, 1 + header, len)
        } else {
            let (header, units) =
                length(&self.rest, b'0', TEXT_SEPARATOR).ok_or(DecodeErrorKind::InvalidLength)?;
            let len = bytes_of_units(&self.rest[header..], units)
                .ok_or(DecodeErrorKind::InvalidLength)?;
            (Form::Text { checked: true }, header, len)
        };
        if len > self.rest.len() - header {
            return Err(DecodeErrorKind::InvalidLength);
        }
        self.rest.advance(header);
        let packet = self.rest.split_to(len);
        let offset = self.offset;
        self.offset += header + len;
        let packet = match form {
            Form::Text { .. } => v4::detach_message(packet, self.buffer),
            Form::Binary => detach(packet, self.buffer),
        };
        Ok(Cut {
            packet,
            form,
            offset,
        })
    }
}

/// A packet that was taken out of a payload and is still to be read.
struct Cut {
    packet: Bytes,
    form: Form,
    offset: usize,
}

enum Form {
    Text {
        /// The whole payload is known to be UTF-8.
        checked: bool,
    },
    Binary,
}

impl Cut {
    fn decode(&self) -> Result<Packet, DecodeError> {
        match self.form {
            Form::Binary => decode_binary(&self.packet, self.offset),
            Form::Text { checked } => {
                if !checked && std::str::from_utf8(&self.packet).is_err() {
                    return Err(DecodeError::new(DecodeErrorKind::InvalidUtf8, self.offset));
                }
                decode_text(self.packet.clone(), self.offset)
            }
        }
    }
}

impl Iterator for Packets {
    type Item = Result<Packet, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            self.rest.clear();
            return Some(Err(error));
        }
        while !self.rest.is_empty() {
            let decoded = match self.cut() {
                // `0:` is how the reference writes a payload without packets, and it passes over it anywhere.
                Ok(cut) if cut.packet.is_empty() && !self.binary => continue,
                Ok(cut) => cut.decode(),
                Err(kind) => Err(DecodeError::new(kind, self.offset)),
            };
            if decoded.is_err() {
                self.rest.clear();
            }
            return Some(decoded);
        }
        None
    }
}

/// Reads a length: digits that count from `zero`, up to `end`. Returns the bytes that it takes, `end` included, and
/// its value.
fn length(header: &[u8], zero: u8, end: u8) -> Option<(usize, usize)> {
    let mut value: usize = 0;
    for (at, &byte) in header.iter().take(MAX_LENGTH_DIGITS + 1).enumerate() {
        if byte == end {
            return (at > 0).then_some((at + 1, value));
        }
        let digit = byte.wrapping_sub(zero);
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(digit.into())?;
    }
    None
}

/// Returns how many bytes the first `units` UTF-16 code units of a UTF-8 text take. `None` if the text is shorter, or the last
/// unit is half a character.
///
/// Looks only at bytes that the packet takes, so that a payload is read in linear time.
fn bytes_of_units(text: &[u8], units: usize) -> Option<usize> {
    // No unit is shorter than a byte, and in ASCII none is longer.
    if text.get(..units)?.is_ascii() {
        return Some(units);
    }
    let (mut bytes, mut left) = (0, units);
    while left > 0 {
        let (len, taken) = match *text.get(bytes)? {
            0x00..=0x7f => (1, 1),
            0x80..=0xdf => (2, 1),
            0xe0..=0xef => (3, 1),
            0xf0..=0xff => (4, 2),
        };
        left = usize::checked_sub(left, taken)?;
        bytes += len;
    }
    Some(bytes)
}

/// Returns how many UTF-16 code units a UTF-8 text takes: one for each character, two for those of four bytes.
fn units(text: &[u8]) -> usize {
    let count = |&byte: &u8| usize::from(byte & 0xc0 != 0x80) + usize::from(byte >= 0xf0);
    text.iter().map(count).sum()
}

const fn digits(length: usize) -> usize {
    match length.checked_ilog10() {
        Some(log) => log as usize + 1,
        None => 1,
    }
}

/// Returns the number of bytes of a packet in text form, without its length.
fn text_bytes(packet: &Packet) -> usize {
    match packet {
        Packet::Message(Message::Binary(_)) => v4::encoded_len(packet) + 1,
        packet => v4::encoded_len(packet),
    }
}

/// Returns the number of UTF-16 code units of a packet in text form, which is its length in a text payload.
fn text_units(packet: &Packet) -> usize {
    match packet {
        Packet::Message(Message::Text(text)) => units(text.as_wire()),
        Packet::Open(data) | Packet::Ping(data) | Packet::Pong(data) => 1 + units(data),
        // Base64 is ASCII.
        packet => text_bytes(packet),
    }
}

/// Returns the number of bytes of a packet in a binary payload, without its length. Binary data is not turned into
/// base64 there.
fn binary_bytes(packet: &Packet) -> usize {
    match packet {
        Packet::Message(Message::Binary(data)) => 1 + data.len(),
        packet => text_bytes(packet),
    }
}

/// Returns the exact number of bytes that a packet takes in a text payload, including its length prefix.
#[must_use]
pub fn encoded_len(packet: &Packet) -> usize {
    digits(text_units(packet)) + 1 + text_bytes(packet)
}

/// Returns the exact number of bytes that a packet takes in a binary payload, including its length prefix.
#[must_use]
pub fn encoded_len_binary(packet: &Packet) -> usize {
    let len = binary_bytes(packet);
    1 + digits(len) + 1 + len
}

/// Appends a packet in text form, without its length.
fn encode_text(packet: &Packet, into: &mut BytesMut) {
    match packet {
        Packet::Message(Message::Binary(data)) => {
            into.put_slice(BASE64_MESSAGE);
            v4::encode_base64(data, into);
        }
        packet => v4::encode_text(packet, into),
    }
}

/// Appends the digits of a length, counted from `zero`.
fn encode_length(length: usize, zero: u8, into: &mut BytesMut) {
    let mut power = 10_usize.pow(digits(length) as u32 - 1);
    while power > 0 {
        // A remainder of ten fits into a byte.
        into.put_u8(zero + (length / power % 10) as u8);
        power /= 10;
    }
}

/// Encodes a payload in one buffer of the exact size.
///
/// It is binary if the batch holds binary data, unless the client asked for `base64`; a payload without packets is
/// `0:`.
///
/// ```
/// use engineio_core::codec::{Payload, v3};
/// use engineio_core::{Message, Packet};
///
/// let packets: [Packet; 2] = [Message::from("€").into(), Message::from([1, 2, 3, 4]).into()];
/// assert_eq!(v3::encode_payload(&packets, true), Payload::text("2:4€10:b4AQIDBA=="));
/// assert_eq!(
///     v3::encode_payload(&packets, false),
///     Payload::binary(&b"\x00\x04\xff4\xe2\x82\xac\x01\x05\xff\x04\x01\x02\x03\x04"[..]),
/// );
/// ```
#[must_use]
pub fn encode_payload<'a, I>(packets: I, base64: bool) -> Payload
where
    I: IntoIterator<Item = &'a Packet, IntoIter: Clone>,
{
    let packets = packets.into_iter();
    if !base64 && packets.clone().any(is_binary) {
        let size = packets.clone().map(encoded_len_binary).sum();
        let mut body = BytesMut::with_capacity(size);
        for packet in packets {
            body.put_u8(is_binary(packet).into());
            encode_length(binary_bytes(packet), 0, &mut body);
            body.put_u8(BINARY_SEPARATOR);
            match packet {
                Packet::Message(Message::Binary(data)) => {
                    body.put_u8(BINARY_MESSAGE);
                    body.put_slice(data);
                }
                packet => encode_text(packet, &mut body),
            }
        }
        return Payload::binary(body);
    }
    let size = packets.clone().map(encoded_len).sum();
    if size == 0 {
        return Payload::text("0:");
    }
    let mut body = BytesMut::with_capacity(size);
    for packet in packets {
        encode_length(text_units(packet), b'0', &mut body);
        body.put_u8(TEXT_SEPARATOR);
        encode_text(packet, &mut body);
    }
    Payload::text(body)
}

/// Returns whether a packet turns the payload that holds it into a binary one.
pub(super) const fn is_binary(packet: &Packet) -> bool {
    matches!(packet, Packet::Message(Message::Binary(_)))
}
