//! A POST of more than the inbox takes, rows 55 to 58, and the inbox of each transport.

use engineio_core::server::Input;
use engineio_core::{Config, DisconnectReason, Refusal, Transport};

use crate::support::{Rig, Seen, message, payload, secs, text};

/// A session whose inbox takes one message, and one more that makes it overfull; nobody takes them out.
fn narrow() -> Rig {
    let mut rig = Rig::polling_with(Config {
        inbox_limit: 1 + Config::PACKET_OVERHEAD,
        ..Config::default()
    });
    rig.app_is_busy = true;
    rig
}

fn messages(texts: &[&str]) -> Vec<Seen> {
    texts.iter().map(|text| message(text)).collect()
}

// row 55
#[test]
fn a_post_is_decoded_as_the_inbox_has_room() {
    let mut rig = narrow();
    let post = rig.post("4a\u{1e}4b\u{1e}4c\u{1e}6\u{1e}4d\u{1e}4e");
    let limit = 1 + Config::PACKET_OVERHEAD;
    let mut seen = Vec::new();
    while seen.last() != Some(&message("e")) {
        assert!(rig.session.inbox_bytes() <= 2 * limit, "one packet more");
        rig.take_event();
        seen.extend(rig.seen());
    }
    let mut expected = messages(&["a", "b", "c", "d", "e"]);
    // With one message left in it, the inbox has room.
    expected.insert(4, Seen::PostOk(post));
    assert_eq!(seen, expected);
    assert_eq!(rig.session.inbox_bytes(), 0);

    let next = rig.post("4f");
    assert_eq!(rig.seen(), [Seen::PostOk(next)], "the POST is over");
}

#[test]
fn a_handler_that_asks_for_messages_one_by_one_gets_those_that_wait_too() {
    let mut rig = narrow();
    let post = rig.post("4a\u{1e}4b\u{1e}4c\u{1e}4d");
    let now = rig.now;
    let mut taken = Vec::new();
    while let Some(message) = rig.session.take_message(|| now) {
        taken.push(message);
    }
    assert_eq!(
        taken,
        ["a", "b", "c", "d"].map(engineio_core::Message::from)
    );
    rig.drive();
    assert_eq!(rig.seen(), [Seen::PostOk(post)]);
}

/// Takes all events. Returns the messages among what was seen, and the rest.
fn take_all(rig: &mut Rig) -> (Vec<Seen>, Vec<Seen>) {
    let mut seen = Vec::new();
    loop {
        rig.take_event();
        let more = rig.seen();
        if more.is_empty() {
            break;
        }
        seen.extend(more);
    }
    let is_message = |seen: &Seen| matches!(seen, Seen::Message(..));
    seen.into_iter().partition(is_message)
}

// row 76
#[test]
fn a_client_that_may_move_gets_the_answer_to_its_post_before_there_is_room() {
    for probe_first in [true, false] {
        let mut rig = narrow();
        let websocket = rig.open_websocket();
        if probe_first {
            rig.frame(websocket, "2probe");
            assert_eq!(rig.seen(), [text(websocket, "3probe")]);
        }
        let post = rig.post("4a\u{1e}4b\u{1e}4c\u{1e}4d");
        let mut expected = vec![Seen::PostOk(post)];
        if !probe_first {
            assert_eq!(rig.seen(), []);
            rig.frame(websocket, "2probe");
            expected.insert(0, text(websocket, "3probe"));
        }
        assert_eq!(rig.seen(), expected);
        // It may have begun another one before it learned that it may move. A third one waits.
        let second = rig.post("4e\u{1e}4f");
        assert_eq!(rig.seen(), [Seen::PostOk(second)]);
        let third = rig.post("4g\u{1e}4h");
        assert_eq!(rig.seen(), []);

        rig.frame(websocket, "5");
        assert!(!rig.session.wants_input(), "frames would overtake");
        let (taken, rest) = take_all(&mut rig);
        let all = ["a", "b", "c", "d", "e", "f", "g", "h"];
        assert_eq!(taken, messages(&all));
        assert_eq!(rest, [Seen::Upgraded, Seen::PostOk(third)]);
        assert!(rig.session.wants_input());
        rig.frame(websocket, "4i");
        rig.take_event();
        assert_eq!(rig.seen(), [message("i")]);
    }
}

