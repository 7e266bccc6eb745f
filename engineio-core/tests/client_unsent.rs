//! Messages that a session had not sent, or may not have sent, when it ended.

mod client_support;

use client_support::{Client, message, secs, text};
use engineio_core::client::{Event, Input, Output, ProbeFailure, RequestId};
use engineio_core::{DisconnectReason, Message, Payload, SendError};

fn messages<const N: usize>(texts: [&str; N]) -> Vec<Message> {
    texts.map(Message::from).to_vec()
}

#[test]
fn messages_still_queued_at_the_end_are_handed_back_once_and_in_order() {
    let (mut client, websocket) = Client::websocket_open();
    for text in ["a", "b", "c"] {
        client.send(text);
    }
    assert_eq!(client.session.take_frame(websocket), Some(text("4a")));
    assert_eq!(client.session.take_unsent(), []);
    let reason = DisconnectReason::TransportClose;
    client.input(Input::LinkClosed(websocket, reason));
    assert_eq!(client.session.dropped_messages(), 2);
    assert_eq!(client.session.take_unsent(), messages(["b", "c"]));
    assert_eq!(client.session.take_unsent(), []);
    assert_eq!(client.session.dropped_messages(), 2);
}

#[test]
fn messages_of_a_post_are_in_flight_until_its_answer() {
    let mut client = Client::polling();
    client.send("a");
    let post = client.post().unwrap();
    assert_eq!(client.session.messages_in_flight(), 0);
    assert_eq!(client.body(post), "4a");
    assert_eq!(client.session.messages_in_flight(), 1);
    client.input(Input::PostAnswered(post));
    assert_eq!(client.session.messages_in_flight(), 0);
}

#[test]
fn messages_of_a_post_that_was_not_answered_stay_in_doubt() {
    let mut client = Client::polling();
    client.send("a");
    let post = client.post().unwrap();
    assert_eq!(client.body(post), "4a");
    client.send("b");
    client.input(Input::PostAnswered(post));
    client.send("c");
    let post = client.post().unwrap();
    assert_eq!(client.body(post), "4b\u{1e}4c");
    client.send("d");
    client.input(Input::PostFailed(post, DisconnectReason::TransportError));
    assert_eq!(client.session.messages_in_flight(), 2);
    assert_eq!(client.session.take_unsent(), messages(["d"]));
}

/// A session whose server has sent a close packet while a POST with one message was on its way.
fn closed_during_a_post() -> (Client, RequestId) {
    let mut client = Client::polling();
    client.send("a");
    let post = client.post().unwrap();
    assert_eq!(client.body(post), "4a");
    client.send("b");
    client.answer_poll("4last\u{1e}1");
    assert_eq!(client.session.closed(), None);
    (client, post)
}

#[test]
fn row_33a_the_answer_to_a_post_tells_whether_a_server_that_closes_has_its_messages() {
    for (answer, in_doubt) in [(true, 0), (false, 1)] {
        let (mut client, post) = closed_during_a_post();
        assert_eq!(client.session.messages_in_flight(), 1);
        client.input(match answer {
            true => Input::PostAnswered(post),
            false => Input::PostFailed(post, DisconnectReason::Refused),
        });
        let closed = Event::Closed(DisconnectReason::Server);
        assert_eq!(client.events(), [message("last"), closed]);
        assert_eq!(client.session.messages_in_flight(), in_doubt);
        assert_eq!(client.session.take_unsent(), messages(["b"]));
        assert_eq!(client.outputs(), [Output::Finished]);
    }
}

#[test]
fn row_33a_a_post_that_is_not_answered_within_the_close_timeout_stays_in_doubt() {
    let (mut client, post) = closed_during_a_post();
    client.advance(secs(4));
    assert_eq!(client.session.closed(), None);
    client.advance(secs(1));
    client.assert_closed(DisconnectReason::Server);
    assert_eq!(client.outputs(), [Output::Cancel(post)]);
    assert_eq!(client.session.messages_in_flight(), 1);
}

#[test]
fn row_33a_a_session_that_waits_for_the_answer_takes_and_asks_for_nothing() {
    let (mut client, post) = closed_during_a_post();
    assert!(!client.session.is_open());
    let refused = client.session.send(Message::from("late")).unwrap_err();
    assert_eq!(refused, SendError::Closed(Message::from("late")));
    // It is closing already.
    client.close();
    client.advance(secs(1));
    assert_eq!(client.session.closed(), None);
    assert_eq!(client.outputs(), []);
    client.abort();
    client.assert_closed(DisconnectReason::Server);
    assert_eq!(client.outputs(), [Output::Cancel(post)]);
}

#[test]
fn row_33a_an_upgrade_is_given_up_at_once() {
    let (mut client, websocket) = Client::probed();
    client.send("a");
    let post = client.post().unwrap();
    assert_eq!(client.body(post), "4a");
    client.frame(websocket, "3probe");
    client.answer_poll("1");
    let reason = DisconnectReason::Server;
    assert_eq!(client.outputs(), [Output::CloseLink(websocket, reason)]);
    assert!(!client.session.is_upgrading());
    client.input(Input::PostAnswered(post));
    client.assert_closed(reason);
}

#[test]
fn a_server_that_closes_is_not_waited_for_without_messages_on_their_way() {
    let mut client = Client::polling();
    client.answer_poll("2");
    let post = client.post().unwrap();
    assert_eq!(client.body(post), "3");
    client.answer_poll("1");
    client.assert_closed(DisconnectReason::Server);
    assert_eq!(client.outputs(), [Output::Cancel(post)]);
}

#[test]
fn row_40_a_closing_session_whose_poll_ends_waits_for_the_answer_to_its_messages() {
    let reason = DisconnectReason::Refused;
    for answer in [Some("1"), None] {
        let mut client = Client::polling();
        let poll = client.poll().unwrap();
        client.send("a");
        client.close();
        let post = client.post().unwrap();
        assert_eq!(client.body(post), "4a\u{1e}1");
        client.input(match answer {
            Some(answer) => Input::PollAnswered(poll, Payload::text(answer)),
            None => Input::PollFailed(poll, reason),
        });
        assert_eq!(client.session.closed(), None);
        client.input(Input::PostAnswered(post));
        client.assert_closed(DisconnectReason::Client);
        assert_eq!(client.session.messages_in_flight(), 0);
    }
}

#[test]
fn the_reason_why_an_upgrade_failed_can_be_asked_for() {
    let (mut client, websocket) = Client::probed();
    assert_eq!(client.session.probe_failure(), None);
    client.frame(websocket, "3nonsense");
    let failure = client.session.probe_failure();
    assert_eq!(failure, Some(ProbeFailure::WrongAnswer));
}
