//! The reference's vectors of revision 3, and the places where this codec is deliberately stricter.

use std::time::Instant;

use bytes::Bytes;
use engineio_core::codec::{DecodeErrorKind, v3};
use engineio_core::{DecodeError, Frame, Message, Packet, Payload};

fn text(text: &str) -> Packet {
    Message::from(text).into()
}

fn binary(bytes: &[u8]) -> Packet {
    Message::from(bytes).into()
}

/// The packets that came out before the end or the first error, and that error's kind.
fn decode(payload: Payload) -> (Vec<Packet>, Option<DecodeErrorKind>) {
    let mut packets = Vec::new();
    let mut decoded = v3::decode_payload(payload);
    while let Some(packet) = decoded.next() {
        match packet {
            Ok(packet) => packets.push(packet),
            Err(error) => {
                assert!(decoded.next().is_none(), "nothing follows an error");
                return (packets, Some(error.kind()));
            }
        }
    }
    (packets, None)
}

fn decode_frame(bytes: &'static [u8]) -> Result<Packet, DecodeErrorKind> {
    v3::decode_frame(Frame::Binary(bytes.into())).map_err(|error| error.kind())
}

fn decode_text_frame(text: &'static str) -> Result<Packet, DecodeErrorKind> {
    v3::decode_frame(Frame::text(text)).map_err(|error| error.kind())
}

/// Encodes, checks the announced sizes, decodes again, and returns the payload.
fn round_trip(packets: &[Packet], base64: bool) -> Payload {
    let payload = v3::encode_payload(packets, base64);
    if !packets.is_empty() {
        let len = if payload.binary {
            v3::encoded_len_binary
        } else {
            v3::encoded_len
        };
        let sizes: usize = packets.iter().map(len).sum();
        assert_eq!(payload.body.len(), sizes, "the size of {packets:?}");
    }
    assert_eq!(decode(payload.clone()), (packets.to_vec(), None));
    payload
}

#[test]
fn packets_in_frames() {
    // 37, 38, 39: encoding.
    let message = binary(&[1, 2, 3, 4]);
    let raw = Frame::Binary(Bytes::from_static(&[4, 1, 2, 3, 4]));
    assert_eq!(v3::encode_frame(message.clone(), false), raw);
    assert_eq!(
        v3::encode_frame(message.clone(), true),
        Frame::text("b4AQIDBA==")
    );
    assert_eq!(v3::encode_frame(text("€"), false), Frame::text("4€"));
    assert_eq!(v3::encode_frame(text("€"), true), Frame::text("4€"));
    assert_eq!(
        v3::encode_frame(Packet::probe_pong(), true),
        Frame::text("3probe")
    );
    for (packet, frame) in [
        (Packet::Close, "1"),
        (Packet::ping(), "2"),
        (Packet::pong(), "3"),
        (Packet::Upgrade, "5"),
        (Packet::Noop, "6"),
    ] {
        assert_eq!(v3::encode_frame(packet.clone(), false), Frame::text(frame));
        assert_eq!(decode_text_frame(frame), Ok(packet));
    }
    // The way back, and 40.
    assert_eq!(v3::decode_frame(raw), Ok(message.clone()));
    assert_eq!(decode_text_frame("b4AQIDBA=="), Ok(message.clone()));
    assert_eq!(decode_text_frame("b4AQIDBA"), Ok(message));
    assert_eq!(decode_text_frame("4€"), Ok(text("€")));
    assert_eq!(decode_frame(&[4]), Ok(binary(&[])));
    // Packets that are no messages may be binary too.
    assert_eq!(decode_frame(&[1]), Ok(Packet::Close));
    assert_eq!(decode_frame(&[2]), Ok(Packet::ping()));
    assert_eq!(decode_frame(b"\x02probe"), decode_text_frame("2probe"));
    assert_eq!(decode_frame(b"\x03"), Ok(Packet::pong()));
    assert_eq!(decode_frame(&[5]), Ok(Packet::Upgrade));
    assert_eq!(decode_frame(&[6, 9]), Ok(Packet::Noop));
    assert_eq!(decode_frame(b"\x00{}"), decode_text_frame("0{}"));
    assert_eq!(decode_text_frame("b1"), Ok(Packet::Close));
}

