//! Frames of a client, out of the bytes that were read (RFC 6455 § 5).

use bytes::{Buf, Bytes, BytesMut};
use engineio_core::codec::Utf8;
use engineio_core::{DisconnectReason, Frame};

use super::deflate;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// The reserved bit that says of a message that it is compressed (RFC 7692 § 6).
pub(super) const PACKED: u8 = 0x40;
const PACKED_TEXT: u8 = PACKED | TEXT;
const PACKED_BINARY: u8 = PACKED | BINARY;

/// The most bytes that a control frame may carry.
const CONTROL_LIMIT: usize = 125;

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Message(Frame),
    /// To be answered with the same data.
    Ping(Bytes),
    Pong,
    /// With the code that the client gave.
    Close(Option<u16>),
}

/// What a client must not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    TooLarge,
    NotUtf8,
    /// A compressed message that cannot be unpacked.
    NotDeflated,
    Protocol(&'static str),
}

impl Fault {
    /// Why the session ends, and the close code that tells the peer what it did wrong (RFC 6455 § 7.4.1).
    pub(super) const fn outcome(self) -> (DisconnectReason, u16) {
        match self {
            Self::TooLarge => (DisconnectReason::PayloadTooLarge, 1009),
            // RFC 7692 names no code. This one is for data that are not what their message says, and ws takes it too.
            Self::NotUtf8 | Self::NotDeflated => (DisconnectReason::TransportError, 1007),
            Self::Protocol(_) => (DisconnectReason::TransportError, 1002),
        }
    }
}

/// What is done with a message that is compressed, once it is complete. Others are not concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packed {
    Unpack,
    /// It stays where it is.
    Leave,
    /// It comes too late, and is not worth the time.
    Drop,
}

/// The head of a frame whose payload is not complete yet.
#[derive(Clone, Copy)]
struct Head {
    /// With the bit of a compressed message.
    opcode: u8,
    last: bool,
    mask: [u8; 4],
    len: usize,
}

/// The fragments of a message so far.
struct Fragments {
    is_text: bool,
    packed: bool,
    payload: BytesMut,
}

/// Finds frames and puts fragmented messages together. Sizes are checked when they are announced, before anything is
/// kept.
pub(super) struct Parser {
    max_payload: usize,
    /// Messages may be compressed.
    deflate: bool,
    head: Option<Head>,
    fragments: Option<Box<Fragments>>,
}

impl Parser {
    pub(super) const fn new(max_payload: usize, deflate: bool) -> Self {
        Self {
            max_payload,
            deflate,
            head: None,
            fragments: None,
        }
    }

    /// How many bytes the frame that is being read lacks, if its head is known.
    pub(super) fn missing(&self, raw: &BytesMut) -> usize {
        self.head
            .map_or(0, |head| head.len.saturating_sub(raw.len()))
    }

    /// The next thing that is complete. What is left in `raw` waits for more bytes.
    pub(super) fn next(
        &mut self,
        raw: &mut BytesMut,
        packed: Packed,
    ) -> Result<Option<Parsed>, Fault> {
        loop {
            let head = match self.head {
                Some(head) => head,
                None => {
                    let Some(head) = take_head(raw, self.deflate)? else {
                        return Ok(None);
                    };
                    self.check(&head)?;
                    *self.head.insert(head)
                }
            };
            if raw.len() < head.len {
                return Ok(None);
            }
            if packed != Packed::Unpack && self.completes_packed(head) {
                if packed == Packed::Leave {
                    return Ok(None);
                }
                raw.advance(head.len);
                self.head = None;
                self.fragments = None;
                continue;
            }
            self.head = None;
            let mut payload = raw.split_to(head.len);
            unmask(&mut payload, head.mask);
            if let Some(parsed) = self.take(head, payload)? {
                return Ok(Some(parsed));
            }
        }
    }

    /// Whether a message has to be unpacked when this frame is complete.
    fn completes_packed(&self, head: Head) -> bool {
        head.last
            && match head.opcode {
                PACKED_TEXT | PACKED_BINARY => true,
                CONTINUATION => self.fragments.as_ref().is_some_and(|so_far| so_far.packed),
                _ => false,
            }
    }

    fn check(&self, head: &Head) -> Result<(), Fault> {
        let limit = match (head.opcode, &self.fragments) {
            (CLOSE | PING | PONG, _) if !head.last => {
                return Err(Fault::Protocol("a control frame in fragments"));
            }
            (CLOSE | PING | PONG, _) if head.len > CONTROL_LIMIT => {
                return Err(Fault::Protocol("a large control frame"));
            }
            (CLOSE | PING | PONG, _) => return Ok(()),
            (CONTINUATION, None) => return Err(Fault::Protocol("nothing to be continued")),
            (CONTINUATION, Some(so_far)) => self.limit(so_far.packed) - so_far.payload.len(),
            (TEXT | BINARY, None) => self.max_payload,
            (PACKED_TEXT | PACKED_BINARY, None) => self.limit(true),
            (TEXT | BINARY | PACKED_TEXT | PACKED_BINARY, Some(_)) => {
                return Err(Fault::Protocol("a message within another one"));
            }
            _ => return Err(Fault::Protocol("an unknown opcode")),
        };
        if head.len > limit {
            return Err(Fault::TooLarge);
        }
        Ok(())
    }

