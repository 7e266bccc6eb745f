//! Messages, compressed and decompressed, alone and in frames.

use bytes::Bytes;
use engineio_core::Frame;
use flate2::{Compress, Compression, FlushCompress};

use super::*;
use crate::Role;
use crate::input::Input;
use crate::parser::tests::{frame, parse_with};
use crate::parser::{Compressed, Parsed, Parser};

const LIMIT: usize = 100_000;

/// RFC 7692 § 7.2.3: "Hello" in one block.
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";

/// Bytes that no coding makes smaller.
fn noise(len: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Everything in these frames, which come `step` bytes at a time.
fn parse_by(bytes: &[u8], step: usize) -> Result<Vec<Parsed>, Violation> {
    parse_with(Parser::new(Role::Server, LIMIT, true), bytes, step)
}

fn parse(frames: &[Vec<u8>]) -> Result<Vec<Parsed>, Violation> {
    let bytes = frames.concat();
    let all = parse_by(&bytes, bytes.len());
    assert_eq!(parse_by(&bytes, 1), all);
    all
}

fn text(text: &str) -> Parsed {
    Parsed::Message(Frame::text(text.to_owned()))
}

/// A message as a client packs it whose compressor is of another kind.
fn packed_at(level: u32, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + message.len() / 8 + 128);
    let mut compress = Compress::new(Compression::new(level), false);
    compress
        .compress_vec(message, &mut out, FlushCompress::Sync)
        .unwrap();
    out.strip_suffix(&TAIL).unwrap().to_vec()
}

fn json(len: usize) -> String {
    let items = (0..).flat_map(|n: u32| {
        let item = format!(
            "{{\"id\":{n},\"price\":{}}},",
            n.wrapping_mul(2_654_435_761)
        );
        item.into_bytes()
    });
    String::from_utf8(items.take(len).collect()).unwrap()
}

