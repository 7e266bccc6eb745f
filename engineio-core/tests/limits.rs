//! The limits of a session: the outbox, the size of a payload, the number of its packets, the inbox.

#[path = "support/mod.rs"]
#[allow(dead_code, reason = "every test crate uses its part of the rig")]
mod support;
#[path = "support/xorshift.rs"]
#[allow(dead_code, reason = "every test crate uses its part of the numbers")]
mod xorshift;

use std::sync::Arc;

use engineio_core::codec::v4;
use engineio_core::server::Session;
use engineio_core::{Config, Message, Packet, Revision, SendError, Sid};

use crate::support::{Rig, Seen, message, payload, secs, text};
use crate::xorshift::Xorshift;

const OVERHEAD: usize = Config::PACKET_OVERHEAD;

fn outbox_of(outbox_limit: usize) -> Rig {
    Rig::polling_with(Config {
        outbox_limit,
        ..Config::default()
    })
}

#[test]
fn the_outbox_counts_data_and_overhead_and_hands_back_what_does_not_fit() {
    let mut rig = outbox_of(2 * OVERHEAD + 10);
    rig.send("12345");
    assert_eq!(rig.session.queued_bytes(), OVERHEAD + 5);
    assert!(rig.session.has_room_for(5));
    assert!(!rig.session.has_room_for(6));
    assert!(!rig.session.has_room_for(usize::MAX));

    let refused = rig.try_send(Message::from("123456"));
    assert_eq!(refused, Err(SendError::Full(Message::from("123456"))));
    rig.try_send(Message::from([1, 2, 3, 4, 5])).unwrap();
    assert_eq!(rig.session.queued_bytes(), 2 * OVERHEAD + 10);
    assert_eq!(rig.session.queued_messages(), 2);

    // Even a message without data costs its overhead.
    let refused = rig.try_send(Message::from(""));
    assert_eq!(
        refused.unwrap_err().into_message(),
        Message::from(""),
        "it is handed back"
    );

    let poll = rig.poll();
    assert_eq!(
        rig.seen(),
        [payload(poll, "412345\u{1e}bAQIDBAU=")],
        "what was refused is not sent"
    );
    assert_eq!(rig.session.queued_bytes(), 0);
}

#[test]
fn an_empty_outbox_takes_one_message_however_large_it_is() {
    let mut rig = outbox_of(0);
    assert!(rig.session.has_room_for(usize::MAX));
    rig.send(&"x".repeat(1_000));
    assert!(!rig.session.has_room_for(0));
    let refused = rig.try_send(Message::from(""));
    assert_eq!(refused, Err(SendError::Full(Message::from(""))));
    rig.poll();
    assert!(rig.session.has_room_for(1_000));
}

#[test]
fn control_packets_find_room_in_a_full_outbox() {
    let mut rig = outbox_of(0);
    rig.send("full");
    rig.wait(secs(25));
    let poll = rig.poll();
    assert_eq!(rig.seen(), [payload(poll, "2\u{1e}4full")]);
    rig.send("full");
    rig.close();
    let poll = rig.poll();
    assert_eq!(rig.seen()[0], payload(poll, "4full\u{1e}1"));
}

#[test]
fn who_waits_for_room_is_told_when_a_poll_or_a_frame_made_some() {
    let mut rig = outbox_of(0);
    rig.rooms = 0;
    rig.send("a");
    assert_eq!(rig.rooms, 0);
    rig.poll();
    assert_eq!(rig.rooms, 1);

    let (mut rig, websocket) = Rig::websocket();
    rig.rooms = 0;
    rig.client_is_slow = true;
    rig.send("a");
    rig.send("b");
    assert_eq!(rig.rooms, 0);
    rig.client_is_slow = false;
    rig.drive();
    assert_eq!(rig.rooms, 1, "once for all frames that were taken together");
    assert_eq!(rig.seen(), [text(websocket, "4a"), text(websocket, "4b")]);

    // The end makes room too: whoever waits must learn that waiting is over.
    rig.rooms = 0;
    rig.close();
    assert_eq!(rig.rooms, 1);
}

fn payloads_of(rig: &mut Rig) -> Vec<String> {
    let payloads = rig.seen().into_iter().filter_map(|seen| match seen {
        Seen::Payload(_, body) => Some(body),
        _ => None,
    });
    payloads.collect()
}

#[test]
fn a_payload_is_filled_to_the_last_byte_and_not_beyond() {
    let mut rig = Rig::polling_with(Config {
        max_payload: 10,
        ..Config::default()
    });
    // Three bytes each with their digit, and two separators: eleven bytes.
    for text in ["aa", "bb", "cc"] {
        rig.send(text);
    }
    rig.poll();
    assert_eq!(payloads_of(&mut rig), ["4aa\u{1e}4bb"]);
    rig.poll();
    assert_eq!(payloads_of(&mut rig), ["4cc"]);

    for text in ["aa", "bb", "c"] {
        rig.send(text);
    }
    rig.poll();
    assert_eq!(payloads_of(&mut rig), ["4aa\u{1e}4bb\u{1e}4c"], "ten bytes");
}

#[test]
fn a_message_larger_than_a_payload_travels_alone() {
    let mut rig = Rig::polling_with(Config {
        max_payload: 10,
        ..Config::default()
    });
    let large = "x".repeat(100);
    rig.send("a");
    rig.send(&large);
    rig.send("b");
    for expected in ["4a", &format!("4{large}"), "4b"] {
        rig.poll();
        assert_eq!(payloads_of(&mut rig), [expected]);
    }
}

