//! Parses the frames of a peer from the bytes that were read (RFC 6455 § 5).

use std::borrow::Cow;

use bytes::Bytes;
use engineio_core::Frame;
use engineio_core::codec::{Utf8, detach};

use crate::input::Input;
use crate::role::Role;
use crate::{CloseFrame, Violation, deflate, mask};

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// The reserved bit that says of a message that it is compressed (RFC 7692 § 6).
pub(crate) const COMPRESSED: u8 = 0x40;
const COMPRESSED_TEXT: u8 = COMPRESSED | TEXT;
const COMPRESSED_BINARY: u8 = COMPRESSED | BINARY;

/// The maximum number of bytes that a control frame may carry.
const CONTROL_LIMIT: usize = 125;

/// The number of frames without a message that are taken in one turn. Each costs up to half a microsecond and two bytes of
/// the peer, so that their number, and not that of their bytes, is the measure.
const MAX_SILENT: usize = 256;

/// A complete message or control frame of the peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    Message(Frame),
    /// To be answered with the same data.
    Ping(Bytes),
    Pong,
    Close(Option<CloseFrame>),
}

/// The treatment of a complete message that is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compressed {
    Decompress,
    /// It stays where it is.
    Leave,
    /// It is dropped, because it arrived after the close frame.
    Drop,
}

/// The head of a frame whose payload is not complete yet.
#[derive(Clone, Copy)]
struct Head {
    /// With the bit of a compressed message.
    opcode: u8,
    last: bool,
    key: Option<[u8; mask::KEY]>,
    len: usize,
}

/// The fragments of a message so far.
struct Fragments {
    is_text: bool,
    compressed: bool,
    payload: Vec<u8>,
}

/// Finds frames and puts fragmented messages together. Sizes are checked when they are announced, before anything is
/// kept.
pub(crate) struct Parser {
    role: Role,
    max_payload: usize,
    /// Messages may be compressed.
    deflate: bool,
    head: Option<Head>,
    fragments: Option<Box<Fragments>>,
    /// The compressed length of the last message, in bytes, if it was decompressed.
    decompressed: usize,
    /// The number of frames without a message, or with a part of one, that were taken in this turn.
    silent: usize,
}

impl Parser {
    pub(crate) const fn new(role: Role, max_payload: usize, deflate: bool) -> Self {
        Self {
            role,
            max_payload,
            deflate,
            head: None,
            fragments: None,
            decompressed: 0,
            silent: 0,
        }
    }

    /// Begins a turn, in which [`next`](Self::next) takes a limited number of frames that complete no message.
    pub(crate) const fn start_turn(&mut self) {
        self.silent = 0;
    }

    /// Returns whether [`next`](Self::next) takes nothing more before the next turn.
    pub(crate) const fn is_turn_over(&self) -> bool {
        self.silent >= MAX_SILENT
    }

    /// Takes the compressed length of the last message, in bytes; 0 if it was not compressed.
    pub(crate) const fn take_decompressed(&mut self) -> usize {
        std::mem::replace(&mut self.decompressed, 0)
    }

    /// Returns the payload length in bytes of the frame that is being read, if its head is known.
    pub(crate) fn announced(&self) -> Option<usize> {
        self.head.map(|head| head.len)
    }

    /// Returns the next message if it is one short frame that has arrived whole and is not compressed, as most messages are.
    /// Takes nothing otherwise: all else, and all that is forbidden, is for [`next`](Self::next).
    #[inline]
    pub(crate) fn next_short(&self, input: &mut Input) -> Option<Result<Frame, Violation>> {
        if self.head.is_some() || self.fragments.is_some() {
            return None;
        }
        // The last frame of a text or binary message without reserved bits, and a length that is not extended.
        let (first, len, key, rest) = match (self.role, input.unparsed()) {
            (
                Role::Server,
                [
                    first @ (0x81 | 0x82),
                    second @ 0x80..0xfe,
                    a,
                    b,
                    c,
                    d,
                    rest @ ..,
                ],
            ) => (*first, second & 0x7f, Some([*a, *b, *c, *d]), rest),
            (Role::Client, [first @ (0x81 | 0x82), len @ 0..0x7e, rest @ ..]) => {
                (*first, *len, None, rest)
            }
            _ => return None,
        };
        let len = usize::from(len);
        if len > rest.len() || len > self.max_payload {
            return None;
        }
        input.advance(input.unparsed().len() - rest.len());
        let payload = input.take(len);
        unmask(payload, key);
        let is_text = first & 0x0f == TEXT;
        Some(frame(is_text, Bytes::copy_from_slice(payload)))
    }