// row 77
#[test]
fn what_is_left_of_an_answered_post_survives_a_failed_upgrade() {
    let mut rig = narrow();
    let websocket = rig.open_websocket();
    rig.frame(websocket, "2probe");
    let post = rig.post("4a\u{1e}4b\u{1e}4c\u{1e}4d");
    rig.frame(websocket, "x");
    let failed = Seen::WebSocketClosed(websocket, DisconnectReason::TransportError);
    let expected = [text(websocket, "3probe"), Seen::PostOk(post), failed];
    assert_eq!(rig.seen(), expected);
    let next = rig.post("4e");
    assert_eq!(rig.seen(), [], "there is no upgrade");
    let (taken, rest) = take_all(&mut rig);
    assert_eq!(taken, messages(&["a", "b", "c", "d", "e"]));
    assert_eq!(rest, [Seen::PostOk(next)]);

    // A malformed packet ends the session when its turn comes, though nobody is there to hear that.
    let websocket = rig.open_websocket();
    rig.frame(websocket, "2probe");
    let post = rig.post("4a\u{1e}4b\u{1e}4c\u{1e}x");
    assert_eq!(rig.seen(), [text(websocket, "3probe"), Seen::PostOk(post)]);
    let (taken, rest) = take_all(&mut rig);
    assert_eq!(taken, messages(&["a", "b", "c"]));
    let closed = Seen::Closed(DisconnectReason::ParseError);
    assert_eq!(rest.last(), Some(&closed));
}

// row 79
#[test]
fn an_answered_post_may_have_as_many_packets_that_are_no_messages_as_one_turn() {
    let noops = "6\u{1e}".repeat(1_000);
    for (more, closed) in [("", None), (&*noops, Some(DisconnectReason::ParseError))] {
        let mut rig = narrow();
        let websocket = rig.open_websocket();
        rig.frame(websocket, "2probe");
        let post = rig.post(&format!("4a\u{1e}4b\u{1e}4c\u{1e}{noops}{more}4d"));
        assert_eq!(rig.seen(), [text(websocket, "3probe"), Seen::PostOk(post)]);
        let (taken, rest) = take_all(&mut rig);
        assert_eq!(rest.last(), closed.map(Seen::Closed).as_ref());
        assert_eq!(taken.len(), if closed.is_some() { 3 } else { 4 });
    }
    // A session that has ended skips as many.
    for (more, count) in [("", 4), (&*noops, 3)] {
        let mut rig = narrow();
        let websocket = rig.open_websocket();
        rig.frame(websocket, "2probe");
        rig.post(&format!("4a\u{1e}4b\u{1e}4c\u{1e}{noops}{more}4d"));
        let now = rig.now;
        rig.session.abort(now, DisconnectReason::TransportError);
        rig.seen();
        assert_eq!(take_all(&mut rig).0.len(), count);
    }
}

// row 78
#[test]
fn what_is_left_of_an_answered_post_survives_the_end_of_the_session() {
    for graceful in [true, false] {
        let mut rig = narrow();
        let websocket = rig.open_websocket();
        rig.frame(websocket, "2probe");
        rig.post("4a\u{1e}4b\u{1e}4c\u{1e}2\u{1e}4d");
        rig.post("4e\u{1e}4f\u{1e}x\u{1e}4g");
        rig.seen();
        let now = rig.now;
        match graceful {
            true => rig.session.close(now, DisconnectReason::Server),
            false => rig.session.abort(now, DisconnectReason::TransportError),
        }
        let late = rig.post("4late");
        rig.seen();
        let (taken, rest) = take_all(&mut rig);
        assert_eq!(taken, messages(&["a", "b", "c", "d", "e", "f"]), "{late:?}");
        if !graceful {
            let closed = Seen::Closed(DisconnectReason::TransportError);
            assert_eq!(rest, [closed]);
        }
    }
    // The application that aborts wants nothing more.
    let mut rig = narrow();
    let websocket = rig.open_websocket();
    rig.frame(websocket, "2probe");
    rig.post("4a\u{1e}4b\u{1e}4c");
    let now = rig.now;
    rig.session.abort(now, DisconnectReason::Server);
    rig.seen();
    assert_eq!(take_all(&mut rig).0, []);
}