#[test]
fn binary_messages_are_measured_as_the_base64_in_which_they_travel() {
    let mut rig = Rig::polling_with(Config {
        max_payload: 18,
        ..Config::default()
    });
    // Nine characters each: together with the separator nineteen.
    rig.try_send(Message::from([0; 6])).unwrap();
    rig.try_send(Message::from([0; 6])).unwrap();
    rig.poll();
    rig.poll();
    assert_eq!(payloads_of(&mut rig), ["bAAAAAAAA", "bAAAAAAAA"]);
}

#[test]
fn a_payload_has_no_more_packets_than_the_limit() {
    for (max_poll_packets, expected) in [
        (2, &["4a\u{1e}4b", "4c\u{1e}4d", "4e"][..]),
        (1, &["4a", "4b", "4c", "4d", "4e"]),
        (0, &["4a", "4b", "4c", "4d", "4e"]),
        (usize::MAX, &["4a\u{1e}4b\u{1e}4c\u{1e}4d\u{1e}4e"]),
    ] {
        let mut rig = Rig::polling_with(Config {
            max_poll_packets,
            ..Config::default()
        });
        for text in ["a", "b", "c", "d", "e"] {
            rig.send(text);
        }
        for _ in expected {
            rig.poll();
        }
        assert_eq!(payloads_of(&mut rig), expected);
        assert_eq!(rig.session.queued_messages(), 0);
    }
}

#[test]
fn a_ping_counts_as_a_packet_of_the_payload() {
    let mut rig = Rig::polling_with(Config {
        max_poll_packets: 2,
        ..Config::default()
    });
    rig.send("a");
    rig.send("b");
    rig.wait(secs(25));
    rig.poll();
    rig.poll();
    assert_eq!(payloads_of(&mut rig), ["2\u{1e}4a", "4b"]);
}

#[test]
fn the_close_packet_keeps_to_the_limits_too() {
    // python-engineio's client throws a payload of 17 packets away as a whole, so it would lose the last messages.
    let by_packets = Config {
        max_poll_packets: 2,
        ..Config::default()
    };
    let by_bytes = Config {
        max_payload: 6,
        ..Config::default()
    };
    for config in [by_packets, by_bytes] {
        let mut rig = Rig::polling_with(config);
        rig.send("a");
        rig.send("b");
        rig.close();
        rig.poll();
        assert_eq!(payloads_of(&mut rig), ["4a\u{1e}4b"]);
        assert_eq!(rig.session.closed(), None);
        rig.poll();
        assert_eq!(payloads_of(&mut rig), ["1"]);
        assert!(rig.session.closed().is_some());
    }
}

#[test]
fn no_payload_of_several_packets_is_larger_than_announced() {
    for seed in 0..300 {
        let mut random = Xorshift::new(seed);
        let config = Config {
            max_payload: 1 + random.below(200),
            max_poll_packets: 1 + random.below(10),
            ..Config::default()
        };
        let mut rig = Rig::polling_with(config.clone());
        let sent: Vec<Message> = (0..1 + random.below(40))
            .map(|_| random.message(30))
            .collect();
        for message in &sent {
            rig.try_send(message.clone()).unwrap();
        }
        rig.close();

        let mut received = Vec::new();
        while rig.session.closed().is_none() {
            rig.poll();
            for body in payloads_of(&mut rig) {
                let packets: Vec<_> = v4::decode_payload(body.clone().into())
                    .map(Result::unwrap)
                    .collect();
                assert!(packets.len() <= config.max_poll_packets, "seed {seed}");
                let fits = body.len() <= config.max_payload || packets.len() == 1;
                assert!(fits, "seed {seed}: {} bytes", body.len());
                received.extend(packets);
            }
        }
        assert_eq!(received.pop(), Some(Packet::Close), "seed {seed}");
        let sent: Vec<_> = sent.into_iter().map(Packet::Message).collect();
        assert_eq!(received, sent, "seed {seed}");
    }
}

#[test]
fn the_inbox_takes_a_body_whole_then_waits_until_enough_was_handled() {
    let mut rig = Rig::polling_with(Config {
        inbox_limit: 2 * OVERHEAD,
        ..Config::default()
    });
    rig.app_is_busy = true;
    let first = rig.post("4\u{1e}4");
    assert_eq!(rig.seen(), [Seen::PostOk(first)], "overhead counts: full");
    assert!(rig.session.wants_input());
    let second = rig.post("4\u{1e}4\u{1e}4");
    assert!(!rig.session.wants_input());
    for _ in 0..2 {
        rig.take_event();
        assert_eq!(rig.seen(), [message("")]);
    }
    rig.take_event();
    assert_eq!(rig.seen(), [message(""), Seen::PostOk(second)]);
    assert!(rig.session.wants_input());
}

#[test]
fn a_post_that_brings_nothing_for_the_application_does_not_wait() {
    let mut rig = Rig::polling_with(Config {
        inbox_limit: 0,
        ..Config::default()
    });
    rig.app_is_busy = true;
    let post = rig.post("6");
    assert_eq!(rig.seen(), [Seen::PostOk(post)]);
}

#[test]
fn a_session_is_small() {
    let size = size_of::<Session>();
    assert!(size <= 640, "a session takes {size} bytes");
    let config = Arc::new(Config::default());
    let session = Session::new(
        config.clone(),
        Sid::from_random([0; 15]),
        Revision::V4,
        false,
    );
    assert_eq!(Arc::strong_count(&config), 2, "the rules are shared");
    drop(session);
}
