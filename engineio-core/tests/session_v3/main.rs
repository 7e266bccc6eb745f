//! Sessions of revision 3, and the rules that revision 4 shares with them, with time as an argument.

mod driver;
mod limits;

use driver::{Driver, config, raw};
use engineio_core::server::{Event, First, Input, Output};
use engineio_core::{
    DisconnectReason, Frame, Handshake, Message, Payload, Refusal, Revision, Timer, Transport,
};

#[test]
fn the_handshake_is_a_payload_with_max_payload() {
    let mut driver = Driver::new(Revision::V3, false, config());
    driver.send("€");
    let handshake = driver.session.next_exchange();
    driver.input(Input::Accepted(First::Polling(handshake)));
    let payload = driver.answer(handshake);
    let open = concat!(
        r#"0{"sid":"AwMDAwMDAwMDAwMDAwMD","upgrades":["websocket"],"#,
        r#""pingInterval":300,"pingTimeout":200,"maxPayload":1000000}"#
    );
    assert_eq!(payload, Payload::text(format!("{}:{open}2:4€", open.len())));
    let handshake = Handshake::from_json(&open.as_bytes()[1..]).unwrap();
    assert_eq!(handshake.max_payload, 1_000_000);
    assert_eq!(driver.session.revision(), Revision::V3);
    assert_eq!(driver.session.timeout_reason(), Some(Timer::PingTimeout));
}

#[test]
fn the_handshake_over_websocket_offers_no_upgrade() {
    let mut driver = Driver::new(Revision::V3, false, config());
    let websocket = driver.session.next_link();
    driver.send([1, 2]);
    driver.input(Input::Accepted(First::Link(
        websocket,
        Transport::WebSocket,
    )));
    let frames = driver.frames(websocket);
    let [Frame::Text(open), message] = &frames[..] else {
        panic!("{frames:?}");
    };
    let handshake = Handshake::from_json(&open.as_bytes()[1..]).unwrap();
    assert!(handshake.upgrades.is_empty());
    assert_eq!(message, &raw(&[4, 1, 2]));
}

#[test]
fn messages_by_polling_with_binary_data() {
    let mut driver = Driver::polling();
    assert_eq!(driver.post(Payload::text("6:4hello10:b4AQIDBA==")), Ok(()));
    assert_eq!(
        driver.post(Payload::binary(
            &b"\x00\x04\xff4\xe2\x82\xac\x01\x03\xff\x04\x05\x06"[..]
        )),
        Ok(())
    );
    assert_eq!(
        driver.events(),
        [
            Event::Message(Message::from("hello")),
            Event::Message(Message::from([1, 2, 3, 4])),
            Event::Message(Message::from("€")),
            Event::Message(Message::from([5, 6])),
        ]
    );
    // Text alone stays text; with binary data the whole payload is binary.
    driver.send("hello");
    assert_eq!(driver.poll_and_answer(), Payload::text("6:4hello"));
    driver.send("hello");
    driver.send([1, 2, 3, 4]);
    assert_eq!(
        driver.poll_and_answer(),
        Payload::binary(&b"\x00\x06\xff4hello\x01\x05\xff\x04\x01\x02\x03\x04"[..])
    );
}

#[test]
fn messages_by_polling_in_base64() {
    let mut driver = Driver::polling_with(Revision::V3, true, config());
    driver.send("hello");
    driver.send([1, 2, 3, 4]);
    assert_eq!(
        driver.poll_and_answer(),
        Payload::text("6:4hello10:b4AQIDBA==")
    );
    // The kind of what the client sends is told by its content type alone, as in the reference.
    assert_eq!(
        driver.post(Payload::binary(&b"\x01\x02\xff\x04\x09"[..])),
        Ok(())
    );
    assert_eq!(driver.events(), [Event::Message(Message::from([9]))]);
}

#[test]
fn messages_by_websocket() {
    for (base64, binary) in [
        (false, raw(&[4, 1, 2, 3, 4])),
        (true, Frame::text("b4AQIDBA==")),
    ] {
        let (mut driver, websocket) = Driver::websocket(base64);
        for frame in [Frame::text("4€"), raw(&[4, 9]), Frame::text("b4CQ==")] {
            driver.input(Input::LinkFrame(websocket, frame));
        }
        assert_eq!(
            driver.events(),
            [
                Event::Message(Message::from("€")),
                Event::Message(Message::from([9])),
                Event::Message(Message::from([9])),
            ]
        );
        driver.send("€");
        driver.send([1, 2, 3, 4]);
        assert_eq!(driver.frames(websocket), [Frame::text("4€"), binary]);
    }
}

#[test]
fn bytes_without_a_type_are_a_parse_error() {
    let (mut driver, websocket) = Driver::websocket(false);
    driver.input(Input::LinkFrame(websocket, raw(b"\x34a")));
    assert_eq!(driver.session.closed(), Some(DisconnectReason::ParseError));

    let mut driver = Driver::polling();
    let answer = driver.post(Payload::text("2:4a6:4hell"));
    assert_eq!(answer, Err(Refusal::BadRequest));
    assert_eq!(
        driver.events(),
        [
            Event::Message(Message::from("a")),
            Event::Closed(DisconnectReason::ParseError)
        ]
    );
}

