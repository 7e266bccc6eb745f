//! The wire format of revision 4, byte for byte. The numbers are those of the vectors that were made by running the
//! parsers of the reference; where the reference is lenient with rubbish, this crate is strict.

#[path = "support/xorshift.rs"]
#[allow(dead_code, reason = "every test crate uses its part of the numbers")]
mod xorshift;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use engineio_core::codec::{DecodeErrorKind, v4};
use engineio_core::{Frame, Handshake, Message, Packet, Sid, Transport};

use crate::xorshift::Xorshift;

fn text(text: &str) -> Packet {
    Packet::Message(Message::from(text))
}

fn binary(bytes: &[u8]) -> Packet {
    Packet::Message(Message::from(bytes))
}

fn body(bytes: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(bytes.as_ref())
}

fn encode_text(packet: &Packet) -> Bytes {
    let mut encoded = BytesMut::new();
    v4::encode_text(packet, &mut encoded);
    encoded.freeze()
}

#[test]
fn packets_have_the_bytes_of_the_reference() {
    /// Vector, packet, text form, and the bare bytes if a WebSocket carries those instead.
    type Vector = (u32, Packet, &'static [u8], Option<&'static [u8]>);
    let vectors: [Vector; 17] = [
        (
            1,
            Packet::Open(Bytes::from_static(br#"{"sid":"x"}"#)),
            b"\x30\x7b\x22\x73\x69\x64\x22\x3a\x22\x78\x22\x7d",
            None,
        ),
        (2, Packet::Close, b"\x31", None),
        (3, Packet::ping(), b"\x32", None),
        (
            4,
            Packet::Ping(Bytes::from_static(Packet::PROBE)),
            b"\x32\x70\x72\x6f\x62\x65",
            None,
        ),
        (5, Packet::probe_pong(), b"\x33\x70\x72\x6f\x62\x65", None),
        (6, text("hello"), b"\x34\x68\x65\x6c\x6c\x6f", None),
        (7, text(""), b"\x34", None),
        (8, text("€"), b"\x34\xe2\x82\xac", None),
        (9, text("😀"), b"\x34\xf0\x9f\x98\x80", None),
        (10, binary(&[1, 2, 3, 4]), b"bAQIDBA==", Some(&[1, 2, 3, 4])),
        (
            11,
            binary(&[1, 2, 3, 4]),
            b"\x62AQIDBA\x3d\x3d",
            Some(&[1, 2, 3, 4]),
        ),
        (12, binary(&[]), b"b", Some(&[])),
        (
            13,
            binary(&1_i32.to_le_bytes()),
            b"bAQAAAA==",
            Some(&[1, 0, 0, 0]),
        ),
        // The reference loses the type of a binary ping; here a packet with bytes can only be a message.
        (14, binary(&[1]), b"bAQ==", Some(&[1])),
        (15, Packet::Upgrade, b"\x35", None),
        (15, Packet::Noop, b"\x36", None),
        (15, Packet::Pong(Bytes::new()), b"\x33", None),
    ];
    for (vector, packet, wire, bare) in vectors {
        assert_eq!(encode_text(&packet), wire, "vector {vector}");
        assert_eq!(v4::encoded_len(&packet), wire.len(), "vector {vector}");
        assert_eq!(
            v4::encode_payload([&packet]),
            wire,
            "vector {vector} as a payload"
        );
        let as_text = v4::encode_frame(packet.clone(), true);
        assert!(matches!(as_text, Frame::Text(_)), "vector {vector}");
        assert_eq!(as_text.as_bytes(), wire, "vector {vector} with b64");

        let frame = v4::encode_frame(packet.clone(), false);
        match bare {
            Some(bytes) => assert_eq!(frame, Frame::Binary(body(bytes)), "vector {vector}"),
            None => assert_eq!(frame, as_text, "vector {vector}"),
        }
        assert_eq!(v4::decode_frame(frame), Ok(packet.clone()), "and back");
        assert_eq!(v4::decode_frame(as_text), Ok(packet), "and back with b64");
    }
}

#[test]
fn text_frames_are_read_as_the_reference_reads_them() {
    let vectors = [
        (16, "4", text("")),
        (17, "44", text("4")),
        (18, "2probe", Packet::Ping(Bytes::from_static(b"probe"))),
        (19, "bAQIDBA==", binary(&[1, 2, 3, 4])),
        (19, "bAQIDBA", binary(&[1, 2, 3, 4])),
        // Padding counts for nothing, so half of it does not either.
        (19, "bAQ=", binary(&[1])),
        (20, "b", binary(&[])),
        (21, "bAQ-_", binary(&[1, 0x0f, 0xbf])),
        (21, "bAQ+/", binary(&[1, 0x0f, 0xbf])),
        (35, "6:4hello", Packet::Noop),
        (36, "4\r\n", text("\r\n")),
    ];
    for (vector, wire, packet) in vectors {
        let frame = v4::decode_frame(Frame::text(wire));
        assert_eq!(frame, Ok(packet.clone()), "vector {vector}");
        let payload: Vec<_> = v4::decode_payload(body(wire)).collect();
        assert_eq!(payload, [Ok(packet)], "vector {vector} as a payload");
    }
}

#[test]
fn text_frames_that_are_no_packets_are_errors() {
    use DecodeErrorKind::{EmptyPacket, InvalidBase64, UnknownType};
    let vectors = [
        (22, "b!!!!", InvalidBase64),
        // Not in the table of the reference, whose decoder takes anything.
        (22, "bA", InvalidBase64),
        (22, "bA===", InvalidBase64),
        (22, "b=", InvalidBase64),
        (22, "bAQ==AQ==", InvalidBase64),
        (22, "bAQ ==", InvalidBase64),
        (22, "b+_+_", InvalidBase64),
        (23, "", EmptyPacket),
        (23, "7", UnknownType),
        (23, "9x", UnknownType),
        (23, "a", UnknownType),
        (23, " 4", UnknownType),
        (23, "-1", UnknownType),
        (23, "constructor", UnknownType),
        (23, "B", UnknownType),
        (23, "€", UnknownType),
    ];
    for (vector, wire, kind) in vectors {
        let error = v4::decode_frame(Frame::text(wire)).unwrap_err();
        assert_eq!(error.kind(), kind, "vector {vector}: {wire:?}");
        assert_eq!(error.offset(), 0, "vector {vector}: {wire:?}");
    }
}

#[test]
fn a_binary_frame_is_always_a_message() {
    for (vector, bytes) in [(24, &[4, 1, 2, 3][..]), (25, &[]), (25, b"2probe")] {
        let packet = v4::decode_frame(Frame::Binary(body(bytes)));
        assert_eq!(packet, Ok(binary(bytes)), "vector {vector}");
    }
}

#[test]
fn payloads_have_the_bytes_of_the_reference() {
    let vectors: [(u32, Vec<Packet>, &[u8]); 4] = [
        (
            26,
            vec![text("hello"), text("€")],
            b"\x34\x68\x65\x6c\x6c\x6f\x1e\x34\xe2\x82\xac",
        ),
        (
            27,
            vec![text("€"), binary(&[1, 2, 3, 4])],
            b"\x34\xe2\x82\xac\x1ebAQIDBA==",
        ),
        (28, vec![Packet::Noop, Packet::Close], b"\x36\x1e\x31"),
        (
            29,
            vec![text("a"), Packet::ping(), text("b")],
            b"4a\x1e2\x1e4b",
        ),
    ];
    for (vector, packets, wire) in vectors {
        assert_eq!(v4::encode_payload(&packets), wire, "vector {vector}");
        let decoded: Result<Vec<_>, _> = v4::decode_payload(body(wire)).collect();
        assert_eq!(decoded, Ok(packets), "vector {vector} and back");
    }
    assert_eq!(v4::encode_payload(&[]), "");
}

#[test]
fn a_payload_gives_the_packets_before_the_bad_one_and_then_says_where_it_is() {
    use DecodeErrorKind::{EmptyPacket, InvalidBase64, InvalidUtf8, UnknownType};
    /// Vector, payload, the packets before the bad one, what is wrong with that, and where it begins.
    type Vector = (u32, &'static [u8], Vec<Packet>, DecodeErrorKind, usize);
    let a = || vec![text("a")];
    let vectors: [Vector; 15] = [
        (30, b"", vec![], EmptyPacket, 0),
        (31, b"\x1e", vec![], EmptyPacket, 0),
        (31, b"\x1e4a", vec![], EmptyPacket, 0),
        (32, b"4a\x1e", a(), EmptyPacket, 3),
        (32, b"4a\x1e\x1e4b", a(), EmptyPacket, 3),
        (33, b"4a\x1eabc\x1e4b", a(), UnknownType, 3),
        (33, b"4a\x1eb!\x1e4b", a(), InvalidBase64, 3),
        (33, "4€\u{1e}7".as_bytes(), vec![text("€")], UnknownType, 5),
        // Bytes that are no UTF-8 are a bad packet like any other, wherever in the packet they stand.
        (33, b"\xff", vec![], InvalidUtf8, 0),
        (33, b"4\xc3\x1e4b", vec![], InvalidUtf8, 0),
        (33, b"4a\x1e4xyz\xff", a(), InvalidUtf8, 3),
        (33, b"4a\x1e\xff\x1e4b", a(), InvalidUtf8, 3),
        (
            33,
            b"4a\x1e2\x1e4\xe2\x82",
            vec![text("a"), Packet::ping()],
            InvalidUtf8,
            5,
        ),
        (33, b"4a\x1e4\xed\xa0\x80", a(), InvalidUtf8, 3),
        // The first bad packet counts, not the first byte that is not UTF-8.
        (33, b"4a\x1ex\x1e4\xff", a(), UnknownType, 3),
    ];
    for (vector, wire, packets, kind, offset) in vectors {
        let mut decoded: Vec<_> = v4::decode_payload(body(wire)).collect();
        let error = decoded.pop().unwrap().unwrap_err();
        assert_eq!(error.kind(), kind, "vector {vector}: {wire:x?}");
        assert_eq!(error.offset(), offset, "vector {vector}: {wire:x?}");
        let before: Result<Vec<_>, _> = decoded.into_iter().collect();
        assert_eq!(before, Ok(packets), "vector {vector}: {wire:x?}");

        let mut rest = v4::decode_payload(body(wire)).skip_while(Result::is_ok);
        assert!(rest.next().is_some());
        assert_eq!(rest.next(), None, "nothing comes after an error");
    }
}

#[test]
fn the_packet_after_a_close_is_read_and_left_to_the_session_to_drop() {
    // Vector 34. That the session drops it is a scenario of the transition table.
    let packets: Result<Vec<_>, _> = v4::decode_payload(body("4a\u{1e}1\u{1e}4b")).collect();
    assert_eq!(packets, Ok(vec![text("a"), Packet::Close, text("b")]));
}

#[test]
fn every_message_comes_back_from_frames_and_from_payloads() {
    for seed in 0..200 {
        let mut random = Xorshift::new(seed);
        let packets: Vec<Packet> = (0..1 + random.below(20))
            .map(|_| Packet::Message(random.message(40)))
            .collect();

        let payload = v4::encode_payload(&packets);
        let decoded: Result<Vec<_>, _> = v4::decode_payload(payload.clone()).collect();
        assert_eq!(decoded.as_ref(), Ok(&packets), "seed {seed}");
        let lens: usize = packets.iter().map(v4::encoded_len).sum();
        assert_eq!(payload.len(), lens + packets.len() - 1, "seed {seed}");

        for packet in packets {
            let wire = encode_text(&packet);
            assert_eq!(wire.len(), v4::encoded_len(&packet), "seed {seed}");
            for base64 in [false, true] {
                let frame = v4::encode_frame(packet.clone(), base64);
                assert_eq!(v4::decode_frame(frame), Ok(packet.clone()), "seed {seed}");
            }
        }
    }
}

#[test]
fn the_length_of_base64_is_exact_for_every_remainder() {
    for len in 0..200 {
        let packet = binary(&vec![0xa5; len]);
        assert_eq!(encode_text(&packet).len(), v4::encoded_len(&packet));
    }
}

#[test]
fn arbitrary_bytes_are_packets_or_an_error_with_an_offset_inside_the_payload() {
    const LIKELY: &[u8] = b"0123456b\x1e\x1eAQ=-_/+\xc3\xa9\xff";
    for seed in 0..2_000 {
        let mut random = Xorshift::new(seed);
        let wire: Bytes = (0..random.below(24))
            .map(|_| LIKELY[random.below(LIKELY.len())])
            .collect();
        let mut offset = 0;
        let mut pieces = wire.split(|&byte| byte == v4::SEPARATOR);
        for decoded in v4::decode_payload(wire.clone()) {
            // An error names the first byte of the packet that it is about.
            let piece = pieces.next().expect("no more packets than pieces");
            match decoded {
                Ok(packet) => {
                    let again = v4::decode_payload(encode_text(&packet)).next();
                    assert_eq!(again, Some(Ok(packet)), "seed {seed}: {wire:x?}");
                }
                Err(error) => assert_eq!(error.offset(), offset, "seed {seed}: {wire:x?}"),
            }
            offset += piece.len() + 1;
        }
    }
}

#[test]
fn a_text_message_is_passed_on_without_a_copy() {
    let wire = body("4hello");
    let packet = v4::decode_payload(wire.clone()).next().unwrap().unwrap();
    let start = wire.as_ptr();
    assert_eq!(v4::encode_payload([&packet]).as_ptr(), start);
    assert_eq!(v4::encode_frame(packet, false).as_bytes().as_ptr(), start);
}

#[test]
fn an_open_packet_is_the_same_json_that_a_serializer_writes() {
    for upgrades in [
        vec![],
        vec![Transport::WebSocket],
        vec![Transport::WebSocket, Transport::WebTransport],
    ] {
        let handshake = Handshake {
            sid: Sid::from_random([0xa5; 15]),
            upgrades: upgrades.clone(),
            ping_interval: Duration::from_millis(1),
            ping_timeout: Duration::MAX,
            max_payload: usize::MAX,
        };
        let json = handshake.to_json();
        let names: Vec<_> = upgrades.iter().map(|to| to.name()).collect();
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let expected = serde_json::json!({
            "sid": handshake.sid.as_str(),
            "upgrades": names,
            "pingInterval": 1,
            "pingTimeout": u64::MAX,
            "maxPayload": usize::MAX,
        });
        assert_eq!(value, expected);
        assert!(!json.contains(&b' '));
        assert_eq!(Handshake::from_json(&json).unwrap().upgrades, upgrades);
    }
}
