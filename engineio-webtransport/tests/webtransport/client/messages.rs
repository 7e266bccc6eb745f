//! Messages in both directions, by a session that began by WebTransport or was moved to it.

use engineio_client::{Client, DisconnectReason, Message};
use engineio_tower::Transport::{Polling, WebSocket, WebTransport};

use super::{client, connected, site};
use crate::support::{Harness, echo, within};

/// Clients that have got to WebTransport in each way. Of two transports, either may win on a busy machine.
async fn each_way() -> Vec<(Harness, Client)> {
    let mut clients = Vec::new();
    for transports in [
        &[WebTransport][..],
        &[Polling, WebTransport],
        &[Polling, WebSocket, WebTransport],
    ] {
        let harness = site(echo).await;
        let client = connected(client(&harness, transports.iter().copied())).await;
        let by = within(client.settled()).await;
        assert!(by == WebTransport || transports.contains(&WebSocket) && by == WebSocket);
        clients.push((harness, client));
    }
    clients
}

#[tokio::test]
async fn messages_of_every_kind_and_size_come_back() {
    for (_harness, mut client) in each_way().await {
        let messages = [
            Message::from(""),
            Message::from("text"),
            Message::from(vec![]),
            Message::from(vec![0, 0x1e, 255]),
            Message::from("\u{1e}é\u{feff}"),
            Message::from("x".repeat(999_999)),
            Message::from(vec![7; 1_000_000]),
        ];
        for message in messages {
            client.send(message.clone()).await.unwrap();
            assert!(within(client.next()).await == Some(message));
        }
        within(client.close()).await;
    }
}

#[tokio::test]
async fn a_thousand_messages_come_back_in_order() {
    for (_harness, mut client) in each_way().await {
        let handle = client.handle();
        let sending = async {
            for n in 0..1_000 {
                handle.send(n.to_string()).await.unwrap();
            }
        };
        let reading = async {
            for n in 0..1_000 {
                let message = within(client.next()).await.unwrap();
                assert_eq!(message, Message::from(n.to_string()));
            }
        };
        tokio::join!(sending, reading);
    }
}

#[tokio::test]
async fn messages_sent_during_the_upgrade_come_back_once_and_in_order() {
    for transports in [
        &[Polling, WebTransport][..],
        &[Polling, WebSocket, WebTransport],
    ] {
        let harness = site(echo).await;
        let mut client = connected(client(&harness, transports.iter().copied())).await;
        let mut sent = 0;
        while client.transport() == Polling {
            client.send(sent.to_string()).await.unwrap();
            sent += 1;
            tokio::task::yield_now().await;
        }
        for n in sent..sent + 10 {
            client.send(n.to_string()).await.unwrap();
        }
        for n in 0..sent + 10 {
            assert_eq!(within(client.next()).await, Some(n.to_string().into()));
        }
        assert!(client.upgraded());
        assert!(client.upgrade_error().is_none());
    }
}

#[tokio::test]
async fn either_side_closes() {
    for server_closes in [false, true] {
        for (mut harness, mut client) in each_way().await {
            client.send("last").await.unwrap();
            assert_eq!(within(client.next()).await, Some("last".into()));
            let (reason, here) = match server_closes {
                true => {
                    let socket = harness.server.sockets().into_iter().next().unwrap();
                    socket.close();
                    (DisconnectReason::Server, DisconnectReason::Server)
                }
                false => {
                    within(client.close()).await;
                    (DisconnectReason::Client, DisconnectReason::Client)
                }
            };
            assert_eq!(within(client.next()).await, None);
            assert_eq!(client.disconnect_reason(), Some(here));
            assert!(
                client.disconnect_error().is_none(),
                "{:?}",
                client.disconnect_error()
            );
            assert_eq!(harness.end().await, (reason, client.transport()));
        }
    }
}
