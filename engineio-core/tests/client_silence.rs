//! A server that does not read: what ends the session, and when.

mod client_support;
#[path = "support/xorshift.rs"]
#[allow(dead_code, reason = "every test crate uses its part of the numbers")]
mod xorshift;

use engineio_core::client::{Config, Event};
use engineio_core::{DisconnectReason, Message, Revision, SendError};

use crate::client_support::{Client, ms, secs, text};
use crate::xorshift::Xorshift;

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

/// A server that sends what it likes and takes nothing, under an application that echoes. The client leaves it within
/// twice the ping interval and timeout from the first heartbeat packet on that it does not take.
fn server_that_takes_nothing(seed: u64) {
    let mut random = Xorshift::new(seed);
    let revision = [Revision::V4, Revision::V3][random.below(2)];
    let mut client = Client::polling_with(Config {
        revision,
        inbox_limit: [0, 200, 10_000][random.below(3)],
        outbox_limit: [1, 500][random.below(2)],
        ..Config::default()
    });
    // In revision 3 it is the client that pings.
    let mut end = (revision == Revision::V3).then_some(client.now + secs(25 + 2 * 45));
    let longest_step = [200, 2_000, 9_000][random.below(3)];
    let mut echo: Option<Message> = None;
    while client.session.closed().is_none() && end.is_none_or(|end| client.now <= end) {
        let packet = ["4a", "2", "6", "4b"][random.below(4)];
        match random.below(3) {
            0 if client.is_polling() => {
                if packet == "2" {
                    end.get_or_insert(client.now + secs(2 * 45));
                }
                client.answer_poll(client_support::payload(revision, packet));
            }
            _ => {
                // The driver wakes the session in time.
                let due = client.session.poll_timeout().unwrap() - client.now;
                client.advance(due.min(ms(1 + random.below(longest_step) as u64)));
            }
        }
        // The application takes no further message before the echo of the last one is queued.
        loop {
            if let Some(message) = echo.take()
                && let Err(SendError::Full(message)) = client.session.send(message)
            {
                echo = Some(message);
                break;
            }
            let now = client.now;
            match client.session.take_event(|| now) {
                Some(Event::Message(message)) => echo = Some(message),
                Some(_) => {}
                None => break,
            }
        }
        client.drain();
    }
    let reason = client.session.closed();
    assert_eq!(reason, Some(DisconnectReason::PingTimeout), "seed {seed}");
}

#[test]
fn a_server_that_takes_nothing_is_left_in_time_whatever_it_sends() {
    for seed in 0..2_000 {
        server_that_takes_nothing(seed);
    }
}
