//! Rows 1 to 17 of the client's transition table: the handshake and polling.

mod client_support;

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use client_support::{Client, OPEN, OPEN_UPGRADABLE, message, secs, text};
use engineio_core::client::{Config, Event, Fault, Input, Opened, Output};
use engineio_core::{DisconnectReason, Message, Payload, SendError, Transport, Transports};

#[test]
fn row_1_an_open_packet_starts_polling() {
    let mut client = Client::new(Transport::Polling);
    assert!(!client.session.is_open());
    client.answer_poll(OPEN);
    assert_eq!(client.events(), [Event::Opened]);
    assert!(client.session.is_open());
    assert!(client.poll().is_some());
    assert_eq!(client.outputs(), []);
    let opened = client.session.opened().unwrap();
    assert_eq!((opened.sid(), opened.short_sid()), ("abcdefgh", "abcdef"));
    assert_eq!(opened.patience(), secs(45));
    assert_eq!(opened.max_payload(), Some(100));
}

#[test]
fn row_2_an_offer_to_upgrade_is_taken() {
    let mut client = Client::new(Transport::Polling);
    client.answer_poll(OPEN_UPGRADABLE);
    client.websocket();
    assert!(client.poll().is_some());
    assert_eq!(client.session.transport(), Transport::Polling);
}

#[test]
fn row_2_unless_upgrades_are_switched_off() {
    let config = Config {
        upgrades: Transports::from_iter([]),
        ..Config::default()
    };
    let mut client = Client::with(config, Transport::Polling);
    client.answer_poll(OPEN_UPGRADABLE);
    assert!(client.poll().is_some());
    assert_eq!(client.outputs(), []);
}

#[test]
fn row_3_messages_may_follow_the_open_packet() {
    let mut client = Client::new(Transport::Polling);
    client.answer_poll(format!("{OPEN}\u{1e}4welcome"));
    assert_eq!(client.events(), [Event::Opened, message("welcome")]);
}

#[test]
fn a_small_message_does_not_keep_a_large_response() {
    let mut client = Client::new(Transport::Polling);
    client.answer_poll(OPEN);
    client.events();
    let large = "x".repeat(1000);
    let body = Bytes::from(format!("4small\u{1e}4{large}\u{1e}6"));
    let range = body.as_ptr_range();
    let poll = client.poll().unwrap();
    client.input(Input::PollAnswered(poll, Payload::text(body.clone())));
    let events = client.events();
    assert_eq!(events, [message("small"), message(&large)]);
    let is_part = |event: &Event| match event {
        Event::Message(message) => range.contains(&message.as_bytes().as_ptr()),
        _ => false,
    };
    // What makes up most of the response shares it, without a copy.
    assert_eq!(
        events.iter().map(is_part).collect::<Vec<_>>(),
        [false, true]
    );
}

#[test]
fn row_4_what_was_sent_early_follows_the_open_packet() {
    let mut client = Client::new(Transport::WebSocket);
    client.send("early");
    let websocket = client.websocket();
    client.input(Input::LinkOpened(websocket));
    assert_eq!(client.outputs(), []);
    client.frame(websocket, OPEN);
    assert_eq!(client.frames(websocket), [text("4early")]);
    assert_eq!(client.session.transport(), Transport::WebSocket);
}