    /// Returns the next message or control frame that is complete. The rest of the input waits for more bytes.
    pub(crate) fn next(
        &mut self,
        input: &mut Input,
        compressed: Compressed,
    ) -> Result<Option<Parsed>, Violation> {
        while !self.is_turn_over() {
            let head = match self.head {
                Some(head) => head,
                None => {
                    let Some(head) = take_head(input, self.role, self.deflate)? else {
                        return Ok(None);
                    };
                    self.check(&head)?;
                    *self.head.insert(head)
                }
            };
            if input.payload_len() < head.len {
                return Ok(None);
            }
            if compressed != Compressed::Decompress && self.completes_compressed(head) {
                if compressed == Compressed::Leave {
                    return Ok(None);
                }
                input.skip(head.len);
                self.head = None;
                self.fragments = None;
                continue;
            }
            self.head = None;
            let payload = if let Some(mut large) = input.take_large() {
                unmask(&mut large, head.key);
                Cow::Owned(large)
            } else {
                let payload = input.take(head.len);
                unmask(payload, head.key);
                Cow::Borrowed(&*payload)
            };
            let parsed = self.take(head, payload)?;
            if !matches!(parsed, Some(Parsed::Message(_))) {
                self.silent += 1;
            }
            if parsed.is_some() {
                return Ok(parsed);
            }
        }
        Ok(None)
    }

    /// Returns whether this frame completes a compressed message.
    fn completes_compressed(&self, head: Head) -> bool {
        head.last
            && match head.opcode {
                COMPRESSED_TEXT | COMPRESSED_BINARY => true,
                CONTINUATION => self
                    .fragments
                    .as_ref()
                    .is_some_and(|so_far| so_far.compressed),
                _ => false,
            }
    }

    /// Refuses a frame by its head: a message that would be too large (1009), and what RFC 6455 forbids (1002).
    fn check(&self, head: &Head) -> Result<(), Violation> {
        let limit = match (head.opcode, &self.fragments) {
            (CLOSE | PING | PONG, _) if !head.last => {
                return Err(Violation::Protocol("a control frame in fragments"));
            }
            (CLOSE | PING | PONG, _) if head.len > CONTROL_LIMIT => {
                return Err(Violation::Protocol("a large control frame"));
            }
            (CLOSE | PING | PONG, _) => return Ok(()),
            (CONTINUATION, None) => return Err(Violation::Protocol("nothing to be continued")),
            (CONTINUATION, Some(so_far)) => self.limit(so_far.compressed) - so_far.payload.len(),
            (TEXT | BINARY, None) => self.max_payload,
            (COMPRESSED_TEXT | COMPRESSED_BINARY, None) => self.limit(true),
            (TEXT | BINARY | COMPRESSED_TEXT | COMPRESSED_BINARY, Some(_)) => {
                return Err(Violation::Protocol("a message within another one"));
            }
            _ => return Err(Violation::Protocol("an unknown opcode")),
        };
        if head.len > limit {
            return Err(Violation::TooLarge);
        }
        Ok(())
    }

    /// Returns the largest number of bytes that a message may have on the wire.
    fn limit(&self, compressed: bool) -> usize {
        match compressed {
            false => self.max_payload,
            true => deflate::compressed_limit(self.max_payload),
        }
    }

    /// Takes a complete frame. Returns `None` if the message has more fragments.
    fn take(&mut self, head: Head, payload: Cow<'_, [u8]>) -> Result<Option<Parsed>, Violation> {
        Ok(Some(match head.opcode {
            CLOSE => Parsed::Close(close_frame(&payload)?),
            PING => Parsed::Ping(Bytes::copy_from_slice(&payload)),
            PONG => Parsed::Pong,
            TEXT | BINARY if head.last => message(head.opcode == TEXT, own(payload))?,
            _ => return self.take_part(head, payload),
        }))
    }