// row 47
#[test]
fn bytes_by_post_are_not_revision_4() {
    let mut driver = Driver::polling_with(Revision::V4, false, config());
    let poll = driver.poll();
    let answer = driver.post(Payload::binary("4hello"));
    assert_eq!(answer, Err(Refusal::BadRequest));
    assert_eq!(
        driver.events(),
        [Event::Closed(DisconnectReason::TransportError)]
    );
    let last = driver.session.take_payload(driver.now, poll);
    assert_eq!(last, Some(Payload::text("1")));
}

// row 48
#[test]
fn the_client_pings() {
    let mut driver = Driver::polling();
    for _ in 0..3 {
        driver.pass(300);
        assert_eq!(driver.post(Payload::text("1:2")), Ok(()));
        assert_eq!(driver.poll_and_answer(), Payload::text("1:3"));
    }
    // The data of a ping is not sent back: only a probe's is, and this is none.
    let poll = driver.poll();
    let post = driver.session.next_exchange();
    driver.input(Input::PostOpened(post));
    driver.input(Input::PostReceived(post, Payload::text("6:2probe")));
    assert_eq!(driver.answer(poll), Payload::text("1:3"));

    driver.pass(499);
    assert!(driver.session.is_open());
    driver.pass(1);
    assert_eq!(
        driver.events(),
        [Event::Closed(DisconnectReason::PingTimeout)]
    );
    assert_eq!(driver.post(Payload::text("1:2")), Err(Refusal::UnknownSid));
}

// row 48
#[test]
fn by_websocket() {
    let (mut driver, websocket) = Driver::websocket(false);
    for ping in [Frame::text("2"), raw(&[2])] {
        driver.pass(300);
        driver.input(Input::LinkFrame(websocket, ping));
        assert_eq!(driver.frames(websocket), [Frame::text("3")]);
    }
    driver.pass(500);
    assert_eq!(driver.session.closed(), Some(DisconnectReason::PingTimeout));
    assert!(
        driver
            .outputs()
            .contains(&Output::CloseLink(websocket, DisconnectReason::PingTimeout))
    );
}

// row 48
#[test]
fn the_server_never_pings() {
    let mut driver = Driver::polling();
    let poll = driver.poll();
    driver.outputs();
    driver.pass(499);
    assert_eq!(driver.outputs(), []);
    assert_eq!(driver.session.take_payload(driver.now, poll), None);
}

// row 49
#[test]
fn the_client_must_not_answer() {
    let mut driver = Driver::polling();
    let poll = driver.poll();
    assert_eq!(driver.post(Payload::text("1:3")), Err(Refusal::BadRequest));
    assert_eq!(
        driver.events(),
        [Event::Closed(DisconnectReason::TransportError)]
    );
    let last = driver.session.take_payload(driver.now, poll);
    assert_eq!(last, Some(Payload::text("1:1")));

    let (mut driver, websocket) = Driver::websocket(false);
    driver.input(Input::LinkFrame(websocket, Frame::text("3")));
    assert_eq!(
        driver.session.closed(),
        Some(DisconnectReason::TransportError)
    );
}

// row 50
#[test]
fn only_a_ping_counts_as_a_ping() {
    let mut driver = Driver::polling();
    driver.pass(400);
    assert_eq!(driver.post(Payload::text("2:4a")), Ok(()));
    driver.poll();
    driver.pass(100);
    assert_eq!(driver.session.closed(), Some(DisconnectReason::PingTimeout));
}

// row 51
#[test]
fn a_form_without_its_field_is_accepted() {
    for revision in [Revision::V3, Revision::V4] {
        let mut driver = Driver::polling_with(revision, true, config());
        let post = driver.session.next_exchange();
        driver.input(Input::PostOpened(post));
        assert_eq!(driver.post_answer(post), None);
        driver.input(Input::PostWithoutPayload(post));
        assert_eq!(driver.post_answer(post), Some(Ok(())));
        assert!(driver.session.is_open());
        // Late or unknown, it answers nothing, and the next POST is no overlap.
        driver.input(Input::PostWithoutPayload(post));
        assert_eq!(driver.outputs(), []);
        let next = driver.session.next_exchange();
        driver.input(Input::PostOpened(next));
        driver.input(Input::PostWithoutPayload(post));
        assert_eq!(driver.outputs(), []);
    }
}

// row 52
#[test]
fn a_heartbeat_sets_no_deadline_for_a_closing_session() {
    let mut driver = Driver::polling();
    driver.session.close(driver.now, DisconnectReason::Server);
    assert_eq!(driver.post(Payload::text("1:2")), Ok(()));
    assert_eq!(driver.session.timeout_reason(), Some(Timer::Close));
    driver.pass(5_000);
    assert_eq!(driver.session.closed(), None);
    assert_eq!(driver.poll_and_answer(), Payload::text("1:31:1"));
    assert_eq!(driver.session.closed(), Some(DisconnectReason::Server));

    // In revision 4, the pong that was under way.
    let mut driver = Driver::polling_with(Revision::V4, false, config());
    driver.pass(300);
    assert_eq!(driver.poll_and_answer(), Payload::text("2"));
    driver.session.close(driver.now, DisconnectReason::Server);
    assert_eq!(driver.post(Payload::text("3")), Ok(()));
    assert_eq!(driver.session.timeout_reason(), Some(Timer::Close));
    driver.pass(5_000);
    assert_eq!(driver.poll_and_answer(), Payload::text("1"));
}

