//! The move from polling to WebSocket, rows 15 to 24.

use bytes::Bytes;
use engineio_core::server::Input;
use engineio_core::{Config, DisconnectReason, Message, Timer, Transport};

use crate::support::{Rig, Seen, message, ms, payload, secs, text};

// row 15
#[test]
fn a_websocket_for_a_polling_session_may_take_the_upgrade_timeout() {
    let mut rig = Rig::polling();
    assert_eq!(rig.session.may_upgrade(Transport::WebSocket), Ok(()));
    let poll = rig.poll();
    rig.open_websocket();
    assert_eq!(rig.seen(), []);
    assert_eq!(rig.session.transport(), Transport::Polling);
    assert_eq!(rig.time_left(), Some(secs(10)));
    assert_eq!(rig.session.timeout_reason(), Some(Timer::Upgrade));

    // Before the probe the poll is left alone, however long it takes.
    rig.wait(secs(9));
    assert_eq!(rig.seen(), []);
    rig.send("a");
    assert_eq!(rig.seen(), [payload(poll, "4a")]);
}

// row 16
#[test]
fn a_probe_is_answered_and_ends_the_poll_that_waits() {
    let mut rig = Rig::polling();
    let poll = rig.poll();
    let websocket = rig.open_websocket();
    rig.frame(websocket, "2probe");
    assert_eq!(rig.seen(), [text(websocket, "3probe"), payload(poll, "6")]);
    assert_eq!(rig.session.transport(), Transport::Polling);
}

// row 17
#[test]
fn polls_after_the_probe_are_ended_at_a_pace_that_does_not_let_the_client_spin() {
    let (mut rig, _) = Rig::probed();
    let first = rig.poll();
    assert_eq!(rig.seen(), [payload(first, "6")], "nothing is to wait for");

    let second = rig.poll();
    rig.wait(ms(99));
    assert_eq!(rig.seen(), []);
    rig.wait(ms(1));
    assert_eq!(rig.seen(), [payload(second, "6")]);

    rig.wait(ms(100));
    let third = rig.poll();
    assert_eq!(rig.seen(), [payload(third, "6")], "the pace has passed");
}

#[test]
fn a_noop_that_is_not_written_yet_makes_place_for_messages() {
    let (mut rig, _) = Rig::probed();
    rig.client_is_slow = true;
    let poll = rig.poll();
    rig.send("a");
    rig.client_is_slow = false;
    rig.drive();
    assert_eq!(rig.seen(), [payload(poll, "4a")]);
}

// row 18
#[test]
fn the_upgrade_ends_the_poll_with_a_noop_then_frames_carry_what_is_queued() {
    let (mut rig, websocket) = Rig::probed();
    let noop = rig.poll();
    let poll = rig.poll();
    assert_eq!(rig.seen(), [payload(noop, "6")]);
    rig.client_is_slow = true;
    rig.send("a");
    rig.send("b");
    rig.frame(websocket, "5");
    rig.client_is_slow = false;
    rig.drive();
    assert_eq!(
        rig.seen(),
        [
            Seen::Upgraded,
            payload(poll, "6"),
            text(websocket, "4a"),
            text(websocket, "4b"),
        ]
    );
    assert_eq!(rig.session.transport(), Transport::WebSocket);
    assert_eq!(
        rig.session.timeout_reason(),
        Some(Timer::Ping),
        "the upgrade's timers are stopped"
    );
    rig.send("c");
    assert_eq!(rig.seen(), [text(websocket, "4c")]);
}

#[test]
fn without_a_poll_the_upgrade_is_just_told() {
    let (mut rig, websocket) = Rig::probed();
    rig.frame(websocket, "5");
    assert_eq!(rig.seen(), [Seen::Upgraded]);
    rig.frame(websocket, "4a");
    assert_eq!(rig.seen(), [message("a")]);
}