    /// The most bytes that may come of a message.
    fn limit(&self, packed: bool) -> usize {
        match packed {
            false => self.max_payload,
            true => deflate::packed_limit(self.max_payload),
        }
    }

    /// A frame is complete; a fragment of a message gives nothing yet.
    fn take(&mut self, head: Head, payload: BytesMut) -> Result<Option<Parsed>, Fault> {
        Ok(Some(match head.opcode {
            CLOSE => Parsed::Close(close_code(&payload)?),
            PING => Parsed::Ping(payload.freeze()),
            PONG => Parsed::Pong,
            TEXT | BINARY if head.last => message(head.opcode == TEXT, payload.freeze())?,
            _ => return self.take_part(head, &payload),
        }))
    }

    /// A frame of a message that comes in fragments, is compressed, or both.
    fn take_part(&mut self, head: Head, payload: &BytesMut) -> Result<Option<Parsed>, Fault> {
        if head.opcode == CONTINUATION {
            let Some(fragments) = &mut self.fragments else {
                return Ok(None);
            };
            fragments.payload.extend_from_slice(payload);
            if !head.last {
                return Ok(None);
            }
            let Some(whole) = self.fragments.take() else {
                return Ok(None);
            };
            let payload = match whole.packed {
                false => whole.payload.freeze(),
                true => deflate::unpack(&whole.payload, self.max_payload)?,
            };
            return message(whole.is_text, payload).map(Some);
        }
        let is_text = head.opcode & !PACKED == TEXT;
        if head.last {
            let payload = deflate::unpack(payload, self.max_payload)?;
            return message(is_text, payload).map(Some);
        }
        self.fragments = Some(Box::new(Fragments {
            is_text,
            packed: head.opcode & PACKED != 0,
            // A copy: the message must not keep the buffer of each read alive.
            payload: BytesMut::from(&payload[..]),
        }));
        Ok(None)
    }
}

/// Takes a head off the bytes, if it is all there.
fn take_head(raw: &mut BytesMut, deflate: bool) -> Result<Option<Head>, Fault> {
    let [first, second, rest @ ..] = &raw[..] else {
        return Ok(None);
    };
    let mut opcode = first & 0x0f;
    if first & 0x70 != 0 {
        // It says of the first frame that the whole message is compressed, and has no other place (RFC 7692 § 6).
        if !deflate || first & 0x70 != PACKED || !matches!(opcode, TEXT | BINARY) {
            return Err(Fault::Protocol("reserved bits"));
        }
        opcode |= PACKED;
    }
    if second & 0x80 == 0 {
        return Err(Fault::Protocol("a frame without a mask"));
    }
    let (len, after) = match (second & 0x7f, rest) {
        (126, [a, b, after @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), after),
        (127, [a, b, c, d, e, f, g, h, after @ ..]) => {
            (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), after)
        }
        (126 | 127, _) => return Ok(None),
        (len, after) => (u64::from(len), after),
    };
    let [a, b, c, d, ..] = after else {
        return Ok(None);
    };
    let head = Head {
        opcode,
        last: first & 0x80 != 0,
        mask: [*a, *b, *c, *d],
        len: usize::try_from(len).map_err(|_| Fault::TooLarge)?,
    };
    raw.advance(raw.len() - after.len() + 4);
    Ok(Some(head))
}

fn message(is_text: bool, payload: Bytes) -> Result<Parsed, Fault> {
    Ok(Parsed::Message(if is_text {
        let text = Utf8::from_utf8(payload).map_err(|_| Fault::NotUtf8)?;
        Frame::Text(text)
    } else {
        Frame::Binary(payload)
    }))
}

fn close_code(payload: &[u8]) -> Result<Option<u16>, Fault> {
    let [high, low, reason @ ..] = payload else {
        return match payload {
            [] => Ok(None),
            _ => Err(Fault::Protocol("half a close code")),
        };
    };
    let code = u16::from_be_bytes([*high, *low]);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Fault::Protocol("no close code that may be sent"));
    }
    match std::str::from_utf8(reason) {
        Ok(_) => Ok(Some(code)),
        Err(_) => Err(Fault::NotUtf8),
    }
}

