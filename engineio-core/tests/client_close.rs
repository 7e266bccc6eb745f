//! Rows 30 to 42 of the client's transition table: the heartbeat, and the ends.

mod client_support;

use std::time::Instant;

use client_support::{Client, OPEN_UPGRADABLE, message, secs, text};
use engineio_core::client::{Config, Event, Input, Output, ProbeFailure, Session};
use engineio_core::{DisconnectReason, Message, Payload, Revision, SendError, Timer, Transport};

#[test]
fn row_30_a_ping_is_answered_with_its_data() {
    let mut client = Client::polling();
    client.answer_poll("2");
    assert_eq!(client.answer_post(), "3");
    client.answer_poll("2data\u{1e}4a");
    assert_eq!(client.answer_post(), "3data");

    let (mut client, websocket) = Client::websocket_open();
    client.frame(websocket, "2");
    assert_eq!(client.frames(websocket), [text("3")]);
}

#[test]
fn row_30_a_pong_repeats_no_more_data_than_a_control_frame_holds() {
    let mut client = Client::polling();
    for (len, repeated) in [(125, 125), (126, 0)] {
        client.answer_poll(format!("2{}", "x".repeat(len)));
        assert_eq!(client.answer_post(), format!("3{}", "x".repeat(repeated)));
    }
}

#[test]
fn row_30_a_ping_restarts_the_watch_and_goes_before_messages() {
    let (mut client, websocket) = Client::websocket_open();
    client.send("a");
    client.advance(secs(44));
    client.frame(websocket, "2");
    assert_eq!(client.frames(websocket), [text("3"), text("4a")]);
    client.advance(secs(44));
    assert!(client.session.is_open());
    client.advance(secs(1));
    client.assert_closed(DisconnectReason::PingTimeout);
}

#[test]
fn row_30_many_pings_at_once_get_one_pong() {
    let mut client = Client::polling();
    client.answer_poll("2a\u{1e}2b\u{1e}2c");
    assert_eq!(client.answer_post(), "3c");
    assert_eq!(client.post(), None);
}

#[test]
fn row_30a_in_revision_3_the_client_pings() {
    let config = Config {
        revision: Revision::V3,
        ..Config::default()
    };
    let (mut client, websocket) = Client::websocket_open_with(config);
    client.advance(secs(24));
    assert_eq!(client.outputs(), []);
    client.advance(secs(1));
    client.send("a");
    assert_eq!(client.frames(websocket), [text("2"), text("4a")]);
    client.advance(secs(15));
    client.frame(websocket, "3");
    client.advance(secs(44));
    assert!(client.session.is_open());
    assert_eq!(client.frames(websocket), [text("2")]);
    client.advance(secs(1));
    client.assert_closed(DisconnectReason::PingTimeout);
}

#[test]
fn row_31_a_silent_server_is_given_up() {
    let mut client = Client::polling();
    let poll = client.poll().unwrap();
    assert_eq!(client.session.timeout_reason(), Some(Timer::PingTimeout));
    client.advance(secs(44));
    assert!(client.session.is_open());
    client.advance(secs(1));
    client.assert_closed(DisconnectReason::PingTimeout);
    assert_eq!(client.outputs(), [Output::Cancel(poll)]);
}

#[test]
fn row_31_a_message_is_a_sign_of_life() {
    let (mut client, websocket) = Client::websocket_open();
    client.advance(secs(40));
    client.frame(websocket, "4a");
    client.advance(secs(44));
    assert!(client.session.is_open());
    client.advance(secs(1));
    client.events();
    assert_eq!(client.session.closed(), Some(DisconnectReason::PingTimeout));
}

#[test]
fn row_32_a_server_that_nobody_read_is_not_silent() {
    let config = Config {
        inbox_limit: 10,
        ..Config::default()
    };
    let (mut client, websocket) = Client::websocket_open_with(config);
    client.frame(websocket, "4a");
    assert!(!client.session.wants_input());
    client.advance(secs(45));
    assert!(client.session.is_open());
    client.advance(secs(44));
    assert_eq!(client.events(), [message("a")]);
    // The inbox was full until a moment ago: the ping may be on its way.
    client.advance(secs(1));
    assert!(client.session.is_open());
    client.advance(secs(45));
    client.assert_closed(DisconnectReason::PingTimeout);
}

