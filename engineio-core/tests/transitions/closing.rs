//! The server closes in good order, rows 37 to 43.

use engineio_core::server::Input;
use engineio_core::{Config, DisconnectReason, Message, Refusal, SendError, Timer, Transport};

use crate::support::{Rig, Seen, message, payload, secs, text};

fn closed_by_server() -> [Seen; 2] {
    [Seen::Closed(DisconnectReason::Server), Seen::Finished]
}

// row 37
#[test]
fn a_close_answers_the_poll_that_waits() {
    let mut rig = Rig::polling();
    let poll = rig.poll();
    rig.close();
    let [closed, finished] = closed_by_server();
    assert_eq!(rig.seen(), [payload(poll, "1"), closed, finished]);
    assert_eq!(rig.session.poll_timeout(), None);
}

#[test]
fn a_close_sends_what_is_queued_in_front_of_the_close_packet() {
    let mut rig = Rig::polling();
    rig.client_is_slow = true;
    let poll = rig.poll();
    rig.send("a");
    rig.send("b");
    rig.close();
    rig.client_is_slow = false;
    rig.drive();
    let [closed, finished] = closed_by_server();
    assert_eq!(
        rig.seen(),
        [payload(poll, "4a\u{1e}4b\u{1e}1"), closed, finished]
    );
}

// row 38
#[test]
fn a_close_without_a_poll_waits_for_the_next_one() {
    let mut rig = Rig::polling();
    rig.send("a");
    rig.close();
    assert_eq!(rig.seen(), []);
    assert!(!rig.session.is_open());
    assert_eq!(rig.session.closed(), None);
    assert_eq!(
        rig.session.may_upgrade(Transport::WebSocket),
        Err(Refusal::BadRequest)
    );
    rig.wait(secs(29));
    let poll = rig.poll();
    let [closed, finished] = closed_by_server();
    assert_eq!(rig.seen(), [payload(poll, "4a\u{1e}1"), closed, finished]);
}

#[test]
fn a_close_whose_messages_need_several_polls_goes_on_until_the_last() {
    let mut rig = Rig::polling_with(Config {
        max_poll_packets: 2,
        ..Config::default()
    });
    for text in ["a", "b", "c"] {
        rig.send(text);
    }
    rig.close();
    let first = rig.poll();
    assert_eq!(rig.seen(), [payload(first, "4a\u{1e}4b")]);
    assert_eq!(rig.session.closed(), None);
    let second = rig.poll();
    let [closed, finished] = closed_by_server();
    assert_eq!(rig.seen(), [payload(second, "4c\u{1e}1"), closed, finished]);
}

// row 39
#[test]
fn a_close_that_the_client_does_not_fetch_is_given_up() {
    let mut rig = Rig::polling();
    rig.send("a");
    rig.close();
    assert_eq!(rig.session.timeout_reason(), Some(Timer::Close));
    rig.wait(secs(29));
    assert_eq!(rig.seen(), []);
    rig.wait(secs(1));
    assert_eq!(rig.seen(), closed_by_server());
    assert_eq!(rig.session.queued_bytes(), 0);
    let late = rig.poll();
    assert_eq!(rig.seen(), [Seen::PollRefused(late, Refusal::UnknownSid)]);
}

#[test]
fn a_late_pong_does_not_start_the_heartbeat_of_a_closing_session_again() {
    let mut rig = Rig::polling_with(Config {
        ping_interval: secs(2),
        ping_timeout: secs(2),
        ..Config::default()
    });
    let poll = rig.poll();
    rig.wait(secs(2));
    assert_eq!(rig.seen(), [payload(poll, "2")]);
    rig.send("a");
    rig.close();
    rig.post("4b\u{1e}3");
    rig.wait(secs(29));
    assert_eq!(rig.session.closed(), None);
    let poll = rig.poll();
    assert!(rig.seen().contains(&payload(poll, "4a\u{1e}1")));
}

// row 40
#[test]
fn a_close_sends_what_is_queued_then_the_close_packet_then_ends_the_websocket() {
    let (mut rig, websocket) = Rig::websocket();
    rig.client_is_slow = true;
    rig.send("a");
    rig.close();
    let late = rig.try_send(Message::from("late"));
    assert_eq!(late, Err(SendError::Closed(Message::from("late"))));
    assert_eq!(rig.seen(), []);
    rig.client_is_slow = false;
    rig.drive();
    let [closed, finished] = closed_by_server();
    assert_eq!(
        rig.seen(),
        [
            text(websocket, "4a"),
            text(websocket, "1"),
            Seen::WebSocketClosed(websocket, DisconnectReason::Server),
            closed,
            finished,
        ]
    );
}

#[test]
fn a_close_that_a_slow_websocket_does_not_take_is_given_up() {
    let (mut rig, websocket) = Rig::websocket();
    rig.client_is_slow = true;
    rig.close();
    rig.wait(secs(30));
    let [closed, finished] = closed_by_server();
    assert_eq!(
        rig.seen(),
        [
            Seen::WebSocketClosed(websocket, DisconnectReason::Server),
            closed,
            finished,
        ]
    );
}