#[test]
fn row_5_anything_but_an_open_packet_ends_the_session() {
    for body in [
        "",
        "4hello",
        "<html>",
        "0",
        "0{}",
        "0[]",
        r#"0{"sid":1,"pingInterval":1,"pingTimeout":1}"#,
        r#"0{"sid":"","pingInterval":1,"pingTimeout":1}"#,
        r#"0{"sid":"a","pingInterval":-1,"pingTimeout":1}"#,
        r#"0{"sid":"a","pingInterval":"soon","pingTimeout":1}"#,
        r#"0{"sid":"a","pingInterval":null,"pingTimeout":1}"#,
        r#"0{"sid":"a","pingInterval":"NaN","pingTimeout":1}"#,
        r#"0{"sid":"a","pingInterval":1}"#,
        r#"0{"sid":"a","upgrades":[1],"pingInterval":1,"pingTimeout":1}"#,
    ] {
        let mut client = Client::new(Transport::Polling);
        client.answer_poll(body);
        assert!(client.session.fault().is_some(), "{body}");
        client.assert_closed(DisconnectReason::ParseError);
    }
    let mut client = Client::new(Transport::WebSocket);
    let websocket = client.websocket();
    client.input(Input::LinkOpened(websocket));
    client.frame(websocket, "6");
    assert!(matches!(client.session.fault(), Some(Fault::NotOpen)));
    client.assert_closed(DisconnectReason::ParseError);
    let reason = DisconnectReason::ParseError;
    assert_eq!(client.outputs(), [Output::CloseLink(websocket, reason)]);
}

#[test]
fn row_1_an_open_packet_is_read_as_leniently_as_by_the_references() {
    let long = format!(
        r#"0{{"sid":"{}","pingInterval":1,"pingTimeout":1,"maxPayload":7}}"#,
        "x".repeat(2048)
    );
    for (body, max_payload) in [
        (
            r#"0{"sid":"a","pingInterval":1,"pingTimeout":1,"maxPayload":null}"#,
            None,
        ),
        (
            r#"0{"sid":"a","pingInterval":1,"pingTimeout":1,"maxPayload":[1,{"a":2}]}"#,
            None,
        ),
        (
            r#"0{"sid":"a","pingInterval":"1","pingTimeout":" 1.0","maxPayload":"9"}"#,
            Some(9),
        ),
        (
            r#"0{"sid":"b","sid":"a","x":1,"x":{},"pingInterval":9,"pingInterval":1,"pingTimeout":1}"#,
            None,
        ),
        (
            r#"0{"sid":"a","upgrades":null,"pingInterval":1,"pingTimeout":1}"#,
            None,
        ),
        (&long, Some(7)),
    ] {
        let mut client = Client::new(Transport::Polling);
        client.answer_poll(body.to_owned());
        let opened = client.session.opened().expect(body);
        assert_eq!(opened.patience(), Duration::from_millis(2), "{body}");
        assert_eq!(opened.max_payload(), max_payload, "{body}");
        assert!(opened.sid() == "a" || opened.sid().len() == 2048, "{body}");
    }
}

#[test]
fn row_6_a_failed_handshake_ends_the_session_for_its_reason() {
    let mut client = Client::new(Transport::Polling);
    let poll = client.poll().unwrap();
    client.input(Input::PollFailed(poll, DisconnectReason::Refused));
    client.assert_closed(DisconnectReason::Refused);

    let mut client = Client::new(Transport::WebSocket);
    let websocket = client.websocket();
    let reason = DisconnectReason::TransportError;
    client.input(Input::LinkClosed(websocket, reason));
    client.assert_closed(reason);
}

#[test]
fn row_7_a_handshake_has_to_be_complete_in_time() {
    let mut client = Client::new(Transport::Polling);
    let poll = client.poll().unwrap();
    client.advance(secs(19));
    assert_eq!(client.session.closed(), None);
    client.advance(secs(1));
    client.assert_closed(DisconnectReason::TransportError);
    assert!(matches!(client.session.fault(), Some(Fault::OpenTimeout)));
    assert_eq!(client.outputs(), [Output::Cancel(poll)]);
}

#[test]
fn row_8_closing_before_the_open_packet_is_at_once() {
    let mut client = Client::new(Transport::Polling);
    let poll = client.poll().unwrap();
    client.close();
    client.assert_closed(DisconnectReason::Client);
    assert_eq!(client.outputs(), [Output::Cancel(poll)]);
    client.input(Input::PollAnswered(poll, Payload::text(OPEN)));
    assert_eq!(client.events(), []);
}

