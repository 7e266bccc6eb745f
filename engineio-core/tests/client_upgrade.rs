//! Rows 18 to 29 of the client's transition table: the upgrade, and the WebSocket.

mod client_support;

use client_support::{Client, OPEN_UPGRADABLE, message, ms, secs, text};
use engineio_core::client::{Config, Event, Input, Output, ProbeFailure};
use engineio_core::{DisconnectReason, Frame, LinkId, Message, Revision, SendError, Transport};

#[test]
fn row_18_an_open_websocket_is_probed() {
    let (mut client, websocket) = Client::probing();
    client.input(Input::LinkOpened(websocket));
    assert_eq!(client.frames(websocket), [text("2probe")]);
    assert_eq!(client.session.take_frame(websocket), None);
}

#[test]
fn row_19_polling_goes_on_while_probing() {
    let (mut client, _) = Client::probed();
    client.send("up");
    assert_eq!(client.answer_post(), "4up");
    client.answer_poll("4down");
    assert_eq!(client.events(), [message("down")]);
    assert!(client.poll().is_some());
}

#[test]
fn row_20_an_answered_probe_pauses_polling() {
    let (mut client, websocket) = Client::probed();
    client.send("before");
    client.frame(websocket, "3probe");
    assert_eq!(client.answer_post(), "4before");
    client.send("after");
    assert_eq!(client.post(), None);
    assert_eq!(client.session.transport(), Transport::Polling);
}

#[test]
fn row_20_the_answer_to_the_probe_is_read_although_the_inbox_is_full() {
    let config = Config {
        inbox_limit: 100,
        ..Config::default()
    };
    let mut client = Client::with(config, Transport::Polling);
    client.answer_poll(format!("{OPEN_UPGRADABLE}\u{1e}4a\u{1e}4b"));
    let websocket = client.websocket();
    client.input(Input::LinkOpened(websocket));
    assert_eq!(client.frames(websocket), [text("2probe")]);
    assert!(client.session.wants_input(), "it would run out of time");
    client.frame(websocket, "3probe");
    assert!(!client.session.wants_input(), "now frames are messages");
    assert_eq!(client.frames(websocket), [text("5")]);
}

#[test]
fn row_21_the_upgrade_waits_for_the_poll_and_the_post() {
    let (mut client, websocket) = Client::probed();
    client.send("before");
    let post = client.post().unwrap();
    assert_eq!(client.body(post), "4before");
    client.frame(websocket, "3probe");
    client.answer_poll("4down");
    assert_eq!(client.events(), [message("down")]);
    assert_eq!(client.outputs(), []);
    assert!(client.session.is_upgrading());
    client.input(Input::PostAnswered(post));
    assert!(!client.session.is_upgrading());
    assert_eq!(client.frames(websocket), [text("5")]);
    assert_eq!(client.events(), [Event::Upgraded]);
    assert_eq!(client.session.transport(), Transport::WebSocket);
    assert_eq!(client.poll(), None);
}

#[test]
fn row_22_messages_of_the_pause_follow_the_upgrade_packet() {
    let (mut client, websocket) = Client::pausing();
    client.send("a");
    client.send("b");
    client.answer_poll("2beat\u{1e}6");
    let expected = [text("5"), text("3beat"), text("4a"), text("4b")];
    assert_eq!(client.frames(websocket), expected);
}

#[test]
fn row_23_a_websocket_that_fails_leaves_the_session_on_polling() {
    for stage in 0..3 {
        let (mut client, websocket) = match stage {
            0 => Client::probing(),
            1 => Client::probed(),
            _ => Client::pausing(),
        };
        client.send("kept");
        let reason = DisconnectReason::Refused;
        client.input(Input::LinkClosed(websocket, reason));
        let failed = Event::UpgradeFailed(ProbeFailure::Closed(reason));
        assert_eq!(client.events(), [failed]);
        assert_eq!(client.answer_post(), "4kept");
        client.answer_poll("4on");
        assert_eq!(client.events(), [message("on")]);
        assert!(client.poll().is_some());
    }
}

#[test]
fn row_24_a_wrong_answer_leaves_the_session_on_polling() {
    for answer in ["3", "3nope", "4early", "", "x"] {
        let (mut client, websocket) = Client::probed();
        client.frame(websocket, answer);
        let failed = Event::UpgradeFailed(ProbeFailure::WrongAnswer);
        assert_eq!(client.events(), [failed]);
        let reason = DisconnectReason::TransportError;
        assert!(
            client
                .outputs()
                .contains(&Output::CloseLink(websocket, reason))
        );
        assert!(client.session.is_open());
        assert!(client.session.fault().is_none());
    }
    let (mut client, websocket) = Client::pausing();
    client.frame(websocket, "4early");
    assert_eq!(
        client.events(),
        [Event::UpgradeFailed(ProbeFailure::WrongAnswer)]
    );
}

