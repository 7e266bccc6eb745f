//! The ways to send: together or not at all, only if it leaves at once, and hearing when all has left.

use std::sync::Arc;
use std::time::Instant;

use engineio_core::server::{Event, First, Input, Output, Session};
use engineio_core::{Config, Frame, Message, Revision, SendError, SendOptions, Sid, Transport};

fn opened(config: Config, by_websocket: bool) -> (Session, Instant) {
    let now = Instant::now();
    let sid = Sid::from_random([0; 15]);
    let mut session = Session::new(Arc::new(config), sid, Revision::V4, false);
    if by_websocket {
        let websocket = session.next_link();
        session.handle_input(
            now,
            Input::Accepted(First::Link(websocket, Transport::WebSocket)),
        );
        while session.take_frame(now, websocket).is_some() {}
    } else {
        let handshake = session.next_exchange();
        session.handle_input(now, Input::Accepted(First::Polling(handshake)));
        session.take_payload(now, handshake).unwrap();
    }
    while session.poll_output().is_some() {}
    (session, now)
}

fn texts(texts: &[&str]) -> Vec<Message> {
    texts.iter().map(|text| Message::from(*text)).collect()
}

#[test]
fn several_messages_are_queued_together_or_not_at_all() {
    let config = Config {
        outbox_limit: 3 * (Config::PACKET_OVERHEAD + 1),
        ..Config::default()
    };
    let (mut session, now) = opened(config, false);
    session.send(Message::from("a")).unwrap();
    let refused = session.send_many(texts(&["b", "c", "d"])).unwrap_err();
    assert_eq!(refused, SendError::Full(texts(&["b", "c", "d"])));
    assert_eq!(session.queued_messages(), 1);
    session.send_many(texts(&["b", "c"])).unwrap();
    // There is no more room, and an empty list needs none.
    session.send_many(Vec::new()).unwrap();
    let poll = session.next_exchange();
    session.handle_input(now, Input::PollOpened(poll));
    let payload = session.take_payload(now, poll).unwrap();
    assert_eq!(payload.body, "4a\x1e4b\x1e4c");
    session.close(now, engineio_core::DisconnectReason::Server);
    let refused = session.send_many(texts(&["e"])).unwrap_err();
    assert_eq!(refused.into_inner(), texts(&["e"]));
    let refused = session.send_many(Vec::new());
    assert_eq!(refused, Err(SendError::Closed(Vec::new())));
}

#[test]
fn a_client_is_ready_when_a_message_would_leave_at_once() {
    let (mut session, now) = opened(Config::default(), false);
    assert!(!session.is_ready(), "no poll waits");
    let poll = session.next_exchange();
    session.handle_input(now, Input::PollOpened(poll));
    assert!(session.is_ready());
    session.send(Message::from("a")).unwrap();
    assert!(!session.is_ready(), "the poll is taken");
    session.take_payload(now, poll).unwrap();
    assert!(!session.is_ready(), "the next poll has not come");

    let (mut session, _) = opened(Config::default(), true);
    assert!(session.is_ready());
    session.send(Message::from("a")).unwrap();
    assert!(!session.is_ready(), "another message is before it");
}

#[test]
fn the_application_hears_when_everything_has_left() {
    let config = Config {
        drain_events: true,
        ..Config::default()
    };
    let (mut session, now) = opened(config.clone(), false);
    session.send_many(texts(&["a", "b"])).unwrap();
    assert_eq!(session.take_event(|| now), None);
    let poll = session.next_exchange();
    session.handle_input(now, Input::PollOpened(poll));
    session.take_payload(now, poll).unwrap();
    assert_eq!(session.take_event(|| now), Some(Event::Drained));
    assert_eq!(session.take_event(|| now), None);

    // An application that does not look at its events must not be told ever more of them.
    for _ in 0..3 {
        session.send(Message::from("a")).unwrap();
        let poll = session.next_exchange();
        session.handle_input(now, Input::PollOpened(poll));
        session.take_payload(now, poll).unwrap();
    }
    assert_eq!(session.take_event(|| now), Some(Event::Drained));
    assert_eq!(session.take_event(|| now), None);

    let (mut session, now) = opened(config, true);
    session.send_many(texts(&["a", "b"])).unwrap();
    let websocket = session.next_link();
    assert_eq!(
        session.take_frame(now, websocket),
        None,
        "another WebSocket"
    );
    assert_eq!(session.take_event(|| now), None);
}