#[test]
fn the_examples_of_the_rfc_are_read() {
    for (what, payload, expected) in [
        ("one block", HELLO, "Hello"),
        ("no compression", b"\x00\x05\x00\xfa\xffHello\x00", "Hello"),
        ("a last block", b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello"),
        (
            "two blocks",
            b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
            "Hello",
        ),
        ("nothing", b"\x00", ""),
        // Not in the RFC: what must follow a last block is missing.
        (
            "a last block alone",
            b"\xf3\x48\xcd\xc9\xc9\x07\x00",
            "Hello",
        ),
        (
            "two last blocks",
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\x03\x00\x00",
            "Hello",
        ),
    ] {
        let parsed = parse(&[frame(0xc1, payload)]);
        assert_eq!(parsed, Ok(vec![text(expected)]), "{what}");
    }
    // The second "Hello" of § 7.2.3.2 refers to the first, which both sides have agreed to forget.
    let taken_over = b"\xf2\x00\x11\x00\x00";
    let frames = [frame(0xc1, HELLO), frame(0xc1, taken_over)];
    assert_eq!(parse(&frames), Err(Violation::NotDeflated));
    assert_eq!(compress_anew(b"Hello"), None, "it would not become smaller");
    let hellos = compress_anew(b"HelloHelloHelloHello").unwrap();
    assert_eq!(decompress(&hellos, LIMIT).unwrap(), "HelloHelloHelloHello");
}

#[test]
fn a_message_in_fragments_is_packed_as_a_whole() {
    let frames = [
        frame(0x41, &HELLO[..3]),
        frame(0x89, b"there?"),
        frame(0x00, b""),
        frame(0x80, &HELLO[3..]),
        // The next one is not.
        frame(0x01, b"pl"),
        frame(0x80, b"ain"),
        frame(0x81, b"plain"),
        frame(0x42, b""),
        frame(0x80, HELLO),
    ];
    let expected = [
        Parsed::Ping(Bytes::from_static(b"there?")),
        text("Hello"),
        text("plain"),
        text("plain"),
        Parsed::Message(Frame::Binary(Bytes::from_static(b"Hello"))),
    ];
    assert_eq!(parse(&frames).unwrap(), expected);
}

#[test]
fn messages_of_every_kind_and_size_come_whole() {
    for len in [0, 1, 125, 1_024, 4_096, 32_768, 65_536, LIMIT] {
        let (json, noise) = (json(len), noise(len));
        for level in [0, 1, 6, 9] {
            let frames = [
                frame(0xc1, &packed_at(level, json.as_bytes())),
                frame(0xc2, &packed_at(level, &noise)),
            ];
            let expected = [text(&json), Parsed::Message(Frame::Binary(noise.clone()))];
            assert_eq!(
                parse_by(&frames.concat(), 4_096).unwrap(),
                expected,
                "{len}, level {level}"
            );
        }
    }
}

#[test]
fn what_is_packed_is_read_again_if_it_is_smaller() {
    for len in [1_024, 5_000, 65_536, 65_537, 1_000_000] {
        let message = Bytes::from(json(len));
        // Held by others, as that of a broadcast: the second time it is remembered.
        let _others = message.clone();
        for _ in 0..2 {
            let compressed = compress(&message).unwrap();
            assert!(compressed.len() * 2 < len, "{} of {len}", compressed.len());
            assert_eq!(decompress(&compressed, len).unwrap(), message);
        }
        let noise = noise(len);
        let _others = noise.clone();
        assert_eq!((compress(&noise), compress(&noise)), (None, None));
    }
    assert_eq!(compress(&Bytes::new()), None);
    assert_eq!(compress(&Bytes::from_static(b"2")), None);
}

#[test]
fn a_message_that_several_get_is_packed_once() {
    let message = Bytes::from(json(5_000));
    let others = message.clone();
    let first = compress(&message).unwrap();
    assert_eq!(compress(&others).unwrap().as_ptr(), first.as_ptr());
    // Equal, but not the same.
    let equal = Bytes::copy_from_slice(&message);
    assert_ne!(compress(&equal).unwrap().as_ptr(), first.as_ptr());
    // A part of it begins at the same place.
    let part = compress(&message.slice(..4_000)).unwrap();
    assert_eq!(decompress(&part, LIMIT).unwrap(), message.slice(..4_000));
    // Newer ones take its place.
    for _ in 0..REMEMBERED {
        let newer = Bytes::copy_from_slice(&message);
        let _others = newer.clone();
        compress(&newer).unwrap();
    }
    assert_ne!(compress(&others).unwrap().as_ptr(), first.as_ptr());
}

#[test]
fn what_unpacks_to_too_much_is_refused_before_it_fills_memory() {
    let exact = packed_at(6, &vec![b'x'; LIMIT]);
    assert_eq!(decompress(&exact, LIMIT).unwrap().len(), LIMIT);
    assert_eq!(decompress(&exact, LIMIT - 1), Err(Violation::TooLarge));
    assert_eq!(decompress(HELLO, 4), Err(Violation::TooLarge));
    assert_eq!(decompress(HELLO, 5).unwrap(), "Hello");
    assert_eq!(decompress(b"\x00", 0).unwrap(), "");

    let bomb = packed_at(9, &vec![0; 64 << 20]);
    assert!(bomb.len() < 70_000, "{}", bomb.len());
    assert_eq!(
        parse_by(&frame(0xc2, &bomb), 4_096),
        Err(Violation::TooLarge)
    );

    // The compressed size is bounded too, by a little more than the size of a message.
    let parts = [frame(0x42, &noise(LIMIT)), frame(0x80, &noise(LIMIT / 6))];
    assert_eq!(parse(&parts), Err(Violation::TooLarge));
    let announced = &frame(0xc2, &noise(2 * LIMIT))[..14];
    assert_eq!(parse_by(announced, 14), Err(Violation::TooLarge));
}

#[test]
fn what_cannot_be_unpacked_is_a_fault() {
    let message = packed_at(1, json(5_000).as_bytes());
    for (what, payload) in [
        ("nothing at all", &b""[..]),
        ("an unknown kind of block", b"\xff\xff\xff"),
        (
            "a length that is not confirmed",
            b"\x00\x05\x00\x00\x00Hello\x00",
        ),
        ("half of it", &message[..message.len() / 2]),
        ("more than half of it", &message[..message.len() - 1]),
        ("plain text", b"4hello"),
        ("a block without an end", &HELLO[..5]),
        (
            "something behind a last block",
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\x07",
        ),
    ] {
        assert_eq!(
            parse(&[frame(0xc1, payload)]),
            Err(Violation::NotDeflated),
            "{what}"
        );
    }
    let latin = packed_at(1, b"\xe9t\xe9");
    assert_eq!(parse(&[frame(0xc1, &latin)]), Err(Violation::NotUtf8));
    // The thread's state is in order after all that.
    assert_eq!(parse(&[frame(0xc1, HELLO)]).unwrap(), [text("Hello")]);
}

#[test]
fn setting_back_again_and_again_is_refused() {
    let blocks = [&b"\x03\x00"[..]; 10_000].concat();
    assert_eq!(decompress(&blocks, LIMIT), Err(Violation::NotDeflated));
    // One behind each kilobyte is taken.
    let piece = [
        packed_at(0, &noise(1_000)),
        b"\x00\x00\xff\xff\x03\x00".to_vec(),
    ]
    .concat();
    let pieces = [piece.repeat(50), vec![0]].concat();
    assert_eq!(decompress(&pieces, LIMIT).unwrap(), noise(1_000).repeat(50));
}

#[test]
fn the_bit_has_its_place() {
    for (what, frames) in [
        ("on a ping", vec![frame(0xc9, b"")]),
        ("on a pong", vec![frame(0xca, b"")]),
        ("on a close", vec![frame(0xc8, b"")]),
        (
            "on the second fragment",
            vec![frame(0x41, HELLO), frame(0xc0, b"\x00")],
        ),
        (
            "on the second alone",
            vec![frame(0x01, b"a"), frame(0xc0, b"b")],
        ),
        ("the next bit", vec![frame(0xa1, b"x")]),
        ("two bits", vec![frame(0xe1, HELLO)]),
        ("the last bit", vec![frame(0x91, b"x")]),
    ] {
        assert!(
            matches!(parse(&frames), Err(Violation::Protocol(_))),
            "{what}"
        );
    }
    let mut parser = Parser::new(Role::Server, LIMIT, false);
    let mut input = Input::new();
    input.push(&frame(0xc1, HELLO)[..]);
    let refused = parser.next(&mut input, Compressed::Decompress);
    assert!(
        matches!(refused, Err(Violation::Protocol(_))),
        "not agreed on"
    );
}

#[test]
fn what_would_take_time_can_be_left_or_dropped() {
    let frames = [
        frame(0x81, b"plain"),
        frame(0x41, &HELLO[..3]),
        frame(0x80, &HELLO[3..]),
        frame(0x81, b"after it"),
    ];
    let mut parser = Parser::new(Role::Server, LIMIT, true);
    let mut input = Input::new();
    input.push(&frames.concat()[..]);
    assert_eq!(
        parser.next(&mut input, Compressed::Leave),
        Ok(Some(text("plain")))
    );
    for _ in 0..2 {
        assert_eq!(parser.next(&mut input, Compressed::Leave), Ok(None));
    }
    assert_eq!(
        parser.next(&mut input, Compressed::Decompress),
        Ok(Some(text("Hello")))
    );
    assert_eq!(
        parser.next(&mut input, Compressed::Leave),
        Ok(Some(text("after it")))
    );

    let mut parser = Parser::new(Role::Server, LIMIT, true);
    let mut input = Input::new();
    input.push(&frames.concat()[..]);
    assert_eq!(
        parser.next(&mut input, Compressed::Drop),
        Ok(Some(text("plain")))
    );
    assert_eq!(
        parser.next(&mut input, Compressed::Drop),
        Ok(Some(text("after it")))
    );
}