#[test]
fn row_33_a_close_packet_of_a_poll_ends_the_session() {
    let mut client = Client::polling();
    client.answer_poll("4a\u{1e}1\u{1e}4b");
    let closed = Event::Closed(DisconnectReason::Server);
    assert_eq!(client.events(), [message("a"), closed]);
    assert_eq!(client.outputs(), [Output::Finished]);
}

#[test]
fn row_33_nothing_is_asked_for_after_the_end() {
    let mut session = Session::new(Instant::now(), Config::default(), Transport::Polling);
    assert!(matches!(session.poll_output(), Some(Output::Poll(_))));
    session.send(Message::from("a")).unwrap();
    session.abort(DisconnectReason::Client);
    let outputs: Vec<_> = std::iter::from_fn(|| session.poll_output()).collect();
    assert!(outputs.contains(&Output::Events) && outputs.contains(&Output::Room));
    assert_eq!(outputs.last(), Some(&Output::Finished));
}

#[test]
fn row_34_a_close_packet_of_a_frame_ends_the_session() {
    let (mut client, websocket) = Client::websocket_open();
    client.frame(websocket, "1");
    client.assert_closed(DisconnectReason::Server);
    assert_eq!(client.session.transport(), Transport::WebSocket);
    let reason = DisconnectReason::Server;
    assert_eq!(client.outputs(), [Output::CloseLink(websocket, reason)]);
}

#[test]
fn row_35_an_orderly_close_brings_everything_out_first() {
    let mut client = Client::polling();
    client.send("a");
    let post = client.post().unwrap();
    assert_eq!(client.body(post), "4a");
    client.session.send(Message::from("x".repeat(99))).unwrap();
    client.send("b");
    client.close();
    let refused = client.session.send(Message::from("late")).unwrap_err();
    assert_eq!(refused, SendError::Closed(Message::from("late")));
    client.input(Input::PostAnswered(post));
    assert_eq!(client.answer_post().len(), 100);
    assert_eq!(client.answer_post(), "4b\u{1e}1");
    client.assert_closed(DisconnectReason::Client);
}

#[test]
fn row_35_the_close_packet_goes_alone_where_it_does_not_fit() {
    let mut client = Client::polling();
    client.session.send(Message::from("x".repeat(98))).unwrap();
    client.close();
    assert_eq!(client.answer_post().len(), 99);
    assert_eq!(client.answer_post(), "1");

    let mut client = Client::polling();
    client.session.send(Message::from("x".repeat(97))).unwrap();
    client.close();
    assert!(client.answer_post().ends_with("x\u{1e}1"));
}

#[test]
fn row_36_the_answer_to_the_close_packet_ends_the_session() {
    let mut client = Client::polling();
    let poll = client.poll().unwrap();
    client.close();
    let post = client.post().unwrap();
    assert_eq!(client.body(post), "1");
    assert_eq!(client.session.closed(), None);
    client.input(Input::PostAnswered(post));
    client.assert_closed(DisconnectReason::Client);
    assert_eq!(client.outputs(), [Output::Cancel(poll)]);
}

#[test]
fn row_37_an_unfinished_upgrade_is_given_up() {
    for stage in 0..3 {
        let (mut client, websocket) = match stage {
            0 => Client::probing(),
            1 => Client::probed(),
            _ => Client::pausing(),
        };
        client.send("a");
        client.close();
        let reason = DisconnectReason::Client;
        assert!(
            client
                .outputs
                .contains(&Output::CloseLink(websocket, reason))
        );
        assert_eq!(client.answer_post(), "4a\u{1e}1");
        client.assert_closed(DisconnectReason::Client);
    }
}

