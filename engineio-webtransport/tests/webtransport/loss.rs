//! Paths that lose datagrams.

use std::time::Duration;

use engineio_client::{FlushError, Message};
use engineio_tower::Transport::WebTransport;
use engineio_tower::{DisconnectReason, Server, Socket};

use crate::client::{client, connected};
use crate::support::{Loss, echo, start, within};

const DELAY: Duration = Duration::from_millis(5);

/// The messages of a test. Each fourth is larger than a datagram.
fn messages() -> impl Iterator<Item = Message> {
    (0..300).map(|n: usize| match n % 4 {
        0 => vec![n as u8; 5_000 + n].into(),
        _ => n.to_string().into(),
    })
}

#[tokio::test]
async fn messages_on_a_path_that_loses_one_datagram_of_six_come_back_in_order() {
    let loss = Loss::default();
    loss.set(6);
    let harness = start(echo()).await.behind_path(DELAY, loss).await;
    let mut client = connected(client(&harness, [WebTransport])).await;
    let handle = client.handle();
    let sending = async {
        for message in messages() {
            handle.send(message).await.unwrap();
        }
    };
    let reading = async {
        for message in messages() {
            assert_eq!(within(client.next()).await, Some(message));
        }
    };
    tokio::join!(sending, reading);
}

#[tokio::test]
async fn a_close_on_a_path_that_loses_datagrams_delivers_everything_before_it() {
    for by_server in [true, false] {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let builder = Server::builder().on_message(move |socket: Socket, message: Message| {
            if by_server {
                messages().for_each(|message| socket.try_send(message).unwrap());
                socket.close();
            }
            let _ = tell.send(message);
        });
        let loss = Loss::default();
        loss.set(6);
        let mut harness = start(builder).await.behind_path(DELAY, loss).await;
        let mut client = connected(client(&harness, [WebTransport])).await;
        if by_server {
            client.send("go").await.unwrap();
            for message in messages() {
                assert_eq!(within(client.next()).await, Some(message));
            }
            assert_eq!(within(client.next()).await, None);
            let reason = DisconnectReason::Server;
            assert_eq!(harness.end().await, (reason, WebTransport));
            assert_eq!(client.disconnect_reason(), Some(reason));
        } else {
            for message in messages() {
                client.send(message).await.unwrap();
            }
            within(client.close()).await;
            for message in messages() {
                assert_eq!(within(told.recv()).await, Some(message));
            }
            let reason = DisconnectReason::Client;
            assert_eq!(harness.end().await, (reason, WebTransport));
        }
    }
}

#[tokio::test]
async fn a_path_that_ends_is_noticed_by_both_sides_in_the_time_of_a_heartbeat() {
    let heartbeat = Duration::from_millis(300);
    let builder = echo().ping_interval(heartbeat).ping_timeout(heartbeat);
    let loss = Loss::default();
    let mut harness = start(builder).await.behind_path(DELAY, loss.clone()).await;
    let mut client = connected(client(&harness, [WebTransport])).await;
    client.send("before").await.unwrap();
    assert_eq!(within(client.next()).await, Some("before".into()));
    loss.set(1);
    assert_eq!(within(client.next()).await, None);
    let reason = DisconnectReason::PingTimeout;
    assert_eq!(client.disconnect_reason(), Some(reason));
    assert_eq!(harness.end().await, (reason, WebTransport));
}

#[tokio::test]
async fn a_close_on_a_path_that_has_ended_says_that_the_server_may_not_have_the_messages() {
    for is_silent in [false, true] {
        let loss = Loss::default();
        let harness = start(echo()).await.behind_path(DELAY, loss.clone()).await;
        let mut client = connected(client(&harness, [WebTransport])).await;
        loss.set(1);
        if !is_silent {
            client.send("lost").await.unwrap();
            within(client.flush()).await.unwrap();
        }
        within(client.close()).await;
        let reason = DisconnectReason::Client;
        assert_eq!(client.disconnect_reason(), Some(reason));
        let flushed = within(client.flush()).await;
        match is_silent {
            true => flushed.unwrap(),
            false => assert!(matches!(flushed, Err(FlushError::Lost)), "{flushed:?}"),
        }
        // It may have arrived, so it is not handed back.
        assert_eq!(client.take_unsent(), []);
        within(client.flush()).await.unwrap();
    }
}

#[tokio::test]
async fn a_session_outlives_a_path_that_is_interrupted_for_less_than_a_heartbeat() {
    let loss = Loss::default();
    let harness = start(echo()).await.behind_path(DELAY, loss.clone()).await;
    let mut client = connected(client(&harness, [WebTransport])).await;
    loss.set(1);
    for message in messages() {
        client.send(message).await.unwrap();
    }
    // More than leave before the first is missed.
    loss.lose(15).await;
    loss.set(0);
    for message in messages() {
        assert_eq!(within(client.next()).await, Some(message));
    }
}