#[test]
fn a_poll_given_up_after_the_upgrade_changes_nothing() {
    let (mut rig, websocket) = Rig::probed();
    rig.poll();
    rig.client_is_slow = true;
    let poll = rig.poll();
    rig.frame(websocket, "5");
    rig.input(Input::PollAborted(poll));
    rig.client_is_slow = false;
    rig.drive();
    assert!(rig.session.is_open());
    assert_eq!(rig.seen().last(), Some(&Seen::Upgraded));
}

// row 19
#[test]
fn a_frame_that_is_no_part_of_an_upgrade_ends_only_the_websocket() {
    for (frames, what) in [
        (&["2"][..], "a ping that is no probe"),
        (&["2probed"], "another probe"),
        (&["4too early"], "a message"),
        (&["x"], "no packet"),
        (&[""], "nothing"),
        (&["2probe", "2probe"], "a second probe"),
        (&["2probe", "4too early"], "a message after the probe"),
        (&["2probe", "1"], "a close packet"),
    ] {
        let mut rig = Rig::polling();
        rig.send("a");
        let websocket = rig.open_websocket();
        for frame in frames {
            rig.frame(websocket, frame);
        }
        let closed = Seen::WebSocketClosed(websocket, DisconnectReason::TransportError);
        assert_eq!(rig.seen().last(), Some(&closed), "{what}");
        assert_eq!(rig.session.timeout_reason(), Some(Timer::Ping), "{what}");

        let poll = rig.poll();
        assert_eq!(rig.seen(), [payload(poll, "4a")], "{what}");
        assert_eq!(
            rig.session.may_upgrade(Transport::WebSocket),
            Ok(()),
            "it may try again"
        );
        rig.frame(websocket, "5");
        assert_eq!(rig.seen(), [], "late frames are ignored");
    }
}

// row 20
#[test]
fn an_upgrade_that_takes_too_long_ends_only_the_websocket() {
    let (mut rig, websocket) = Rig::probed();
    rig.poll();
    let poll = rig.poll();
    rig.seen();
    rig.client_is_slow = true;
    rig.wait(ms(9_999));
    assert_eq!(rig.seen(), []);
    rig.wait(ms(1));
    let closed = Seen::WebSocketClosed(websocket, DisconnectReason::TransportClose);
    assert_eq!(rig.seen(), [closed]);
    rig.send("a");
    rig.client_is_slow = false;
    rig.drive();
    assert_eq!(rig.seen(), [payload(poll, "4a")]);
    assert_eq!(rig.session.may_upgrade(Transport::WebSocket), Ok(()));
}

// row 21
#[test]
fn a_websocket_that_breaks_during_the_upgrade_leaves_the_session_to_polling() {
    let (mut rig, websocket) = Rig::probed();
    rig.send("a");
    rig.input(Input::LinkClosed(
        websocket,
        DisconnectReason::TransportError,
    ));
    assert_eq!(rig.seen(), []);
    let poll = rig.poll();
    assert_eq!(rig.seen(), [payload(poll, "4a")]);
    assert_eq!(rig.session.timeout_reason(), Some(Timer::Ping));

    // The next try begins from the start.
    let second = rig.open_websocket();
    rig.frame(second, "2probe");
    assert_eq!(rig.seen(), [text(second, "3probe")]);
}

// row 71
#[test]
fn an_upgrade_packet_without_a_probe_completes_the_upgrade() {
    let mut rig = Rig::polling();
    let poll = rig.poll();
    let websocket = rig.open_websocket();
    rig.frame(websocket, "5");
    assert_eq!(rig.seen(), [payload(poll, "6"), Seen::Upgraded]);
    assert_eq!(rig.session.transport(), Transport::WebSocket);
    rig.frame(websocket, "4hello");
    rig.send("a");
    assert_eq!(rig.seen(), [message("hello"), text(websocket, "4a")]);
}