#[test]
fn frames_that_are_no_packets() {
    use DecodeErrorKind::{EmptyPacket, InvalidBase64, InvalidUtf8, UnknownType};
    // 41, and an empty frame.
    for bytes in [&b"\x34a"[..], b"\x07\x01", b"\xff"] {
        assert_eq!(decode_frame(bytes), Err(UnknownType), "{bytes:?}");
    }
    assert_eq!(decode_frame(b""), Err(EmptyPacket));
    // 42: the reference ignores all but the first.
    assert_eq!(decode_text_frame("b4"), Ok(binary(&[])));
    for text in ["b", "b7AQ==", "bAQ=="] {
        assert_eq!(decode_text_frame(text), Err(UnknownType), "{text}");
    }
    // 43, and base64 that is none.
    assert_eq!(decode_text_frame(""), Err(EmptyPacket));
    for text in ["7", "a", " 4", "\u{4}", "€"] {
        assert_eq!(decode_text_frame(text), Err(UnknownType), "{text}");
    }
    for text in ["b4!!!!", "b4A", "b4AQ==AQ=="] {
        assert_eq!(decode_text_frame(text), Err(InvalidBase64), "{text}");
    }
    // The data of a ping is text in this crate, so that it can always be a text frame.
    assert_eq!(decode_frame(b"\x02\xff"), Err(InvalidUtf8));
    assert_eq!(decode_text_frame("b2/w=="), Err(InvalidUtf8));
}

