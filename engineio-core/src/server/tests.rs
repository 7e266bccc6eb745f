//! Tests of the memory that a session allocates. Everything else is tested through the public interface.

use std::sync::Arc;
use std::time::Instant;

use super::{Event, First, Input, Output, Session};
use crate::{Config, Frame, LinkId, Message, Payload, Revision, Sid, Transport};

fn session() -> Session {
    let sid = Sid::from_random([0; 15]);
    Session::new(Arc::new(Config::default()), sid, Revision::V4, false)
}

fn drain(session: &mut Session) {
    while session.poll_output().is_some() {}
}

fn take_frames(session: &mut Session, now: Instant, websocket: LinkId) {
    while session.take_frame(now, websocket).is_some() {}
    drain(session);
}

#[test]
fn a_session_that_waits_for_the_application_has_no_memory_for_its_queues() {
    assert_eq!(session().machine.capacities(), [0; 3]);
}

#[test]
fn an_idle_session_has_no_memory_for_its_queues() {
    let now = Instant::now();
    let mut session = session();
    let handshake = session.next_exchange();
    session.handle_input(now, Input::Accepted(First::Polling(handshake)));
    drain(&mut session);
    session.take_payload(now, handshake).unwrap();
    let poll = session.next_exchange();
    session.handle_input(now, Input::PollOpened(poll));
    drain(&mut session);
    assert_eq!(session.machine.capacities(), [0; 3]);
}

#[test]
fn the_memory_of_a_burst_is_given_back_with_the_next_ping() {
    let now = Instant::now();
    let mut session = session();
    let websocket = session.next_link();
    session.handle_input(
        now,
        Input::Accepted(First::Link(websocket, Transport::WebSocket)),
    );
    drain(&mut session);
    take_frames(&mut session, now, websocket);

    for n in 0..1_000 {
        session.send(Message::from(n.to_string())).unwrap();
        let frame = Frame::text(format!("4{n}"));
        session.handle_input(now, Input::LinkFrame(websocket, frame));
    }
    drain(&mut session);
    take_frames(&mut session, now, websocket);
    while session.take_event(|| now).is_some() {}
    let [outbox, inbox, ..] = session.machine.capacities();
    assert!(outbox >= 1_000 && inbox >= 1_000, "that was the burst");

    let now = session.poll_timeout().unwrap();
    session.handle_input(now, Input::Timeout);
    drain(&mut session);
    assert_eq!(session.machine.capacities(), [0; 3]);
}

/// A body of a million bytes that holds as many messages as possible takes no more memory than the limit of the inbox
/// says, and every one of them arrives.
#[test]
fn a_post_of_tiny_messages_costs_no_more_than_the_inbox_may() {
    const MESSAGES: usize = 500_000;
    let config = Config {
        inbox_limit: 100_000,
        ..Config::default()
    };
    let now = Instant::now();
    let sid = Sid::from_random([0; 15]);
    let mut session = Session::new(Arc::new(config), sid, Revision::V4, false);
    let handshake = session.next_exchange();
    session.handle_input(now, Input::Accepted(First::Polling(handshake)));
    drain(&mut session);
    let post = session.next_exchange();
    session.handle_input(now, Input::PostOpened(post));
    let body = "4\u{1e}".repeat(MESSAGES - 1) + "4";
    session.handle_input(now, Input::PostReceived(post, Payload::text(body)));

    let mut taken = 0;
    while session.take_event(|| now).is_some() {
        taken += 1;
        let [_, inbox, ..] = session.machine.capacities();
        assert!(inbox * size_of::<Event>() <= 2 * 100_000);
        let answered = session.poll_output() == Some(Output::AnswerPost(post, Ok(())));
        let left = MESSAGES - taken;
        assert_eq!(answered, left == 100_000 / Config::PACKET_OVERHEAD);
        drain(&mut session);
    }
    assert_eq!(taken, MESSAGES);
}

#[test]
fn what_waits_when_the_ping_is_due_keeps_its_place() {
    let now = Instant::now();
    let mut session = session();
    let websocket = session.next_link();
    session.handle_input(
        now,
        Input::Accepted(First::Link(websocket, Transport::WebSocket)),
    );
    drain(&mut session);
    take_frames(&mut session, now, websocket);
    session.send(Message::from("queued")).unwrap();
    let frame = Frame::text("4unread");
    session.handle_input(now, Input::LinkFrame(websocket, frame));

    let now = session.poll_timeout().unwrap();
    session.handle_input(now, Input::Timeout);
    drain(&mut session);
    let ping = session.take_frame(now, websocket);
    let queued = session.take_frame(now, websocket);
    assert_eq!(ping, Some(Frame::text("2")));
    assert_eq!(queued, Some(Frame::text("4queued")));
    assert!(session.take_event(|| now).is_some());
}