/// Eight bytes at a time, which compilers turn into vectors.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let key = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (eights, rest) = payload.as_chunks_mut::<8>();
    for eight in eights {
        *eight = (u64::from_ne_bytes(*eight) ^ key).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use bytes::{Bytes, BytesMut};
    use engineio_core::codec::Utf8;
    use engineio_core::{DisconnectReason, Frame};

    use super::{Fault, Packed, Parsed, Parser};

    const LIMIT: usize = 100_000;

    /// A frame of a client.
    pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [9, 8, 7, 6];
        let mut frame = vec![first];
        match payload.len() {
            len @ 0..126 => frame.push(0x80 | len as u8),
            len @ 126..65536 => {
                frame.push(0xfe);
                frame.extend((len as u16).to_be_bytes());
            }
            len => {
                frame.push(0xff);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
        frame
    }

    fn parse(bytes: &[u8], step: usize) -> Result<Vec<Parsed>, Fault> {
        parse_with(Parser::new(LIMIT, false), bytes, step)
    }

    /// Everything in these bytes, which come `step` at a time.
    pub(crate) fn parse_with(
        mut parser: Parser,
        bytes: &[u8],
        step: usize,
    ) -> Result<Vec<Parsed>, Fault> {
        let mut raw = BytesMut::new();
        let mut all = Vec::new();
        for part in bytes.chunks(step) {
            raw.extend_from_slice(part);
            while let Some(parsed) = parser.next(&mut raw, Packed::Unpack)? {
                all.push(parsed);
            }
        }
        Ok(all)
    }

    #[test]
    fn messages_of_every_length_come_whole() {
        for len in [0, 1, 7, 8, 9, 125, 126, 127, 65_535, 65_536, LIMIT] {
            let text = "x".repeat(len);
            let bytes = [frame(0x81, text.as_bytes()), frame(0x82, text.as_bytes())].concat();
            let expected = [
                Parsed::Message(Frame::text(text.clone())),
                Parsed::Message(Frame::Binary(Bytes::from(text.clone()))),
            ];
            for step in [1, 5, 4096, bytes.len()] {
                assert_eq!(parse(&bytes, step).unwrap(), expected, "{len} by {step}");
            }
        }
    }

    #[test]
    fn fragments_are_put_together_and_control_frames_may_come_between() {
        let euro = "€".as_bytes();
        let bytes = [
            frame(0x01, &euro[..1]),
            frame(0x89, b"are you there"),
            frame(0x00, &euro[1..2]),
            frame(0x8a, b""),
            frame(0x00, b""),
            frame(0x80, &euro[2..]),
        ]
        .concat();
        let expected = [
            Parsed::Ping(Bytes::from_static(b"are you there")),
            Parsed::Pong,
            Parsed::Message(Frame::text("€")),
        ];
        assert_eq!(parse(&bytes, 3).unwrap(), expected);
    }

    #[test]
    fn what_is_too_large_is_refused_when_it_is_announced() {
        let whole = frame(0x81, &vec![b'x'; LIMIT + 1]);
        assert_eq!(parse(&whole[..14], 14), Err(Fault::TooLarge));
        let mut endless = frame(0x82, b"");
        endless.splice(1..2, [0xff; 9]);
        assert_eq!(parse(&endless, 64), Err(Fault::TooLarge));
        let parts = [frame(0x02, &vec![0; LIMIT]), frame(0x80, b"x")].concat();
        assert_eq!(parse(&parts, 4096), Err(Fault::TooLarge));
    }

    #[test]
    fn what_the_protocol_forbids_is_a_fault() {
        let forbidden: [(&str, Vec<u8>); 9] = [
            ("no mask", vec![0x81, 0x01, b'x']),
            ("reserved bit", frame(0xc1, b"x")),
            ("opcode", frame(0x83, b"x")),
            ("control opcode", frame(0x8b, b"x")),
            ("control in fragments", frame(0x09, b"x")),
            ("large control", frame(0x89, &[0; 126])),
            ("continuation of nothing", frame(0x80, b"x")),
            (
                "message in message",
                [frame(0x01, b"x"), frame(0x81, b"x")].concat(),
            ),
            ("half a code", frame(0x88, b"x")),
        ];
        for (what, bytes) in forbidden {
            assert!(
                matches!(parse(&bytes, 64), Err(Fault::Protocol(_))),
                "{what}"
            );
        }
        assert_eq!(parse(&frame(0x81, b"\xff"), 64), Err(Fault::NotUtf8));
        assert_eq!(
            parse(&frame(0x88, b"\x03\xe8\xff"), 64),
            Err(Fault::NotUtf8)
        );
    }

    #[test]
    fn close_codes() {
        assert_eq!(parse(&frame(0x88, b""), 64).unwrap(), [Parsed::Close(None)]);
        for code in [1000_u16, 1001, 1007, 1011, 1014, 3000, 4999] {
            let close = frame(0x88, &code.to_be_bytes());
            assert_eq!(parse(&close, 64).unwrap(), [Parsed::Close(Some(code))]);
        }
        for code in [0_u16, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
            let close = frame(0x88, &code.to_be_bytes());
            assert!(
                matches!(parse(&close, 64), Err(Fault::Protocol(_))),
                "{code}"
            );
        }
    }

    #[test]
    fn faults_say_how_the_session_ends() {
        let (reason, code) = Fault::TooLarge.outcome();
        assert_eq!((reason, code), (DisconnectReason::PayloadTooLarge, 1009));
    }
}