// row 41
#[test]
fn a_close_during_an_upgrade_leaves_by_the_poll() {
    let (mut rig, websocket) = Rig::probed();
    rig.send("a");
    rig.close();
    assert_eq!(rig.seen(), []);
    let poll = rig.poll();
    let [closed, finished] = closed_by_server();
    assert_eq!(
        rig.seen(),
        [
            payload(poll, "4a\u{1e}1"),
            Seen::WebSocketClosed(websocket, DisconnectReason::Server),
            closed,
            finished,
        ]
    );
}

#[test]
fn an_upgrade_that_is_completed_while_closing_carries_what_is_queued_by_frames() {
    let (mut rig, websocket) = Rig::probed();
    rig.send("a");
    rig.close();
    rig.frame(websocket, "5");
    let [closed, finished] = closed_by_server();
    assert_eq!(
        rig.seen(),
        [
            text(websocket, "4a"),
            text(websocket, "1"),
            Seen::WebSocketClosed(websocket, DisconnectReason::Server),
            closed,
            finished,
        ],
        "the application hears of no upgrade any more"
    );
}

#[test]
fn an_upgrade_that_fails_while_closing_leaves_the_rest_to_polling() {
    let (mut rig, websocket) = Rig::probed();
    rig.send("a");
    rig.close();
    rig.wait(secs(10));
    let gone = Seen::WebSocketClosed(websocket, DisconnectReason::TransportClose);
    assert_eq!(rig.seen(), [gone]);
    let poll = rig.poll();
    let [closed, finished] = closed_by_server();
    assert_eq!(rig.seen(), [payload(poll, "4a\u{1e}1"), closed, finished]);
}

// row 42
#[test]
fn messages_of_the_client_are_dropped_while_closing() {
    let mut rig = Rig::polling();
    rig.post("4before");
    rig.seen();
    rig.close();
    let post = rig.post("4a\u{1e}4b");
    assert_eq!(rig.seen(), [Seen::PostOk(post)]);

    let (mut rig, websocket) = Rig::websocket();
    rig.client_is_slow = true;
    rig.close();
    rig.frame(websocket, "4a");
    assert_eq!(rig.seen(), []);
    assert_eq!(rig.session.closed(), None);
}

#[test]
fn what_came_before_the_close_is_still_handed_over() {
    let mut rig = Rig::polling_with(Config {
        inbox_limit: 0,
        ..Config::default()
    });
    rig.app_is_busy = true;
    let post = rig.post("4a");
    rig.close();
    assert_eq!(rig.seen(), [], "the POST still waits for room");
    let poll = rig.poll();
    assert_eq!(
        rig.seen(),
        [payload(poll, "1"), Seen::PostOk(post), Seen::Finished],
        "and is answered with the end at the latest"
    );
    rig.take_event();
    rig.take_event();
    assert_eq!(
        rig.seen(),
        [message("a"), Seen::Closed(DisconnectReason::Server)]
    );
}

#[test]
fn a_post_that_waits_for_room_is_answered_while_closing() {
    let mut rig = Rig::polling_with(Config {
        inbox_limit: 0,
        ..Config::default()
    });
    rig.app_is_busy = true;
    let post = rig.post("4a");
    rig.close();
    rig.take_event();
    assert_eq!(rig.seen(), [message("a"), Seen::PostOk(post)]);
}

// row 43
#[test]
fn a_closing_session_whose_link_breaks_keeps_its_first_reason() {
    type Break = fn(&mut Rig);
    let breaks: [(Break, &str); 5] = [
        (
            |rig| {
                let poll = rig.poll();
                rig.input(Input::PollAborted(poll));
            },
            "an aborted poll",
        ),
        (
            |rig| {
                rig.begin_post();
                rig.begin_post();
            },
            "two POSTs",
        ),
        (
            |rig| {
                rig.post("x");
            },
            "a malformed packet",
        ),
        (
            |rig| {
                rig.post("1");
            },
            "a close packet of the client",
        ),
        (
            |rig| {
                let post = rig.begin_post();
                rig.input(Input::PostTooLarge(post));
            },
            "a large body",
        ),
    ];
    for (break_it, what) in breaks {
        let mut rig = Rig::polling();
        rig.client_is_slow = true;
        rig.close();
        rig.close();
        break_it(&mut rig);
        assert_eq!(
            rig.session.closed(),
            Some(DisconnectReason::Server),
            "{what}"
        );
        let seen = rig.seen();
        assert_eq!(seen[seen.len() - 2..], closed_by_server(), "{what}");
    }

    let (mut rig, websocket) = Rig::websocket();
    rig.client_is_slow = true;
    rig.close();
    rig.input(Input::LinkClosed(
        websocket,
        DisconnectReason::TransportError,
    ));
    assert_eq!(rig.seen(), closed_by_server());
}
