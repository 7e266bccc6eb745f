//! Rows 18 to 29 of the client's transition table: the upgrade, and the WebSocket.

mod client_support;

use client_support::{Client, OPEN_UPGRADABLE, message, secs, text};
use engineio_core::client::{Config, Event, Input, Output, ProbeFailure};
use engineio_core::{DisconnectReason, Frame, Message, Revision, SendError, Transport};

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