// row 72
#[test]
fn a_probe_is_answered_before_everything_else_even_if_the_upgrade_packet_comes_before_the_answer_left()
 {
    let mut rig = Rig::polling();
    let websocket = rig.open_websocket();
    rig.client_is_slow = true;
    rig.frame(websocket, "2probe");
    rig.frame(websocket, "5");
    rig.send("a");
    rig.wait(secs(25));
    rig.client_is_slow = false;
    rig.drive();
    assert_eq!(
        rig.seen(),
        [
            Seen::Upgraded,
            text(websocket, "3probe"),
            text(websocket, "2"),
            text(websocket, "4a"),
        ]
    );
}

/// What a request asks for counts for its own transport: a client that cannot read bytes by polling may read them in
/// frames, and the other way round.
#[test]
fn base64_belongs_to_the_transport_whose_request_asked_for_it() {
    let bytes = || Message::from([1, 2, 3]);
    for base64 in [false, true] {
        let mut rig = Rig::polling();
        let id = rig.session.next_link();
        rig.input(Input::LinkOpened {
            id,
            transport: Transport::WebSocket,
            base64,
        });
        rig.frame(id, "5");
        rig.try_send(bytes()).unwrap();
        let expected = if base64 {
            text(id, "bAQID")
        } else {
            Seen::Binary(id, Bytes::from_static(&[1, 2, 3]))
        };
        assert_eq!(rig.seen(), [Seen::Upgraded, expected]);
    }
}

// row 22
#[test]
fn a_second_websocket_is_closed_and_does_not_disturb_the_first() {
    let (mut rig, first) = Rig::probed();
    // Its handshake is accepted: clients of the reference do not expect a refusal.
    assert_eq!(rig.session.may_upgrade(Transport::WebSocket), Ok(()));
    let second = rig.open_websocket();
    let closed = |id| Seen::WebSocketClosed(id, DisconnectReason::TransportError);
    assert_eq!(rig.seen(), [closed(second)]);
    rig.frame(second, "5");
    rig.input(Input::LinkClosed(second, DisconnectReason::TransportClose));
    assert_eq!(rig.seen(), []);

    rig.frame(first, "5");
    assert_eq!(rig.session.may_upgrade(Transport::WebSocket), Ok(()));
    let third = rig.open_websocket();
    rig.frame(third, "4not mine");
    rig.input(Input::LinkClosed(third, DisconnectReason::TransportClose));
    assert_eq!(rig.seen(), [Seen::Upgraded, closed(third)]);
    assert!(rig.session.is_open());
}

// row 23
#[test]
fn messages_sent_during_the_upgrade_leave_by_the_poll() {
    let mut rig = Rig::polling();
    let poll = rig.poll();
    let websocket = rig.open_websocket();
    rig.send("a");
    assert_eq!(rig.seen(), [payload(poll, "4a")]);
    rig.frame(websocket, "2probe");
    rig.send("b");
    rig.send("c");
    assert_eq!(rig.seen(), [text(websocket, "3probe")]);
    let poll = rig.poll();
    assert_eq!(rig.seen(), [payload(poll, "4b\u{1e}4c")]);
    rig.send("d");
    rig.frame(websocket, "5");
    assert_eq!(rig.seen(), [text(websocket, "4d"), Seen::Upgraded]);
}

// row 24
#[test]
fn a_post_under_way_at_the_upgrade_is_taken_before_any_frame() {
    let (mut rig, websocket) = Rig::probed();
    let post = rig.begin_post();
    assert!(rig.session.wants_input());
    rig.frame(websocket, "5");
    assert!(
        !rig.session.wants_input(),
        "frames that are read now would overtake the POST"
    );
    rig.finish_post(post, "4a\u{1e}4b");
    assert_eq!(
        rig.seen(),
        [
            Seen::Upgraded,
            Seen::PostOk(post),
            message("a"),
            message("b")
        ]
    );
    assert!(rig.session.wants_input());
    rig.frame(websocket, "4c");
    assert_eq!(rig.seen(), [message("c")]);
}

