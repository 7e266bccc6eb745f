//! The parser on streams that keep to the rules, and on streams that do not.

use bytes::Bytes;
use engineio_core::Frame;

use super::{Compressed, Parsed, Parser};
use crate::input::Input;
use crate::{CloseFrame, Role, Violation};

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

fn parse(bytes: &[u8], step: usize) -> Result<Vec<Parsed>, Violation> {
    parse_with(Parser::new(Role::Server, LIMIT, false), bytes, step)
}

/// Everything in these bytes, which come `step` at a time.
pub(crate) fn parse_with(
    mut parser: Parser,
    bytes: &[u8],
    step: usize,
) -> Result<Vec<Parsed>, Violation> {
    let mut input = Input::new();
    let mut all = Vec::new();
    for part in bytes.chunks(step) {
        input.push(part);
        while let Some(parsed) = parser.next(&mut input, Compressed::Decompress)? {
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
    assert_eq!(parse(&whole[..14], 14), Err(Violation::TooLarge));
    let mut endless = frame(0x82, b"");
    endless.splice(1..2, [0xff; 9]);
    assert_eq!(parse(&endless, 64), Err(Violation::TooLarge));
    let parts = [frame(0x02, &vec![0; LIMIT]), frame(0x80, b"x")].concat();
    assert_eq!(parse(&parts, 4096), Err(Violation::TooLarge));
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
            matches!(parse(&bytes, 64), Err(Violation::Protocol(_))),
            "{what}"
        );
    }
    assert_eq!(parse(&frame(0x81, b"\xff"), 64), Err(Violation::NotUtf8));
    assert_eq!(
        parse(&frame(0x88, b"\x03\xe8\xff"), 64),
        Err(Violation::NotUtf8)
    );
}

#[test]
fn close_codes() {
    assert_eq!(parse(&frame(0x88, b""), 64).unwrap(), [Parsed::Close(None)]);
    for code in [1000_u16, 1001, 1007, 1011, 1014, 3000, 4999] {
        let close = frame(0x88, &code.to_be_bytes());
        let reason = "".into();
        let parsed = Parsed::Close(Some(CloseFrame { code, reason }));
        assert_eq!(parse(&close, 64).unwrap(), [parsed]);
    }
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
        let close = frame(0x88, &code.to_be_bytes());
        assert!(
            matches!(parse(&close, 64), Err(Violation::Protocol(_))),
            "{code}"
        );
    }
}

#[test]
fn a_client_refuses_masks_and_a_server_needs_them() {
    for (role, masked) in [(Role::Server, true), (Role::Client, false)] {
        let good = [0x81, 0x01, b'x'].to_vec();
        let (good, bad) = match masked {
            false => (good, frame(0x81, b"x")),
            true => (frame(0x81, b"x"), good),
        };
        let parser = || Parser::new(role, LIMIT, false);
        let expected = [Parsed::Message(Frame::text("x"))];
        assert_eq!(parse_with(parser(), &good, 1).unwrap(), expected);
        let refused = parse_with(parser(), &bad, 1);
        assert!(matches!(refused, Err(Violation::Protocol(_))), "{role:?}");
    }
}

#[test]
fn a_small_message_has_memory_of_its_own() {
    let bytes = [frame(0x82, &[0; 50_000]), frame(0x82, b"x")].concat();
    let parsed = parse(&bytes, bytes.len()).unwrap();
    let Some(Parsed::Message(Frame::Binary(small))) = parsed.into_iter().nth(1) else {
        panic!("a message");
    };
    let own = bytes::BytesMut::from(small);
    assert!(own.capacity() <= 64, "{} bytes", own.capacity());
}