#[test]
fn row_25_an_upgrade_that_takes_too_long_is_given_up() {
    for stage in 0..3 {
        let (mut client, websocket) = match stage {
            0 => Client::probing(),
            1 => Client::probed(),
            _ => Client::pausing(),
        };
        client.advance(secs(9));
        assert_eq!(client.events(), []);
        client.advance(secs(1));
        assert_eq!(
            client.events(),
            [Event::UpgradeFailed(ProbeFailure::Timeout)]
        );
        let reason = DisconnectReason::TransportClose;
        assert!(
            client
                .outputs()
                .contains(&Output::CloseLink(websocket, reason))
        );
        client.send("kept");
        assert_eq!(client.answer_post(), "4kept");
        // What the abandoned WebSocket still brings is nobody's.
        client.frame(websocket, "3probe");
        assert_eq!(client.session.transport(), Transport::Polling);
    }
}

#[test]
fn row_26_a_failure_of_polling_ends_the_session_in_the_pause_too() {
    let (mut client, websocket) = Client::pausing();
    let poll = client.poll().unwrap();
    client.input(Input::PollFailed(poll, DisconnectReason::TransportError));
    client.assert_closed(DisconnectReason::TransportError);
    let reason = DisconnectReason::TransportError;
    assert_eq!(client.outputs(), [Output::CloseLink(websocket, reason)]);
}

#[test]
fn row_27_frames_are_messages() {
    let (mut client, websocket) = Client::websocket_open();
    client.frame(websocket, "4text");
    let binary = vec![4, 0x1e, 0];
    let frame = Frame::Binary(binary.clone().into());
    client.input(Input::LinkFrame(websocket, frame));
    let binary = Event::Message(Message::from(binary));
    assert_eq!(client.events(), [message("text"), binary]);
}

#[test]
fn row_28_a_frame_that_is_no_packet_ends_the_session() {
    let (mut client, websocket) = Client::websocket_open();
    client.frame(websocket, "9");
    client.assert_closed(DisconnectReason::ParseError);
    let reason = DisconnectReason::ParseError;
    assert_eq!(client.outputs(), [Output::CloseLink(websocket, reason)]);
}

#[test]
fn row_29_the_end_of_the_websocket_is_the_end_of_the_session() {
    let (mut client, websocket) = Client::websocket_open();
    let reason = DisconnectReason::TransportClose;
    client.input(Input::LinkClosed(websocket, reason));
    client.assert_closed(reason);
}

/// An application that passes on the texts of others must not let them send packets in its name.
#[test]
fn a_text_with_a_separator_is_not_sent_while_the_session_may_poll() {
    let evil = || Message::from("hi\x1e1");
    let (mut client, websocket) = Client::probed();
    assert_eq!(
        client.session.send(evil()),
        Err(SendError::Separator(evil()))
    );
    // Bytes travel in base64.
    client.session.send(Message::from(b"a\x1e1")).unwrap();
    client.drain();
    assert_eq!(client.answer_post(), "bYR4x");
    client.frame(websocket, "3probe");
    // The upgrade may still fail.
    assert_eq!(
        client.session.send(evil()),
        Err(SendError::Separator(evil()))
    );
    client.answer_poll("6");
    assert_eq!(client.session.transport(), Transport::WebSocket);
    client.session.send(evil()).unwrap();
    assert_eq!(client.frames(websocket), [text("5"), text("4hi\x1e1")]);
}

#[test]
fn a_text_with_a_separator_is_sent_where_it_separates_nothing_or_is_allowed() {
    let queues = |config: Config, transport| {
        let mut client = Client::with(config, transport);
        client.session.send(Message::from("a\x1eb")).is_ok()
    };
    let revision_3 = Config {
        revision: Revision::V3,
        ..Config::default()
    };
    let allowing = Config {
        allow_separator: true,
        ..Config::default()
    };
    assert!(!queues(Config::default(), Transport::Polling));
    assert!(queues(Config::default(), Transport::WebSocket));
    assert!(queues(revision_3, Transport::Polling));
    assert!(queues(allowing, Transport::Polling));
}

/// A client that has been offered both transports, and its WebTransport link, which is not open yet.
fn offered_both() -> (Client, LinkId) {
    let config = Config {
        upgrades: [Transport::WebSocket, Transport::WebTransport]
            .into_iter()
            .collect(),
        ..Config::default()
    };
    let mut client = Client::with(config, Transport::Polling);
    client.answer_poll(OPEN_UPGRADABLE.replace(
        r#"["websocket"]"#,
        r#"["websocket","webtransport","carrier pigeon"]"#,
    ));
    assert_eq!(client.events(), [Event::Opened]);
    let webtransport = client.webtransport();
    (client, webtransport)
}

/// Both links were asked; a poll is under way.
fn asked_both() -> (Client, LinkId, LinkId) {
    let (mut client, webtransport) = offered_both();
    client.advance(ms(200));
    let websocket = client.websocket();
    for link in [webtransport, websocket] {
        client.input(Input::LinkOpened(link));
        assert_eq!(client.frames(link), [text("2probe")]);
    }
    (client, webtransport, websocket)
}