#[test]
fn row_9_polls_follow_each_other_and_never_overlap() {
    let mut client = Client::polling();
    client.answer_poll("4a\u{1e}6\u{1e}bAQIe\u{1e}4");
    let binary = Event::Message(Message::from([1, 2, 0x1e]));
    assert_eq!(client.events(), [message("a"), binary, message("")]);
    let poll = client.poll();
    assert!(poll.is_some());
    assert_eq!(client.poll(), None, "one poll at a time");
}

#[test]
fn row_9_an_empty_answer_is_a_poll_without_packets() {
    let mut client = Client::polling();
    client.answer_poll("");
    assert!(client.session.is_open());
    assert!(client.poll().is_some());
}

#[test]
fn row_9_polls_that_bring_nothing_are_delayed_after_the_second_in_a_row() {
    let mut client = Client::polling();
    for empty in ["6", "6\u{1e}6", ""] {
        client.answer_poll("6");
        client.answer_poll(empty);
        assert_eq!(client.poll(), None, "{empty:?}");
        client.advance(Duration::from_millis(19));
        assert_eq!(client.poll(), None, "{empty:?}");
        client.advance(Duration::from_millis(1));
        client.answer_poll("4a");
    }
    client.answer_poll("6");
    assert!(client.poll().is_some(), "one of them is no flood");
}

#[test]
fn row_9_an_answer_is_taken_once() {
    let mut client = Client::polling();
    let poll = client.poll().unwrap();
    client.input(Input::PollAnswered(poll, Payload::text("4a")));
    client.input(Input::PollAnswered(poll, Payload::text("4a")));
    client.input(Input::PollFailed(poll, DisconnectReason::TransportError));
    assert_eq!(client.events(), [message("a")]);
    assert!(client.session.is_open());
}

#[test]
fn row_10_a_failed_poll_ends_the_session() {
    let mut client = Client::polling();
    client.send("a");
    let (poll, post) = (client.poll().unwrap(), client.post().unwrap());
    client.input(Input::PollFailed(poll, DisconnectReason::Refused));
    client.assert_closed(DisconnectReason::Refused);
    assert_eq!(client.outputs(), [Output::Cancel(post)]);
}

#[test]
fn row_11_packets_before_a_malformed_one_are_delivered() {
    let mut client = Client::polling();
    client.answer_poll("4a\u{1e}x\u{1e}4b");
    let closed = Event::Closed(DisconnectReason::ParseError);
    assert_eq!(client.events(), [message("a"), closed]);
    let Some(Fault::Decode(error)) = client.session.fault() else {
        panic!("{:?}", client.session.fault());
    };
    assert_eq!(error.to_string(), "unknown packet type at byte 3");
}

#[test]
fn row_12_packets_of_one_response_are_counted() {
    let config = Config {
        max_poll_packets: 3,
        ..Config::default()
    };
    let mut client = Client::polling_with(config.clone());
    client.answer_poll("6\u{1e}6\u{1e}6");
    assert!(client.session.is_open());
    client.answer_poll("6\u{1e}6\u{1e}6\u{1e}4a");
    client.assert_closed(DisconnectReason::PayloadTooLarge);
}

#[test]
fn row_13_a_full_inbox_delays_the_next_poll() {
    let config = Config {
        inbox_limit: 100,
        ..Config::default()
    };
    let mut client = Client::polling_with(config);
    client.answer_poll("4a\u{1e}4b");
    assert_eq!(client.poll(), None);
    assert!(!client.session.wants_input());
    assert_eq!(client.session.take_event(|| client.now), Some(message("a")));
    client.drain();
    assert!(client.session.wants_input());
    assert!(client.poll().is_some());
}

#[test]
fn row_14_a_message_begins_a_post() {
    let mut client = Client::polling();
    client.send("€");
    assert_eq!(client.answer_post(), "4€");
    assert_eq!(client.post(), None);
}

