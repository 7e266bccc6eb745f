//! WebSocket frames (RFC 6455 § 5.2), as a client writes and reads them.

use bytes::{Buf, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// A frame of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Opcode 1.
    Text(String),
    /// Opcode 2.
    Binary(Bytes),
    /// Opcode 1, compressed: the text, and how many bytes it took.
    PackedText(String, usize),
    /// Opcode 2, compressed: the data, and how many bytes they took.
    PackedBinary(Bytes, usize),
    /// Opcode 8, with its code.
    Close(Option<u16>),
    /// Opcode 10, with the data of the ping that it answers.
    Pong(Bytes),
    /// Any other opcode.
    Other(u8),
}

/// The bytes of a text frame.
#[must_use]
pub fn text(text: &str) -> Vec<u8> {
    masked(1, text.as_bytes())
}

/// The bytes of a binary frame.
#[must_use]
pub fn binary(bytes: &[u8]) -> Vec<u8> {
    masked(2, bytes)
}

/// The bytes of a close frame.
#[must_use]
pub fn close(code: u16) -> Vec<u8> {
    masked(8, &code.to_be_bytes())
}

/// The bytes of a frame that is compressed (RFC 7692), opcode 1 or 2.
#[must_use]
pub fn packed(opcode: u8, payload: &[u8]) -> Vec<u8> {
    of_head(0xc0 | opcode, &pack(payload))
}

/// The payload of a compressed frame.
#[must_use]
pub fn pack(payload: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(payload.len() + payload.len() / 8 + 128);
    Compress::new(Compression::best(), false)
        .compress_vec(payload, &mut packed, FlushCompress::Sync)
        .unwrap();
    packed.truncate(packed.len() - 4);
    packed
}

/// A few kilobytes that decompress to `megabytes` of zeroes.
#[must_use]
pub fn bomb(megabytes: usize) -> Vec<u8> {
    let mut megabyte = pack(&vec![0; 1 << 20]);
    // The bytes that are omitted at the end of a message separate its blocks.
    megabyte.extend([0, 0, 0xff, 0xff]);
    megabyte.repeat(megabytes)
}

/// Decompresses a frame, whose content must be less than a megabyte.
fn unpack(payload: &[u8]) -> Bytes {
    let mut unpacked = Vec::with_capacity(1_000_000);
    Decompress::new(false)
        .decompress_vec(
            &[payload, &[0, 0, 0xff, 0xff]].concat(),
            &mut unpacked,
            FlushDecompress::Sync,
        )
        .unwrap();
    unpacked.into()
}

/// A whole frame with a mask, as a client must send it.
fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    of_head(0x80 | opcode, payload)
}

/// The bytes of a frame with a mask and any first byte: the end of a message, three reserved bits, and the opcode.
#[must_use]
pub fn of_head(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    let mask = MASK.iter().cycle();
    frame.extend(payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Takes the next frame out of what a server sent, if it is there as a whole.
pub fn take(buffer: &mut BytesMut) -> Option<Frame> {
    let (&first, &second) = (buffer.first()?, buffer.get(1)?);
    assert!(second & 0x80 == 0, "a server's frame has a mask");
    let packed = first & 0x40 != 0;
    assert!(first & 0xb0 == 0x80, "a fragment, or a reserved bit");
    let (head, len) = match second {
        126 => (
            4,
            usize::from(u16::from_be_bytes(*buffer.get(2..)?.first_chunk()?)),
        ),
        127 => (
            10,
            u64::from_be_bytes(*buffer.get(2..)?.first_chunk()?) as usize,
        ),
        len => (2, usize::from(len)),
    };
    if buffer.len() < head + len {
        return None;
    }
    buffer.advance(head);
    let payload = buffer.split_to(len).freeze();
    Some(match first & 0x0f {
        1 if packed => {
            let text = String::from_utf8(unpack(&payload).into()).unwrap();
            Frame::PackedText(text, len)
        }
        2 if packed => Frame::PackedBinary(unpack(&payload), len),
        _ if packed => panic!("a control frame that is compressed"),
        1 => Frame::Text(String::from_utf8(payload.into()).unwrap()),
        2 => Frame::Binary(payload),
        10 => Frame::Pong(payload),
        8 => Frame::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
        opcode => Frame::Other(opcode),
    })
}