    /// Takes a frame of a message that is fragmented, compressed, or both.
    fn take_part(
        &mut self,
        head: Head,
        payload: Cow<'_, [u8]>,
    ) -> Result<Option<Parsed>, Violation> {
        if head.opcode == CONTINUATION {
            let Some(fragments) = &mut self.fragments else {
                return Ok(None);
            };
            fragments.payload.extend_from_slice(&payload);
            if !head.last {
                return Ok(None);
            }
            let Some(whole) = self.fragments.take() else {
                return Ok(None);
            };
            let payload = match whole.compressed {
                false => own(Cow::Owned(whole.payload)),
                true => self.decompress(&whole.payload)?,
            };
            return message(whole.is_text, payload).map(Some);
        }
        let is_text = head.opcode & !COMPRESSED == TEXT;
        if head.last {
            let payload = self.decompress(&payload)?;
            return message(is_text, payload).map(Some);
        }
        self.fragments = Some(Box::new(Fragments {
            is_text,
            compressed: head.opcode & COMPRESSED != 0,
            payload: payload.into_owned(),
        }));
        Ok(None)
    }

    fn decompress(&mut self, payload: &[u8]) -> Result<Bytes, Violation> {
        self.decompressed = payload.len();
        deflate::decompress(payload, self.max_payload)
    }
}

/// Gives a payload memory of its own that is not much larger than itself. One that is in a buffer of the thread is
/// copied, which lets the next read have the buffer.
pub(crate) fn own(payload: Cow<'_, [u8]>) -> Bytes {
    match payload {
        Cow::Borrowed(payload) => Bytes::copy_from_slice(payload),
        Cow::Owned(payload) => {
            let capacity = payload.capacity();
            detach(payload.into(), capacity)
        }
    }
}

#[inline]
fn unmask(payload: &mut [u8], key: Option<[u8; mask::KEY]>) {
    if let Some(key) = key {
        mask::apply(payload, key);
    }
}

/// Takes a head off the bytes, if it is all there.
fn take_head(input: &mut Input, role: Role, deflate: bool) -> Result<Option<Head>, Violation> {
    let unparsed = input.unparsed();
    let [first, second, rest @ ..] = unparsed else {
        return Ok(None);
    };
    let mut opcode = first & 0x0f;
    if first & 0x70 != 0 {
        // The bit of the first frame says that the whole message is compressed; it is set nowhere else (RFC 7692 § 6).
        if !deflate || first & 0x70 != COMPRESSED || !matches!(opcode, TEXT | BINARY) {
            return Err(Violation::Protocol("reserved bits"));
        }
        opcode |= COMPRESSED;
    }
    match (role, second & 0x80) {
        (Role::Server, 0) => return Err(Violation::Protocol("a frame without a mask")),
        (Role::Client, 0x80) => return Err(Violation::Protocol("a frame with a mask")),
        _ => {}
    }
    let (len, after) = match (second & 0x7f, rest) {
        (126, [a, b, after @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), after),
        (127, [a, b, c, d, e, f, g, h, after @ ..]) => {
            (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), after)
        }
        (126 | 127, _) => return Ok(None),
        (len, after) => (u64::from(len), after),
    };
    let (key, after) = match (role, after) {
        (Role::Client, after) => (None, after),
        (Role::Server, [a, b, c, d, after @ ..]) => (Some([*a, *b, *c, *d]), after),
        (Role::Server, _) => return Ok(None),
    };
    let head = Head {
        opcode,
        last: first & 0x80 != 0,
        key,
        len: usize::try_from(len).map_err(|_| Violation::TooLarge)?,
    };
    let head_len = unparsed.len() - after.len();
    input.advance(head_len);
    Ok(Some(head))
}

fn message(is_text: bool, payload: Bytes) -> Result<Parsed, Violation> {
    frame(is_text, payload).map(Parsed::Message)
}

/// Returns the frame of a complete payload.
#[inline]
pub(crate) fn frame(is_text: bool, payload: Bytes) -> Result<Frame, Violation> {
    Ok(if is_text {
        let text = Utf8::from_utf8(payload).map_err(|_| Violation::NotUtf8)?;
        Frame::Text(text)
    } else {
        Frame::Binary(payload)
    })
}

fn close_frame(payload: &[u8]) -> Result<Option<CloseFrame>, Violation> {
    let [high, low, reason @ ..] = payload else {
        return match payload {
            [] => Ok(None),
            _ => Err(Violation::Protocol("half a close code")),
        };
    };
    let code = u16::from_be_bytes([*high, *low]);
    // RFC 6455 § 7.4, and the codes that were registered since.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::Protocol("a close code that may not be sent"));
    }
    match std::str::from_utf8(reason) {
        Ok(reason) => Ok(Some(CloseFrame {
            code,
            reason: reason.into(),
        })),
        Err(_) => Err(Violation::NotUtf8),
    }
}

#[cfg(test)]
pub(crate) mod tests;