#[test]
fn row_15_posts_hold_what_the_server_takes_and_not_a_byte_more() {
    let mut client = Client::polling();
    client.send("first");
    let post = client.post().unwrap();
    assert_eq!(client.body(post), "4first");
    // 2 × (1 + 31) + 1 separator leave 34 of 100 bytes, separator included: 33 bytes of packet are the last to fit.
    let binary = |len: usize| Message::from(vec![0; len]);
    for _ in 0..2 {
        client.session.send(Message::from("x".repeat(31))).unwrap();
    }
    client.session.send(binary(24)).unwrap();
    client.session.send(Message::from("y".repeat(99))).unwrap();
    client.session.send(Message::from("z".repeat(500))).unwrap();
    client.session.send(Message::from("after")).unwrap();
    client.drain();
    assert_eq!(client.post(), None, "one POST at a time");
    client.input(Input::PostAnswered(post));
    let packed = client.answer_post();
    assert_eq!(packed.len(), 32 + 1 + 32 + 1 + 33);
    assert!(packed.ends_with("\u{1e}bAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
    assert_eq!(client.answer_post().len(), 100, "exactly the limit");
    assert_eq!(client.answer_post().len(), 501, "too large for any: alone");
    assert_eq!(client.answer_post(), "4after");
    assert_eq!(client.post(), None);
}

#[test]
fn row_15_base64_is_counted_as_it_travels() {
    let mut client = Client::polling();
    client.send("first");
    let post = client.post().unwrap();
    client.body(post);
    client.session.send(Message::from("x".repeat(32))).unwrap();
    client.session.send(Message::from("x".repeat(31))).unwrap();
    // 33 + 1 + 32 + 1 and 33 for the base64 of 24 bytes are exactly 100; a 25th byte makes it 37.
    client.session.send(Message::from(vec![0; 25])).unwrap();
    client.input(Input::PostAnswered(post));
    client.drain();
    assert_eq!(client.answer_post().len(), 66);
    assert_eq!(client.answer_post().len(), 37);
}

#[test]
fn row_15_at_most_sixteen_packets_go_in_one_post() {
    let mut client = Client::polling();
    client.send("first");
    let post = client.post().unwrap();
    client.body(post);
    (0..20).for_each(|_| client.send("x"));
    client.input(Input::PostAnswered(post));
    assert_eq!(client.answer_post().split('\u{1e}').count(), 16);
    assert_eq!(client.answer_post().split('\u{1e}').count(), 4);
}

#[test]
fn row_16_an_answered_post_makes_way_for_the_next() {
    let mut client = Client::polling();
    client.send("a");
    let post = client.post().unwrap();
    client.send("b");
    assert_eq!(client.body(post), "4a\u{1e}4b");
    assert_eq!(
        client.session.take_payload(post),
        None,
        "a body is taken once"
    );
    client.send("c");
    assert_eq!(client.post(), None);
    client.input(Input::PostAnswered(post));
    assert_eq!(client.answer_post(), "4c");
}

#[test]
fn row_17_a_failed_post_ends_the_session() {
    let mut client = Client::polling();
    let poll = client.poll().unwrap();
    client.send("a");
    let post = client.post().unwrap();
    client.body(post);
    client.input(Input::PostFailed(post, DisconnectReason::TransportError));
    client.assert_closed(DisconnectReason::TransportError);
    assert_eq!(client.outputs(), [Output::Cancel(poll)]);
}

#[test]
fn row_17a_a_refused_post_leaves_the_poll_time_for_the_last_words() {
    let refused = |client: &mut Client| {
        client.send("a");
        let post = client.post().unwrap();
        client.body(post);
        client.input(Input::PostFailed(post, DisconnectReason::Refused));
        assert_eq!(client.session.closed(), None);
        client.send("b");
        assert_eq!(client.post(), None);
    };
    let mut client = Client::polling();
    refused(&mut client);
    client.answer_poll("4last\u{1e}1");
    let closed = Event::Closed(DisconnectReason::Server);
    assert_eq!(client.events(), [message("last"), closed]);

    let mut client = Client::polling();
    refused(&mut client);
    client.answer_poll("4last");
    let closed = Event::Closed(DisconnectReason::Refused);
    assert_eq!(client.events(), [message("last"), closed]);

    let mut client = Client::polling();
    refused(&mut client);
    client.advance(secs(1));
    client.assert_closed(DisconnectReason::Refused);
}

#[test]
fn row_17a_the_first_refusal_is_the_reason_however_the_poll_ends() {
    type End = fn(&mut Client);
    let ends: [End; 4] = [
        |client| {
            let poll = client.poll().unwrap();
            client.input(Input::PollFailed(poll, DisconnectReason::TransportError));
        },
        |client| client.answer_poll("not a packet"),
        |client| client.close(),
        |client| client.advance(secs(1)),
    ];
    for end in ends {
        let mut client = Client::polling();
        client.send("a");
        let post = client.post().unwrap();
        client.body(post);
        client.input(Input::PostFailed(post, DisconnectReason::Refused));
        end(&mut client);
        client.assert_closed(DisconnectReason::Refused);
    }
}

#[test]
fn a_full_outbox_hands_the_message_back() {
    let config = Config {
        outbox_limit: 200,
        ..Config::default()
    };
    let mut client = Client::polling_with(config);
    client.send(&"x".repeat(1000));
    assert!(!client.session.has_room_for(0));
    let refused = client.session.send(Message::from("more")).unwrap_err();
    assert_eq!(refused, SendError::Full(Message::from("more")));
    client.session.send_beyond_limit("its turn".into()).unwrap();
    assert_eq!(client.session.queued_messages(), 2);
    let post = client.post().unwrap();
    client.session.take_payload(post).unwrap();
    assert_eq!(client.session.poll_output(), Some(Output::Room));
    client.send("more");
    client.session.close(client.now);
    let refused = client.session.send_beyond_limit("late".into());
    assert_eq!(refused, Err(SendError::Closed("late".into())));
}

#[test]
fn intervals_out_of_this_world_are_taken_as_a_day() {
    let mut client = Client::new(Transport::Polling);
    client.answer_poll(r#"0{"sid":"a","pingInterval":1e300,"pingTimeout":18446744073709551615}"#);
    assert_eq!(
        client.session.opened().unwrap().patience(),
        secs(24 * 60 * 60)
    );
}

#[test]
fn intervals_of_zero_end_the_session_and_do_not_spin() {
    let mut client = Client::new(Transport::Polling);
    client.answer_poll(r#"0{"sid":"a","pingInterval":0,"pingTimeout":0}"#);
    client.advance(Duration::ZERO);
    client.assert_closed(DisconnectReason::PingTimeout);
}

#[test]
fn no_length_is_too_large_for_a_question() {
    let mut client = Client::polling();
    assert!(client.session.has_room_for(usize::MAX), "nothing is queued");
    client.send("a");
    assert!(!client.session.has_room_for(usize::MAX));
}

#[test]
fn the_error_for_an_open_packet_quotes_no_id() {
    for json in [
        r#""SECRET""#,
        r#"{"sid":["SECRET"]}"#,
        r#"{"sid":{"SECRET":1}}"#,
        r#"{"sid":1,"upgrades":"SECRET"}"#,
        r#"{"sid":"SECRET","sid":"SECRET""#,
        r#"{"sid":"SECRET","pingInterval":-1,"pingTimeout":1}"#,
    ] {
        let error = Opened::from_json(json.as_bytes()).unwrap_err();
        let source = error.source().map(ToString::to_string);
        let shown = format!("{error} {error:?} {source:?}");
        assert!(!shown.contains("SECRET"), "{shown}");
    }
}