#[test]
fn a_frame_comes_with_the_wishes_of_its_message() {
    let now = Instant::now();
    let sid = Sid::from_random([0; 15]);
    let mut session = Session::new(Arc::default(), sid, Revision::V4, false);
    let websocket = session.next_link();
    session.handle_input(
        now,
        Input::Accepted(First::Link(websocket, Transport::WebSocket)),
    );
    while session.take_frame(now, websocket).is_some() {}
    let wishes = [SendOptions::new().compress(false), SendOptions::new()];
    for wish in wishes {
        session.send_with(Message::from("a"), wish).unwrap();
    }
    for wish in wishes {
        let taken = session.take_frame(now, websocket);
        assert_eq!(taken, Some(Frame::text("4a")));
        assert_eq!(session.taken_options(), wish);
    }
}

#[test]
fn a_poll_ends_where_messages_that_may_be_compressed_and_those_that_may_not_meet() {
    let (mut session, now) = opened(Config::default(), false);
    let plain = SendOptions::new().compress(false);
    for (text, options) in [
        ("a", SendOptions::new()),
        ("b", SendOptions::new()),
        ("secret", plain),
        ("secret too", plain),
        ("c", SendOptions::new()),
    ] {
        session.send_with(Message::from(text), options).unwrap();
    }
    session.close(now, engineio_core::DisconnectReason::Server);
    for (body, compress) in [
        ("4a\x1e4b", true),
        ("4secret\x1e4secret too", false),
        ("4c\x1e1", true),
    ] {
        let poll = session.next_exchange();
        session.handle_input(now, Input::PollOpened(poll));
        let payload = session.take_payload(now, poll).unwrap();
        assert_eq!(
            (&payload.body[..], payload.compress),
            (body.as_bytes(), compress)
        );
    }
}

/// A client on a WebSocket can write a text in which whole packets follow; an application that passes it on must not put
/// them before those who poll.
#[test]
fn a_text_with_a_separator_is_not_sent_to_a_client_that_polls() {
    let evil = || Message::from("hi\x1e0{\"sid\":\"mine\"}\x1e1");
    let (mut session, now) = opened(Config::default(), false);
    assert_eq!(session.send(evil()), Err(SendError::Separator(evil())));
    let many = vec![Message::from("a"), evil()];
    assert_eq!(
        session.send_many(many.clone()),
        Err(SendError::Separator(many))
    );
    // Bytes travel in base64.
    session.send(Message::from(b"a\x1e1")).unwrap();
    let poll = session.next_exchange();
    session.handle_input(now, Input::PollOpened(poll));
    assert_eq!(session.take_payload(now, poll).unwrap().body, "bYR4x");

    // It may poll until the upgrade is complete, and never again.
    let websocket = session.next_link();
    session.handle_input(
        now,
        Input::LinkOpened {
            id: websocket,
            transport: Transport::WebSocket,
            base64: false,
        },
    );
    for frame in ["2probe", "5"] {
        assert!(session.send(evil()).is_err());
        let frame = Frame::text(frame);
        session.handle_input(now, Input::LinkFrame(websocket, frame));
    }
    session.send(evil()).unwrap();
}

#[test]
fn a_text_with_a_separator_reaches_whom_it_cannot_harm() {
    let text = || Message::from("a\x1eb");
    let (mut session, _) = opened(Config::default(), true);
    session.send(text()).unwrap();
    let allowing = Config {
        allow_separator: true,
        ..Config::default()
    };
    let (mut session, _) = opened(allowing, false);
    session.send(text()).unwrap();

    // Revision 3 tells how long a packet is.
    let sid = Sid::from_random([0; 15]);
    let mut session = Session::new(Arc::default(), sid, Revision::V3, false);
    session.send(text()).unwrap();

    // Before the client is accepted, the driver knows how it comes.
    let mut session = Session::new(Arc::default(), sid, Revision::V4, false);
    assert!(session.send(text()).is_err());
    session.begins_over(Transport::WebSocket);
    assert_eq!(session.transport(), Transport::WebSocket);
    session.send(text()).unwrap();
}

#[test]
fn who_waits_for_room_is_told_that_the_session_is_closing() {
    for by_websocket in [false, true] {
        let (mut session, now) = opened(Config::default(), by_websocket);
        session.send(Message::from("a")).unwrap();
        while session.poll_output().is_some() {}
        session.close(now, engineio_core::DisconnectReason::Server);
        assert_eq!(session.closed(), None);
        let mut outputs = std::iter::from_fn(|| session.poll_output());
        assert!(outputs.any(|output| output == Output::Room));
    }
}
