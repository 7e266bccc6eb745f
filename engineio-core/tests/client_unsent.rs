//! Messages that a session had not sent, or may not have sent, when it ended.

mod client_support;

use client_support::{Client, text};
use engineio_core::client::{Input, ProbeFailure};
use engineio_core::{DisconnectReason, Message};

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
fn messages_of_a_post_that_was_not_answered_stay_in_doubt_unless_the_server_closed() {
    for (close, in_doubt) in [(false, 2), (true, 0)] {
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
        match close {
            true => client.answer_poll("1"),
            false => client.input(Input::PostFailed(post, DisconnectReason::TransportError)),
        }
        assert_eq!(client.session.messages_in_flight(), in_doubt);
        assert_eq!(client.session.take_unsent(), messages(["d"]));
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