#[test]
fn a_driver_that_held_frames_back_is_woken_even_if_the_post_brought_no_message() {
    let (mut rig, websocket) = Rig::probed();
    let post = rig.begin_post();
    rig.frame(websocket, "5");
    rig.client_is_slow = true;
    rig.finish_post(post, "6");
    assert_eq!(rig.seen(), [Seen::Upgraded, Seen::PostOk(post)]);
    assert!(rig.frames_are_announced(websocket));
    assert!(rig.session.wants_input());
}

#[test]
fn a_post_that_waits_for_room_is_answered_after_the_upgrade_too() {
    let mut rig = Rig::polling_with(Config {
        inbox_limit: 0,
        ..Config::default()
    });
    rig.app_is_busy = true;
    let post = rig.post("4a");
    let websocket = rig.open_websocket();
    // Without a probe, which would have had it answered before.
    rig.frame(websocket, "5");
    assert_eq!(rig.seen(), []);
    rig.take_event();
    assert_eq!(rig.seen(), [message("a"), Seen::PostOk(post)]);
    rig.take_event();
    assert_eq!(rig.seen(), [Seen::Upgraded]);
}

#[test]
fn an_upgrade_is_read_even_if_the_inbox_is_full() {
    let mut rig = Rig::polling_with(Config {
        inbox_limit: 0,
        ..Config::default()
    });
    rig.app_is_busy = true;
    rig.post("4a");
    assert!(!rig.session.wants_input());
    let websocket = rig.open_websocket();
    assert!(rig.session.wants_input(), "it would run out of time");
    rig.frame(websocket, "2probe");
    assert!(rig.session.wants_input());
    rig.frame(websocket, "5");
    assert!(!rig.session.wants_input(), "now frames are messages");
    rig.take_event();
    assert!(rig.session.wants_input());
}

#[test]
fn a_post_that_fails_after_the_upgrade_ends_the_session_because_its_messages_are_lost() {
    let (mut rig, websocket) = Rig::probed();
    let post = rig.begin_post();
    rig.frame(websocket, "5");
    rig.input(Input::PostAborted(post));
    assert_eq!(
        rig.seen(),
        [
            Seen::Upgraded,
            Seen::WebSocketClosed(websocket, DisconnectReason::TransportError),
            Seen::Closed(DisconnectReason::TransportError),
            Seen::Finished,
        ]
    );
}

#[test]
fn the_heartbeat_goes_on_during_an_upgrade_and_ends_it_with_the_session() {
    let mut rig = Rig::polling_with(Config {
        upgrade_timeout: secs(600),
        ..Config::default()
    });
    let poll = rig.poll();
    let websocket = rig.open_websocket();
    rig.wait(secs(25));
    assert_eq!(rig.seen(), [payload(poll, "2")]);
    let poll = rig.poll();
    rig.wait(secs(20));
    assert_eq!(
        rig.seen(),
        [
            Seen::WebSocketClosed(websocket, DisconnectReason::PingTimeout),
            payload(poll, "1"),
            Seen::Closed(DisconnectReason::PingTimeout),
            Seen::Finished,
        ]
    );
    assert_eq!(rig.session.poll_timeout(), None);
}

#[test]
fn a_ping_sent_by_polling_may_be_answered_by_websocket() {
    let mut rig = Rig::polling();
    let poll = rig.poll();
    rig.wait(secs(25));
    assert_eq!(rig.seen(), [payload(poll, "2")]);
    let websocket = rig.open_websocket();
    rig.frame(websocket, "2probe");
    rig.frame(websocket, "5");
    rig.frame(websocket, "3");
    assert_eq!(rig.session.timeout_reason(), Some(Timer::Ping));
    assert_eq!(rig.time_left(), Some(secs(25)));
}