#[test]
fn a_close_takes_along_what_is_queued() {
    let mut driver = Driver::polling();
    driver.send("a");
    driver.send([1]);
    driver.session.close(driver.now, DisconnectReason::Server);
    assert_eq!(
        driver.poll_and_answer(),
        Payload::binary(&b"\x00\x02\xff4a\x01\x02\xff\x04\x01\x00\x01\xff1"[..])
    );
    assert_eq!(driver.session.closed(), Some(DisconnectReason::Server));

    let (mut driver, websocket) = Driver::websocket(false);
    driver.send([1]);
    driver.session.close(driver.now, DisconnectReason::Server);
    assert_eq!(driver.frames(websocket), [raw(&[4, 1]), Frame::text("1")]);
}

#[test]
fn the_client_closes() {
    let mut driver = Driver::polling();
    let poll = driver.poll();
    assert_eq!(driver.post(Payload::text("1:1")), Ok(()));
    let last = driver.session.take_payload(driver.now, poll);
    assert_eq!(last, Some(Payload::text("1:6")));
    assert_eq!(driver.events(), [Event::Closed(DisconnectReason::Client)]);

    // The poll that comes after the POST gets the same.
    let mut driver = Driver::polling();
    assert_eq!(driver.post(Payload::binary(&b"\x00\x01\xff1"[..])), Ok(()));
    assert_eq!(driver.poll_and_answer(), Payload::text("1:6"));

    let (mut driver, websocket) = Driver::websocket(false);
    driver.input(Input::LinkFrame(websocket, Frame::text("1")));
    assert_eq!(driver.session.closed(), Some(DisconnectReason::Client));
}

#[test]
fn an_upgrade() {
    let mut driver = Driver::polling();
    let poll = driver.poll();
    let websocket = driver.session.next_link();
    assert_eq!(driver.session.may_upgrade(Transport::WebSocket), Ok(()));
    driver.input(Input::LinkOpened {
        id: websocket,
        transport: Transport::WebSocket,
        base64: false,
    });
    driver.input(Input::LinkFrame(websocket, Frame::text("2probe")));
    let outputs = driver.outputs();
    assert!(outputs.contains(&Output::SendFrames(websocket)));
    assert!(outputs.contains(&Output::AnswerPoll(poll)));
    let pong = driver.session.take_frame(driver.now, websocket);
    assert_eq!(pong, Some(Frame::text("3probe")));
    assert_eq!(driver.session.take_frame(driver.now, websocket), None);
    let noop = driver.session.take_payload(driver.now, poll);
    assert_eq!(noop, Some(Payload::text("1:6")));

    // What is sent before the upgrade leaves by the poll, in that transport's form.
    driver.send([1]);
    assert_eq!(
        driver.poll_and_answer(),
        Payload::binary(&b"\x01\x02\xff\x04\x01"[..])
    );
    assert_eq!(driver.session.transport(), Transport::Polling);

    let poll = driver.poll();
    driver.outputs();
    driver.input(Input::LinkFrame(websocket, Frame::text("5")));
    let noop = driver.session.take_payload(driver.now, poll);
    assert_eq!(noop, Some(Payload::text("1:6")));
    assert_eq!(driver.events(), [Event::Upgraded]);
    assert_eq!(driver.session.transport(), Transport::WebSocket);
    driver.send([2]);
    assert_eq!(driver.frames(websocket), [raw(&[4, 2])]);

    // The heartbeat goes on: the deadline of before holds, and pings arrive by frames.
    driver.pass(400);
    driver.input(Input::LinkFrame(websocket, Frame::text("2")));
    assert_eq!(driver.frames(websocket), [Frame::text("3")]);
    driver.pass(499);
    assert!(driver.session.is_open());
    driver.pass(1);
    assert_eq!(driver.session.closed(), Some(DisconnectReason::PingTimeout));
}

#[test]
fn a_probe_that_fails_leaves_the_session_alone() {
    for frame in [Frame::text("3probe"), raw(b"\x04"), Frame::text("6:2probe")] {
        let mut driver = Driver::polling();
        let websocket = driver.session.next_link();
        driver.input(Input::LinkOpened {
            id: websocket,
            transport: Transport::WebSocket,
            base64: false,
        });
        driver.input(Input::LinkFrame(websocket, frame));
        assert!(driver.outputs().contains(&Output::CloseLink(
            websocket,
            DisconnectReason::TransportError
        )));
        assert!(driver.session.is_open());
        driver.send("still here");
        assert_eq!(driver.poll_and_answer(), Payload::text("11:4still here"));
    }
}