#[test]
fn row_2a_webtransport_is_tried_first_and_websocket_after_200_ms() {
    let (mut client, _) = offered_both();
    assert!(client.poll().is_some());
    client.advance(ms(199));
    assert_eq!(client.outputs(), []);
    client.advance(ms(1));
    client.websocket();
    client.advance(secs(5));
    assert_eq!(client.outputs(), []);
    assert!(client.session.is_upgrading());
}

#[test]
fn row_2a_a_transport_that_the_client_was_not_told_to_use_is_not_tried() {
    let mut client = Client::new(Transport::Polling);
    client.answer_poll(OPEN_UPGRADABLE.replace("websocket", "webtransport"));
    assert!(client.poll().is_some());
    assert_eq!(client.outputs(), []);
    assert!(!client.session.is_upgrading());
}

#[test]
fn row_20a_the_first_answered_probe_wins_and_closes_the_other_link() {
    for websocket_wins in [false, true] {
        let (mut client, webtransport, websocket) = asked_both();
        let (winner, loser, transport) = match websocket_wins {
            true => (websocket, webtransport, Transport::WebSocket),
            false => (webtransport, websocket, Transport::WebTransport),
        };
        client.frame(winner, "3probe");
        let reason = DisconnectReason::TransportClose;
        assert!(client.outputs.contains(&Output::CloseLink(loser, reason)));
        // It may have been answered too, or end.
        client.frame(loser, "3probe");
        client.input(Input::LinkClosed(loser, reason));
        client.send("after");
        assert_eq!(client.session.transport(), Transport::Polling);
        client.answer_poll("6");
        assert_eq!(client.frames(winner), [text("5"), text("4after")]);
        assert_eq!(client.session.transport(), transport);
        assert_eq!(client.events(), [Event::Upgraded]);
    }
}

#[test]
fn row_20a_websocket_is_not_tried_once_webtransport_has_answered() {
    let (mut client, webtransport) = offered_both();
    client.input(Input::LinkOpened(webtransport));
    assert_eq!(client.frames(webtransport), [text("2probe")]);
    client.frame(webtransport, "3probe");
    client.outputs();
    client.advance(ms(300));
    assert_eq!(client.outputs(), []);
    assert!(client.session.is_upgrading());
}

#[test]
fn row_23a_websocket_is_tried_as_soon_as_webtransport_has_failed() {
    for answer in [false, true] {
        let (mut client, webtransport) = offered_both();
        if answer {
            client.input(Input::LinkOpened(webtransport));
            assert_eq!(client.frames(webtransport), [text("2probe")]);
            client.frame(webtransport, "3nope");
        } else {
            let reason = DisconnectReason::TransportError;
            client.input(Input::LinkClosed(webtransport, reason));
        }
        assert_eq!(client.events(), []);
        let websocket = client.websocket();
        client.outputs();
        client.advance(ms(200));
        assert_eq!(client.outputs(), []);
        let reason = DisconnectReason::Refused;
        client.input(Input::LinkClosed(websocket, reason));
        let failed = Event::UpgradeFailed(ProbeFailure::Closed(reason));
        assert_eq!(client.events(), [failed]);
        client.send("kept");
        assert_eq!(client.answer_post(), "4kept");
    }
}

#[test]
fn row_23a_one_of_two_links_may_fail() {
    for websocket_fails in [false, true] {
        let (mut client, webtransport, websocket) = asked_both();
        let (fails, other) = match websocket_fails {
            true => (websocket, webtransport),
            false => (webtransport, websocket),
        };
        let reason = DisconnectReason::TransportClose;
        client.input(Input::LinkClosed(fails, reason));
        assert_eq!(client.events(), []);
        assert!(client.session.is_upgrading());
        client.frame(other, "3probe");
        client.answer_poll("6");
        assert_eq!(client.frames(other), [text("5")]);
        assert_eq!(client.events(), [Event::Upgraded]);
    }
}

#[test]
fn row_25_and_37_the_end_of_an_upgrade_closes_both_links() {
    for stage in 0..2 {
        let (mut client, webtransport, websocket) = asked_both();
        client.outputs();
        let reason = match stage {
            0 => {
                client.advance(secs(10));
                DisconnectReason::TransportClose
            }
            _ => {
                client.close();
                DisconnectReason::Client
            }
        };
        let outputs = client.outputs();
        for link in [webtransport, websocket] {
            assert!(outputs.contains(&Output::CloseLink(link, reason)));
        }
        assert!(!client.session.is_upgrading());
    }
    let (mut client, webtransport) = offered_both();
    client.outputs();
    client.abort();
    let reason = DisconnectReason::Client;
    assert!(
        client
            .outputs()
            .contains(&Output::CloseLink(webtransport, reason))
    );
    client.advance(secs(1));
    assert_eq!(client.outputs(), []);
}