// row 56
#[test]
fn a_malformed_packet_ends_the_session_when_its_turn_comes() {
    let mut rig = narrow();
    let poll = rig.poll();
    let post = rig.post("4a\u{1e}4b\u{1e}4c\u{1e}x\u{1e}4d");
    rig.take_event();
    assert_eq!(rig.seen(), [message("a")]);
    assert!(rig.session.is_open(), "nobody has seen it yet");
    for _ in 0..3 {
        rig.take_event();
    }
    assert_eq!(
        rig.seen(),
        [
            message("b"),
            Seen::PostRefused(post, Refusal::BadRequest),
            payload(poll, "1"),
            Seen::Finished,
            message("c"),
            Seen::Closed(DisconnectReason::ParseError),
        ]
    );
}

// row 57
#[test]
fn a_close_packet_is_honoured_when_its_turn_comes() {
    let mut rig = narrow();
    let poll = rig.poll();
    let post = rig.post("4a\u{1e}4b\u{1e}4c\u{1e}1");
    for _ in 0..2 {
        rig.take_event();
    }
    assert_eq!(
        rig.seen(),
        [
            message("a"),
            message("b"),
            Seen::PostOk(post),
            payload(poll, "6"),
            Seen::Finished,
        ]
    );
    for _ in 0..2 {
        rig.take_event();
    }
    assert_eq!(
        rig.seen(),
        [message("c"), Seen::Closed(DisconnectReason::Client)]
    );
}

#[test]
fn a_heartbeat_packet_that_waits_is_heard_when_its_turn_comes() {
    let mut rig = narrow();
    let poll = rig.poll();
    rig.wait(secs(25));
    assert_eq!(rig.seen(), [payload(poll, "2")]);
    let post = rig.post("4a\u{1e}4b\u{1e}3\u{1e}4c");
    rig.poll();
    rig.wait(secs(100));
    assert!(rig.session.is_open(), "its pong was not looked at yet");
    rig.seen();
    rig.take_event();
    assert_eq!(rig.seen(), [message("a")]);
    assert_eq!(
        rig.session.timeout_reason(),
        Some(engineio_core::Timer::Ping),
        "the pong counts, at the time at which it was read"
    );
    rig.take_event();
    assert_eq!(rig.seen(), [message("b"), Seen::PostOk(post)]);

    // One that the client must not send ends the session then, and not before.
    let mut rig = narrow();
    let post = rig.post("4a\u{1e}4b\u{1e}2");
    assert!(rig.session.is_open());
    rig.take_event();
    assert_eq!(
        rig.seen(),
        [
            message("a"),
            Seen::PostRefused(post, Refusal::BadRequest),
            Seen::Finished,
        ]
    );
    assert_eq!(rig.session.closed(), Some(DisconnectReason::TransportError));
}

// row 73
#[test]
fn a_post_of_packets_that_are_no_messages_is_decoded_in_turns() {
    for packet in ["6", "3", "5", "0"] {
        let mut rig = Rig::polling();
        let mut body = format!("{packet}\u{1e}").repeat(10_000);
        body.push_str("4last");
        let post = rig.post(&body);
        let mut turns = 1;
        assert_eq!(rig.seen(), [], "the first turn is over");
        while rig.continue_post() {
            turns += 1;
        }
        assert_eq!(turns, 10, "1,024 packets each");
        assert_eq!(rig.seen(), [Seen::PostOk(post), message("last")]);
        assert!(rig.session.is_open());
    }
}