#[test]
fn text_payloads() {
    // 44, 46, and a batch without binary data is text even if the client takes binary data.
    for base64 in [false, true] {
        let payload = round_trip(&[text("hello"), text("€")], base64);
        assert_eq!(payload, Payload::text("6:4hello2:4€"));
        assert_eq!(round_trip(&[text("😀")], base64), Payload::text("3:4😀"));
        // 47
        assert_eq!(round_trip(&[], base64), Payload::text("0:"));
    }
    // 45
    let payload = round_trip(&[text("€"), binary(&[1, 2, 3, 4])], true);
    assert_eq!(payload, Payload::text("2:4€10:b4AQIDBA=="));
    // 48
    for (body, packet) in [
        ("1:2", Packet::ping()),
        ("1:1", Packet::Close),
        ("1:6", Packet::Noop),
    ] {
        assert_eq!(round_trip(&[packet], false), Payload::text(body));
    }
    let open = Packet::Open(Bytes::from_static(r#"{"sid":"€😀"}"#.as_bytes()));
    assert_eq!(
        round_trip(&[open], false),
        Payload::text("14:0{\"sid\":\"€😀\"}")
    );
}

#[test]
fn text_payloads_with_errors() {
    use DecodeErrorKind::{EmptyPacket, InvalidLength, InvalidUtf8, UnknownType};
    // 49
    for (body, kind) in [
        ("6:4hell", InvalidLength),
        ("1:", InvalidLength),
        ("2:", InvalidLength),
        ("abc", InvalidLength),
        ("", EmptyPacket),
        ("3a:4xx", InvalidLength),
        ("-1:", InvalidLength),
        ("3:99:", UnknownType),
        ("1:7", UnknownType),
        ("1:a", UnknownType),
        // What JavaScript takes for a number and this codec does not.
        (" 1:4", InvalidLength),
        ("+1:4", InvalidLength),
        ("1e0:4", InvalidLength),
        ("0x1:4", InvalidLength),
        ("1.0:4", InvalidLength),
        ("1 :4", InvalidLength),
        ("١:4", InvalidLength),
        (":4", InvalidLength),
        ("1", InvalidLength),
        ("2:4😀", InvalidLength),
        ("99999999999999999999999999:4", InvalidLength),
        ("18446744073709551616:4", InvalidLength),
        ("18446744073709551617:4", InvalidLength),
        ("18446744073709551615:4", InvalidLength),
        // A payload of revision 4.
        ("4hello", InvalidLength),
    ] {
        assert_eq!(
            decode(Payload::text(body)),
            (vec![], Some(kind)),
            "{body:?}"
        );
    }
    // 50, 51: what precedes the error is delivered.
    for (body, before, kind) in [
        ("6:4hello6:4wor", text("hello"), InvalidLength),
        ("1:4:", text(""), InvalidLength),
        ("3:4😀x", text("😀"), InvalidLength),
        ("2:4a1:9", text("a"), UnknownType),
    ] {
        assert_eq!(
            decode(Payload::text(body)),
            (vec![before], Some(kind)),
            "{body:?}"
        );
    }
    assert_eq!(
        decode(Payload::text(&b"2:4a2:4\xff"[..])),
        (vec![], Some(InvalidUtf8))
    );
}

#[test]
fn lengths() {
    // 47: an empty packet is passed over wherever it stands, and leading zeros are read.
    for body in ["0:", "0:0:0:", "000:"] {
        assert_eq!(decode(Payload::text(body)), (vec![], None), "{body}");
    }
    assert_eq!(
        decode(Payload::text("0:01:20:0001:3")),
        (vec![Packet::ping(), Packet::pong()], None)
    );
    let long = |zeros: usize| Payload::text(format!("{}1:2", "0".repeat(zeros)));
    assert_eq!(
        decode(long(v3::MAX_LENGTH_DIGITS - 1)),
        (vec![Packet::ping()], None)
    );
    assert_eq!(
        decode(long(v3::MAX_LENGTH_DIGITS)),
        (vec![], Some(DecodeErrorKind::InvalidLength))
    );
    // Every number of digits, in units that are not bytes.
    for count in [1, 8, 9, 98, 99, 998, 999, 9_998, 9_999] {
        for character in ["x", "é", "€", "😀"] {
            let packet = text(&character.repeat(count));
            let units = 1 + character.encode_utf16().count() * count;
            let payload = round_trip(std::slice::from_ref(&packet), false);
            assert!(payload.body.starts_with(format!("{units}:4").as_bytes()));
            round_trip(&[packet, binary(&vec![7; count])], false);
        }
    }
}

#[test]
fn binary_payloads() {
    for (packets, body) in [
        // 52
        (
            vec![text("€"), binary(&[1, 2, 3, 4])],
            &b"\x00\x04\xff4\xe2\x82\xac\x01\x05\xff\x04\x01\x02\x03\x04"[..],
        ),
        // 53
        (
            vec![text("hello"), binary(&[1, 2, 3, 4])],
            b"\x00\x06\xff4hello\x01\x05\xff\x04\x01\x02\x03\x04",
        ),
        // 54
        (
            vec![text("😀"), binary(&[9])],
            b"\x00\x05\xff4\xf0\x9f\x98\x80\x01\x02\xff\x04\x09",
        ),
        // 56, as far as a string can hold it: the replacement character.
        (
            vec![text("\u{fffd}"), binary(&[9])],
            b"\x00\x04\xff4\xef\xbf\xbd\x01\x02\xff\x04\x09",
        ),
        (
            vec![binary(&[]), Packet::pong(), Packet::Close],
            b"\x01\x01\xff\x04\x00\x01\xff3\x00\x01\xff1",
        ),
    ] {
        assert_eq!(round_trip(&packets, false), Payload::binary(body));
    }
    // 55
    let mut body = b"\x01\x01\x02\x04\xff\x04".to_vec();
    body.resize(body.len() + 123, 0);
    assert_eq!(
        round_trip(&[binary(&[0; 123])], false),
        Payload::binary(body)
    );
    // 57, 58, 59
    for (body, packets) in [
        (&b""[..], vec![]),
        (b"\x00\x01\xff2", vec![Packet::ping()]),
        (b"\x01\x01\xff\x04", vec![binary(&[])]),
        // Leading zeros, and base64 within a binary payload.
        (b"\x00\x00\x00\x01\xff2", vec![Packet::ping()]),
        (b"\x00\x06\xffb4AQ==", vec![binary(&[1])]),
    ] {
        assert_eq!(decode(Payload::binary(body)), (packets, None), "{body:?}");
    }
    // The example of the protocol's document has no type byte and a length too small: what it says is a close packet.
    assert_eq!(
        decode(Payload::binary(
            &b"\x00\x04\xff4\xe2\x82\xac\x01\x04\xff\x01\x02\x03\x04"[..]
        )),
        (vec![text("€"), Packet::Close], None)
    );
}

#[test]
fn binary_payloads_with_errors() {
    use DecodeErrorKind::{EmptyPacket, InvalidBase64, InvalidLength, InvalidUtf8, UnknownType};
    for (body, kind) in [
        // 60
        (&b"\x00\x04\xff4\xe2\x82"[..], InvalidLength),
        (b"\x00\x03\xff4\xe2\x82", InvalidUtf8),
        (b"\x00\x03\xff4\xc3\xff", InvalidUtf8),
        (b"\x00\xff", InvalidLength),
        (b"\x00\x01\xff7", UnknownType),
        // 61, stricter than the reference, which delivers an empty message.
        (b"\x00\x09\xff4", InvalidLength),
        (b"\x01\x02\xff\x04", InvalidLength),
        // 62
        (b"\x00\x01\x02", InvalidLength),
        (b"\x00", InvalidLength),
        // 41, 42 within a payload.
        (b"\x01\x01\xff\x07", UnknownType),
        (b"\x01\x02\xff4a", UnknownType),
        (b"\x00\x01\xffb", UnknownType),
        (b"\x00\x03\xffb4!", InvalidBase64),
        // An empty packet; in text payloads only it is passed over.
        (b"\x00\x00\xff", EmptyPacket),
        (b"\x01\x00\xff", EmptyPacket),
        // Neither text nor binary, and digits that are none.
        (b"\x02\x01\xff4", UnknownType),
        (b"1:4", UnknownType),
        (b"\x00\x0a\xff4aaaaaaaaa", InvalidLength),
        (b"\x001\xff4", InvalidLength),
        // An encoded surrogate.
        (b"\x00\x04\xff4\xed\xa0\x80", InvalidUtf8),
    ] {
        let payload = Payload::binary(body);
        assert_eq!(decode(payload), (vec![], Some(kind)), "{body:?}");
        let mut behind = b"\x00\x02\xff4a".to_vec();
        behind.extend_from_slice(body);
        assert_eq!(
            decode(Payload::binary(behind)),
            (vec![text("a")], Some(kind)),
            "{body:?} behind a message"
        );
    }
    // An endless length.
    let mut body = vec![0; 1 << 20];
    assert_eq!(
        decode(Payload::binary(body.clone())),
        (vec![], Some(InvalidLength))
    );
    body[1..].fill(9);
    assert_eq!(decode(Payload::binary(body)), (vec![], Some(InvalidLength)));
}

#[test]
fn errors_tell_their_place() {
    let first = |payload| v3::decode_payload(payload).find_map(Result::err).unwrap();
    let offset = |payload| DecodeError::offset(&first(payload));
    assert_eq!(offset(Payload::text("6:4hello2:4€1:7")), 14);
    assert_eq!(
        offset(Payload::binary(&b"\x00\x02\xff4a\x00\x03\xff4"[..])),
        5
    );
    assert_eq!(
        first(Payload::text("2:4a99:4")).to_string(),
        "invalid length at byte 4"
    );
}

#[test]
fn packets_share_the_bytes_of_the_body() {
    for body in [
        Payload::text("6:4hello2:4€"),
        Payload::binary(&b"\x00\x06\xff4hello\x01\x05\xff\x04\x01\x02\x03\x04"[..]),
    ] {
        let range = body.body.as_ptr_range();
        for packet in v3::decode_payload(body.clone()) {
            let Ok(Packet::Message(message)) = packet else {
                panic!("a message");
            };
            assert!(range.contains(&message.as_bytes().as_ptr()));
        }
    }
}

/// A megabyte of tiny packets takes milliseconds; read in quadratic time it would take minutes. The bound is generous
/// enough for a slow machine without optimization.
#[test]
fn a_flood_of_tiny_packets_is_read_in_linear_time() {
    let start = Instant::now();
    for (unit, per_unit) in [("1:4", 1), ("0:", 0), ("2:4€", 1), ("3:4😀", 1)] {
        let count = (1 << 20) / unit.len();
        let decoded = v3::decode_payload(Payload::text(unit.repeat(count)));
        assert_eq!(decoded.filter(Result::is_ok).count(), count * per_unit);
    }
    let tiny = b"\x01\x01\xff\x04";
    let count = (1 << 20) / tiny.len();
    let decoded = v3::decode_payload(Payload::binary(tiny.repeat(count)));
    assert_eq!(decoded.filter(Result::is_ok).count(), count);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

/// Every truncation and every change of one byte of a few payloads ends in packets or in one error, never in a panic.
#[test]
fn damaged_payloads_do_no_harm() {
    let packets = [text("a€😀"), binary(&[0, 255, 7]), Packet::ping(), text("")];
    for base64 in [false, true] {
        let payload = v3::encode_payload(&packets, base64);
        for len in 0..payload.body.len() {
            let body = payload.body.slice(..len);
            let (decoded, _) = decode(Payload { body, ..payload });
            assert!(decoded.len() < packets.len());
            assert_eq!(decoded, packets[..decoded.len()]);
        }
        for at in 0..payload.body.len() {
            for byte in 0..=255 {
                let mut body = payload.body.to_vec();
                body[at] = byte;
                for binary in [false, true] {
                    let body = Bytes::from(body.clone());
                    decode(Payload {
                        binary,
                        ..Payload::text(body)
                    });
                }
            }
        }
    }
}