#[test]
fn row_38_a_websocket_is_closed_behind_its_last_frame() {
    let (mut client, websocket) = Client::websocket_open();
    client.send("a");
    client.close();
    assert_eq!(client.frames(websocket), [text("4a"), text("1")]);
    client.assert_closed(DisconnectReason::Client);
    let reason = DisconnectReason::Client;
    assert_eq!(client.outputs(), [Output::CloseLink(websocket, reason)]);
}

#[test]
fn row_39_a_closing_client_is_deaf() {
    let mut client = Client::polling();
    client.close();
    client.answer_poll("4late");
    assert_eq!(client.poll(), None, "no poll begins any more");
    assert_eq!(client.events(), []);
}

#[test]
fn row_39_and_reads_on_while_messages_are_still_to_be_taken() {
    let mut client = Client::polling();
    client.send("a");
    let post = client.post().unwrap();
    assert_eq!(client.body(post), "4a");
    client.close();
    // The server may wait for this to be read before it answers the POST.
    client.answer_poll("4late");
    client.answer_poll("4later");
    client.input(Input::PostAnswered(post));
    client.answer_poll("4last");
    assert_eq!(client.poll(), None, "only the close packet is under way");
    assert_eq!(client.answer_post(), "1");
    assert_eq!(client.events(), [Event::Closed(DisconnectReason::Client)]);
}

#[test]
fn row_40_the_first_reason_stays() {
    let mut client = Client::polling();
    client.close();
    client.answer_poll("1");
    client.assert_closed(DisconnectReason::Client);

    let mut client = Client::polling();
    client.close();
    let post = client.post().unwrap();
    client.input(Input::PostFailed(post, DisconnectReason::TransportError));
    client.assert_closed(DisconnectReason::Client);

    let mut client = Client::polling();
    let poll = client.poll().unwrap();
    client.close();
    let post = client.post().unwrap();
    client.advance(secs(4));
    assert_eq!(client.session.closed(), None);
    client.advance(secs(1));
    client.assert_closed(DisconnectReason::Client);
    assert_eq!(
        client.outputs(),
        [Output::Cancel(poll), Output::Cancel(post)]
    );
}

#[test]
fn row_41_an_abort_releases_everything() {
    let (mut client, websocket) = Client::pausing();
    let poll = client.poll().unwrap();
    client.send("dropped");
    client.abort();
    client.assert_closed(DisconnectReason::Client);
    let reason = DisconnectReason::Client;
    let expected = [Output::Cancel(poll), Output::CloseLink(websocket, reason)];
    assert_eq!(client.outputs(), expected);
    assert_eq!(client.session.queued_messages(), 0);
}

#[test]
fn row_42_nothing_follows_the_end() {
    let mut client = Client::new(Transport::Polling);
    client.answer_poll(OPEN_UPGRADABLE);
    let websocket = client.websocket();
    let poll = client.poll().unwrap();
    client.abort();
    client.assert_closed(DisconnectReason::Client);
    client.outputs();
    for input in [
        Input::PollAnswered(poll, Payload::text("4a")),
        Input::PollFailed(poll, DisconnectReason::Refused),
        Input::LinkOpened(websocket),
        Input::LinkFrame(websocket, text("3probe")),
        Input::LinkClosed(websocket, DisconnectReason::TransportError),
        Input::Timeout,
    ] {
        client.input(input);
    }
    client.close();
    client.abort();
    assert_eq!(client.events(), []);
    assert_eq!(client.outputs(), []);
    assert_eq!(client.session.take_frame(websocket), None);
}

#[test]
fn a_failed_upgrade_is_told_once() {
    let (mut client, websocket) = Client::probed();
    let reason = DisconnectReason::TransportClose;
    client.input(Input::LinkClosed(websocket, reason));
    client.input(Input::LinkClosed(websocket, reason));
    client.advance(secs(10));
    let failed = Event::UpgradeFailed(ProbeFailure::Closed(reason));
    assert_eq!(client.events(), [failed]);
}
