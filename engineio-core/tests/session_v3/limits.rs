//! The limits of one poll, and the packets that wait for the next.

use engineio_core::codec::v3;
use engineio_core::server::{Event, Input};
use engineio_core::{Config, DisconnectReason, Message, Packet, Payload, Revision};

use crate::driver::{Driver, config};

// row 53
#[test]
fn the_close_packet_waits_for_room() {
    for (revision, first, second) in [
        (Revision::V3, "2:4a2:4b", "1:1"),
        (Revision::V4, "4a\u{1e}4b", "1"),
    ] {
        let by_count = Config {
            max_poll_packets: 2,
            ..config()
        };
        let by_size = Config {
            max_payload: first.len(),
            ..config()
        };
        for config in [by_count, by_size] {
            let mut driver = Driver::polling_with(revision, false, config);
            driver.send("a");
            driver.send("b");
            driver.session.close(driver.now, DisconnectReason::Server);
            assert_eq!(driver.poll_and_answer(), Payload::text(first));
            assert_eq!(driver.session.closed(), None);
            assert_eq!(driver.poll_and_answer(), Payload::text(second));
            assert_eq!(driver.session.closed(), Some(DisconnectReason::Server));
        }
    }
}

/// A close packet that would fit where the next message does not must not overtake it.
// row 53
#[test]
fn the_close_packet_is_the_last() {
    let config = Config {
        max_payload: 150,
        ..config()
    };
    let mut driver = Driver::polling_with(Revision::V3, false, config);
    let large = "b".repeat(200);
    driver.send("a");
    driver.send(large.as_str());
    driver.session.close(driver.now, DisconnectReason::Server);
    assert_eq!(driver.poll_and_answer(), Payload::text("2:4a"));
    // Larger than a poll may be, it goes alone; it could never be sent otherwise.
    assert_eq!(
        driver.poll_and_answer(),
        Payload::text(format!("201:4{large}"))
    );
    assert_eq!(driver.poll_and_answer(), Payload::text("1:1"));
}

#[test]
fn a_pong_counts_too() {
    for (max_payload, first, second) in [(150, 147, 4), (151, 151, 0)] {
        let config = Config {
            max_payload,
            ..config()
        };
        let mut driver = Driver::polling_with(Revision::V3, false, config);
        assert_eq!(driver.post(Payload::text("1:2")), Ok(()));
        driver.send("x".repeat(139));
        driver.send("a");
        let payload = driver.poll_and_answer();
        assert!(payload.body.starts_with(b"1:3140:4x"));
        assert_eq!(payload.body.len(), first);
        if second > 0 {
            assert_eq!(driver.poll_and_answer().body.len(), second);
        }
        assert_eq!(driver.session.queued_messages(), 0);
    }
}

#[test]
fn a_post_is_taken_in_once_and_answered_when_there_is_room() {
    let config = Config {
        inbox_limit: 0,
        ..config()
    };
    let mut driver = Driver::polling_with(Revision::V3, false, config);
    let post = driver.session.next_exchange();
    driver.input(Input::PostOpened(post));
    for _ in 0..2 {
        driver.input(Input::PostReceived(post, Payload::text("2:4a")));
        assert_eq!(driver.post_answer(post), None);
    }
    assert_eq!(driver.events(), [Event::Message(Message::from("a"))]);
    assert_eq!(driver.post_answer(post), Some(Ok(())));
}

#[test]
fn a_payload_of_either_kind_is_decoded_as_the_inbox_has_room() {
    let text = Payload::text("2:4a2:4b0:2:4c1:22:4d");
    let binary = &b"\x00\x02\xff4a\x00\x02\xff4b\x00\x02\xff4c\x00\x01\xff2\x00\x02\xff4d"[..];
    for payload in [text, Payload::binary(binary)] {
        let config = Config {
            inbox_limit: 0,
            ..config()
        };
        let mut driver = Driver::polling_with(Revision::V3, false, config);
        let post = driver.session.next_exchange();
        driver.input(Input::PostOpened(post));
        driver.input(Input::PostReceived(post, payload));
        for text in ["a", "b", "c", "d"] {
            assert_eq!(driver.post_answer(post), None);
            assert_eq!(driver.session.inbox_bytes(), 1 + Config::PACKET_OVERHEAD);
            let event = driver.session.take_event(|| driver.now);
            assert_eq!(event, Some(Event::Message(Message::from(text))));
        }
        assert_eq!(driver.post_answer(post), Some(Ok(())));
        assert_eq!(driver.poll_and_answer(), Payload::text("1:3"));
    }
}

/// The packets of one poll never exceed what was announced, and could not have been more, in any mixture and form.
#[test]
fn polls_fill_max_payload_exactly() {
    let messages: Vec<Message> = (0..40_usize)
        .map(|at| match at % 5 {
            0 => Message::from("x".repeat(at)),
            1 => Message::from("é€😀".repeat(at / 4)),
            2 => Message::from(""),
            3 if at > 20 => Message::from(vec![7; at]),
            _ => Message::from("€"),
        })
        .collect();
    for base64 in [false, true] {
        for max_payload in 110..400 {
            let config = Config {
                max_payload,
                ..config()
            };
            let mut driver = Driver::polling_with(Revision::V3, base64, config);
            for message in &messages {
                driver.send(message.clone());
            }
            let mut sent = Vec::new();
            while sent.len() < messages.len() {
                let payload = driver.poll_and_answer();
                let packets = decode(payload.clone());
                assert!(payload.body.len() <= max_payload || packets.len() == 1);
                sent.extend(packets);
                let Some(next) = messages.get(sent.len()) else {
                    break;
                };
                // With the next message it would have been too large.
                let mut more = decode(payload);
                more.push(next.clone());
                assert!(encode(&more, base64).body.len() > max_payload);
            }
            assert_eq!(sent, messages);
        }
    }
}

fn decode(payload: Payload) -> Vec<Message> {
    v3::decode_payload(payload)
        .map(|packet| match packet.unwrap() {
            Packet::Message(message) => message,
            packet => panic!("{packet:?}"),
        })
        .collect()
}

fn encode(messages: &[Message], base64: bool) -> Payload {
    let packets: Vec<_> = messages.iter().cloned().map(Into::into).collect();
    v3::encode_payload(&packets, base64)
}