#[test]
fn a_post_that_waits_for_its_next_turn_belongs_to_the_session_like_any_other() {
    let body = "6\u{1e}".repeat(2_000) + "4last";
    // A second POST is one too many, and ends the session.
    let mut rig = Rig::polling();
    let first = rig.post(&body);
    let second = rig.begin_post();
    let refused = |post| Seen::PostRefused(post, Refusal::BadRequest);
    assert!(rig.session.closed().is_some());
    let seen = rig.seen();
    assert!(seen.contains(&refused(first)) && seen.contains(&refused(second)));
    rig.continue_post();
    assert_eq!(rig.seen(), [], "a turn that comes late is harmless");

    // An upgrade takes it along.
    let (mut rig, link) = Rig::probed();
    let post = rig.post(&body);
    rig.frame(link, "5");
    assert!(!rig.session.wants_input(), "frames would overtake it");
    rig.seen();
    assert!(rig.continue_post());
    assert_eq!(rig.seen(), [Seen::PostOk(post), message("last")]);
    assert!(rig.session.wants_input());
}

// row 73
#[test]
fn a_closing_session_decodes_the_messages_that_it_drops_in_turns_too() {
    let mut rig = Rig::polling();
    rig.close();
    rig.seen();
    let post = rig.post(&("4\u{1e}".repeat(9_999) + "4"));
    let mut turns = 1;
    assert_eq!(rig.seen(), [], "the first turn is over");
    while rig.continue_post() {
        turns += 1;
    }
    assert_eq!(turns, 10, "1,024 packets each");
    assert_eq!(rig.seen(), [Seen::PostOk(post)]);
}

// row 73
#[test]
fn events_that_are_taken_in_one_turn_decode_no_more_packets_than_a_turn_may() {
    let mut rig = narrow();
    let between = format!("\u{1e}{}", "6\u{1e}".repeat(1_000));
    let post = rig.post(&vec!["4"; 100].join(&between));
    let mut turns = 1;
    let mut seen = Vec::new();
    loop {
        let mut events = 0;
        while rig.take_event().is_some() {
            events += 1;
        }
        assert!(
            events <= 3,
            "{events} events, with 1,000 packets before each"
        );
        seen.extend(rig.seen());
        if !rig.continue_post() {
            break;
        }
        turns += 1;
    }
    assert!(turns >= 97, "{turns}");
    seen.extend(rig.seen());
    assert!(seen.contains(&Seen::PostOk(post)));
    seen.retain(|seen| matches!(seen, Seen::Message(_)));
    assert_eq!(seen, messages(&[""; 100]));
}

// row 58
#[test]
fn a_session_that_ends_refuses_the_post_whose_packets_it_did_not_take() {
    type End = fn(&mut Rig);
    let ends: [(End, DisconnectReason); 4] = [
        (
            |rig| rig.abort(DisconnectReason::Shutdown),
            DisconnectReason::Shutdown,
        ),
        (
            |rig| {
                let poll = rig.poll();
                rig.input(Input::PollAborted(poll));
            },
            DisconnectReason::TransportError,
        ),
        (
            |rig| {
                rig.close();
                rig.wait(secs(30));
            },
            DisconnectReason::Server,
        ),
        (
            |rig| {
                rig.close();
                rig.poll();
            },
            DisconnectReason::Server,
        ),
    ];
    for (end, reason) in ends {
        let mut rig = narrow();
        let post = rig.post("4a\u{1e}4b\u{1e}4c");
        end(&mut rig);
        let seen = rig.seen();
        assert!(seen.contains(&Seen::PostRefused(post, Refusal::BadRequest)));
        assert_eq!(rig.session.closed(), Some(reason));
        rig.app_is_busy = false;
        rig.drive();
        let mut expected = messages(&["a", "b"]);
        expected.push(Seen::Closed(reason));
        assert_eq!(rig.seen(), expected, "what was taken in is handed over");
    }
}

