//! A server that does not read: what ends the session, and when.

mod client_support;

use engineio_core::DisconnectReason;
use engineio_core::client::Config;

use crate::client_support::{Client, secs, text};

/// A client whose application echoes, and so waits for room in the outbox while its inbox is full.
fn echo() -> Config {
    Config {
        inbox_limit: 10,
        outbox_limit: 100,
        ..Config::default()
    }
}

// row 32a
#[test]
fn a_full_inbox_does_not_excuse_a_server_that_takes_nothing_out_of_a_full_outbox() {
    let (mut client, websocket) = Client::websocket_open_with(echo());
    client.send("an echo");
    let full = client
        .session
        .send("another echo, for which there is no room".into());
    assert!(full.is_err());
    client.frame(websocket, "4a");
    client.frame(websocket, "4b");
    assert!(!client.session.wants_input());
    client.advance(secs(45));
    client.advance(secs(45));
    client.assert_closed(DisconnectReason::PingTimeout);
}

#[test]
fn a_full_inbox_excuses_a_server_that_takes_what_is_sent() {
    let (mut client, websocket) = Client::websocket_open_with(echo());
    client.frame(websocket, "4a");
    for _ in 0..10 {
        client.send("an echo");
        let full = client
            .session
            .send("another echo, for which there is no room".into());
        assert!(full.is_err());
        client.advance(secs(44));
        client.frames(websocket);
        client.advance(secs(1));
        assert!(client.session.is_open());
    }
}

// row 31a
#[test]
fn a_server_that_pings_and_takes_nothing_is_a_slow_consumer() {
    let (mut client, websocket) = Client::websocket_open();
    client.advance(secs(25));
    client.frame(websocket, "2");
    for _ in 0..4 {
        client.advance(secs(10));
        client.frame(websocket, "2");
        client.frame(websocket, "4a");
        assert!(client.session.is_open());
    }
    client.advance(secs(5));
    client.events();
    assert_eq!(
        client.session.closed(),
        Some(DisconnectReason::SlowConsumer)
    );
}

#[test]
fn a_server_that_takes_the_pongs_is_alive() {
    let (mut client, websocket) = Client::websocket_open();
    for _ in 0..10 {
        client.advance(secs(40));
        client.frame(websocket, "2");
        assert_eq!(client.frames(websocket), [text("3")]);
        assert!(client.session.is_open());
    }
}

#[test]
fn the_silence_of_a_server_is_not_counted_while_nobody_reads_it() {
    let (mut client, websocket) = Client::websocket_open_with(echo());
    client.advance(secs(40));
    client.frame(websocket, "4a");
    client.frame(websocket, "4b");
    client.advance(secs(1_000));
    assert!(client.session.is_open());
    client.events();
    client.advance(secs(44));
    assert!(client.session.is_open());
    client.advance(secs(1));
    client.assert_closed(DisconnectReason::PingTimeout);
}
