//! The memory that received messages keep alive, beside what the queues count for them.

use std::sync::{Arc, Weak};
use std::time::Instant;

use bytes::Bytes;
use engineio_core::codec::{detach, v3, v4};
use engineio_core::server::{Event, First, Input, Session};
use engineio_core::{Config, DecodeError, Message, Packet, Payload, Revision, Sid, client, jsonp};

/// A buffer, and a way to see whether anybody still holds it.
fn watched(data: impl Into<Vec<u8>>) -> (Bytes, Weak<Vec<u8>>) {
    struct Owner(Arc<Vec<u8>>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    let data = Arc::new(data.into());
    let weak = Arc::downgrade(&data);
    (Bytes::from_owner(Owner(data)), weak)
}

fn messages(
    packets: impl Iterator<Item = Result<Packet, DecodeError>>,
) -> Result<Vec<Message>, DecodeError> {
    packets
        .filter_map(|packet| match packet {
            Ok(Packet::Message(message)) => Some(Ok(message)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
        .collect()
}

fn noop_and_message_v4() -> Vec<u8> {
    format!("6{}\u{1e}4x", "y".repeat(10_000)).into_bytes()
}

fn noop_and_message_v3(binary: bool) -> Payload {
    let noop = "y".repeat(10_000);
    if binary {
        let mut body = b"\x00\x01\x00\x00\x00\x01\xff6".to_vec();
        body.extend_from_slice(noop.as_bytes());
        body.extend_from_slice(b"\x01\x02\xff\x04x");
        Payload::binary(body)
    } else {
        Payload::text(format!("10001:6{noop}2:4x"))
    }
}

#[test]
fn a_small_message_of_a_large_payload_does_not_keep_the_payload_alive() {
    let (body, alive) = watched(noop_and_message_v4());
    let kept = messages(v4::decode_payload(body)).unwrap();
    assert_eq!(kept, [Message::from("x")]);
    assert!(alive.upgrade().is_none(), "revision 4");

    for binary in [false, true] {
        let payload = noop_and_message_v3(binary);
        let (body, alive) = watched(payload.body.to_vec());
        let kept = messages(v3::decode_payload(Payload { body, ..payload })).unwrap();
        assert_eq!(kept[0].as_bytes(), b"x");
        assert!(alive.upgrade().is_none(), "revision 3, binary: {binary}");
    }
}

#[test]
fn a_payload_of_one_large_message_is_not_copied() {
    let (body, alive) = watched(format!("4{}", "x".repeat(10_000)));
    let kept = messages(v4::decode_payload(body)).unwrap();
    assert!(alive.upgrade().is_some(), "revision 4");
    drop(kept);

    let (body, alive) = watched(format!("10001:4{}", "x".repeat(10_000)));
    let kept = messages(v3::decode_payload(Payload::text(body))).unwrap();
    assert!(alive.upgrade().is_some(), "revision 3");
    drop(kept);
}

#[test]
fn whatever_the_sizes_the_memory_behind_a_message_stays_below_twice_what_is_counted() {
    for len in [0, 1, 10, 63, 64, 65, 200, 1_000, 5_000] {
        for buffer in [
            len,
            len + 1,
            len + 64,
            2 * len,
            2 * len + 65,
            10 * len,
            20_000,
        ] {
            let (bytes, alive) = watched(vec![0; buffer.max(len)]);
            let size = bytes.len();
            let slice = detach(bytes.slice(..len), size);
            drop(bytes);
            let kept = if alive.upgrade().is_some() {
                size
            } else {
                slice.len()
            };
            assert!(
                kept < 2 * (len + Config::PACKET_OVERHEAD),
                "{len} of {size}"
            );
        }
    }
}

#[test]
fn a_server_that_was_sent_small_messages_in_large_posts_holds_none_of_the_bodies() {
    let now = Instant::now();
    let config = Arc::new(Config::default());
    let mut session = Session::new(config, Sid::from_random([0; 15]), Revision::V4, false);
    let handshake = session.next_exchange();
    session.handle_input(now, Input::Accepted(First::Polling(handshake)));
    session.take_payload(now, handshake);

    let mut bodies = Vec::new();
    for _ in 0..10 {
        let (body, alive) = watched(noop_and_message_v4());
        bodies.push(alive);
        let post = session.next_exchange();
        session.handle_input(now, Input::PostOpened(post));
        session.handle_input(now, Input::PostReceived(post, Payload::text(body)));
    }
    assert_eq!(session.inbox_bytes(), 10 * (1 + Config::PACKET_OVERHEAD));
    assert!(bodies.iter().all(|body| body.upgrade().is_none()));

    // Nor does the outbox after an echo.
    while let Some(event) = session.take_event(|| now) {
        if let Event::Message(message) = event {
            session.send(message).unwrap();
        }
    }
    assert_eq!(session.queued_messages(), 10);
    assert!(bodies.iter().all(|body| body.upgrade().is_none()));
}

#[test]
fn a_client_that_was_sent_a_small_message_in_a_large_response_does_not_hold_the_response() {
    let now = Instant::now();
    let config = client::Config::default();
    let mut session = client::Session::new(now, config, engineio_core::Transport::Polling);
    let Some(client::Output::Poll(poll)) = session.poll_output() else {
        panic!("a client begins with a poll");
    };
    let open = r#"0{"sid":"abc","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#;
    let (body, alive) = watched([open.as_bytes(), b"\x1e", &noop_and_message_v4()].concat());
    session.handle_input(now, client::Input::PollAnswered(poll, Payload::text(body)));
    assert!(alive.upgrade().is_none());
    assert_eq!(session.take_event(|| now), Some(client::Event::Opened));
    assert_eq!(
        session.take_event(|| now),
        Some(client::Event::Message(Message::from("x")))
    );
}

#[test]
fn a_form_of_escapes_keeps_no_more_memory_than_its_payload() {
    let payload = jsonp::unwrap(b"x=y&d=%34%61%61%61%61%61%61").unwrap();
    assert_eq!(payload, "4aaaaaa");
    let vec = Vec::from(payload);
    assert!(vec.capacity() < 2 * vec.len());
}