#[test]
fn a_client_that_gives_up_a_post_that_waits_is_gone() {
    let mut rig = narrow();
    let post = rig.post("4a\u{1e}4b\u{1e}4c");
    rig.input(Input::PostAborted(post));
    assert_eq!(rig.seen(), [Seen::Finished]);
    rig.app_is_busy = false;
    rig.drive();
    let mut expected = messages(&["a", "b"]);
    expected.push(Seen::Closed(DisconnectReason::TransportError));
    assert_eq!(rig.seen(), expected);
}

#[test]
fn a_closing_session_drops_what_it_did_not_take_and_accepts_the_post() {
    let mut rig = narrow();
    let post = rig.post("4a\u{1e}4b\u{1e}4c\u{1e}4d\u{1e}4e");
    rig.close();
    rig.take_event();
    assert_eq!(rig.seen(), [message("a"), Seen::PostOk(post)]);
    rig.take_event();
    assert_eq!(rig.take_event(), None);
    assert_eq!(rig.seen(), [message("b")]);
}

#[test]
fn frames_after_an_upgrade_do_not_overtake_a_post_that_waits() {
    let mut rig = narrow();
    let post = rig.post("4a\u{1e}4b\u{1e}4c\u{1e}4d");
    let websocket = rig.open_websocket();
    rig.frame(websocket, "2probe");
    rig.frame(websocket, "5");
    let mut seen = rig.seen();
    while !rig.session.wants_input() {
        rig.take_event();
        seen.extend(rig.seen());
    }
    rig.frame(websocket, "4frame");
    rig.app_is_busy = false;
    rig.drive();
    rig.take_event();
    seen.extend(rig.seen());
    let order: Vec<_> = seen
        .iter()
        .filter(|seen| matches!(seen, Seen::Message(_)))
        .cloned()
        .collect();
    assert_eq!(order, messages(&["a", "b", "c", "d", "frame"]));
    assert!(seen.contains(&Seen::PostOk(post)));
    assert!(seen.contains(&Seen::Upgraded));
}

#[test]
fn a_websocket_that_ends_releases_a_post_that_waits() {
    let mut rig = narrow();
    let post = rig.post("4a\u{1e}4b\u{1e}4c");
    let websocket = rig.open_websocket();
    // Without a probe, which would have had the POST answered.
    rig.frame(websocket, "5");
    rig.seen();
    rig.input(Input::LinkClosed(
        websocket,
        DisconnectReason::TransportClose,
    ));
    assert_eq!(
        rig.seen(),
        [Seen::PostRefused(post, Refusal::BadRequest), Seen::Finished,]
    );
}

#[test]
fn a_client_that_nobody_reads_because_its_connection_has_a_part_of_the_inbox_is_not_taken_for_dead()
{
    let config = Config::default();
    let room = config.inbox_limit - Config::WEBTRANSPORT_UNREAD;
    for (inbox_limit, room) in [(config.inbox_limit, room), (100_000, 50_000)] {
        let config = Config {
            inbox_limit,
            ..Config::default()
        };
        use Transport::{WebSocket, WebTransport};
        for (transport, upgraded) in [
            (WebSocket, false),
            (WebTransport, false),
            (WebTransport, true),
        ] {
            let (mut rig, link) = match upgraded {
                false => Rig::link_with(config.clone(), transport),
                true => {
                    let mut rig = Rig::polling_with(Config {
                        transports: [Transport::Polling, transport].into_iter().collect(),
                        ..config.clone()
                    });
                    let link = rig.open_link(transport);
                    rig.frame(link, "2probe");
                    rig.frame(link, "5");
                    (rig, link)
                }
            };
            assert_eq!(rig.session.transport(), transport);
            rig.app_is_busy = true;
            rig.wait(secs(25));
            let message = "x".repeat(room - Config::PACKET_OVERHEAD);
            rig.frame(link, &format!("4{message}"));
            assert!(rig.session.wants_input(), "{transport}");
            rig.frame(link, "4");
            assert_eq!(rig.session.wants_input(), transport == WebSocket);
            rig.wait(secs(300));
            assert_eq!(rig.session.is_open(), transport == WebTransport);
        }
    }
}
