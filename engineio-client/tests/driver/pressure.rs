//! Back pressure: a slow reader slows the other side down, and loses nothing.

use std::time::Duration;

use crate::support::{
    OPEN, OPEN_POLLING, Reply, Server, accept_probe, echo, in_time, ok, websocket,
};
use engineio_client::{Client, DisconnectReason, Transport};
use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message as WsMessage;

/// More than the buffers of two sockets hold: 128 MiB.
const COUNT: usize = 2000;
const SIZE: usize = 64 * 1024;

/// Waits until the server sends nothing for a while.
async fn stuck<T>(mut progress: tokio::sync::watch::Receiver<T>) {
    let pause = Duration::from_millis(200);
    while let Ok(Ok(())) = tokio::time::timeout(pause, progress.changed()).await {}
}

#[tokio::test]
async fn a_websocket_is_not_read_faster_than_the_application_reads() {
    let (sent, all_sent) = tokio::sync::watch::channel(0);
    let server = Server::start(move |_, _| {
        let sent = sent.clone();
        websocket(move |mut socket| async move {
            socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
            for n in 0..COUNT {
                let mut data = vec![0; SIZE];
                data[..8].copy_from_slice(&n.to_be_bytes());
                socket.send(WsMessage::binary(data)).await.unwrap();
                sent.send_replace(n + 1);
            }
            echo(socket).await;
        })
    })
    .await;
    let builder = Client::builder(&server.url())
        .transports([Transport::WebSocket])
        .inbox_limit(256 * 1024);
    let mut client = in_time(builder.connect()).await.unwrap();
    // The server gets stuck: it sends nothing for a while although it has not sent all.
    in_time(stuck(all_sent.clone())).await;
    assert!(*all_sent.borrow() < COUNT, "all of it was taken");
    for n in 0..COUNT {
        let message = in_time(client.next()).await.unwrap();
        assert_eq!(message.len(), SIZE);
        assert_eq!(message.as_bytes()[..8], n.to_be_bytes());
    }
    assert!(client.is_open());
}

#[tokio::test]
async fn a_close_gets_past_echoes_that_nobody_reads() {
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |_, _| {
        let told = told.clone();
        websocket(move |mut socket| async move {
            socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
            let mut count = 0;
            while let Some(Ok(message)) = socket.next().await {
                if message.is_close() || message == WsMessage::text("1") {
                    break;
                }
                count += 1;
                // It reads no further while the client does not read.
                if socket.send(message).await.is_err() {
                    break;
                }
            }
            let _ = told.send(count);
        })
    })
    .await;
    let builder = Client::builder(&server.url())
        .transports([Transport::WebSocket])
        .inbox_limit(1000)
        .outbox_limit(1000);
    let client = in_time(builder.connect()).await.unwrap();
    let mut sent = 0;
    // Until both sides are stuck.
    while let Ok(outcome) =
        tokio::time::timeout(Duration::from_millis(200), client.send(vec![0; SIZE])).await
    {
        outcome.unwrap();
        sent += 1;
    }
    tokio::join!(client.close(), async {
        assert_eq!(in_time(hears.recv()).await, Some(sent));
    });
}

#[tokio::test]
async fn an_upgrade_does_not_wait_for_the_application_to_read() {
    let open = format!("{OPEN}\u{1e}4{}", "x".repeat(2000));
    let server = Server::start(move |_, request| match request.is_handshake() {
        true => ok(&open),
        false if request.is_websocket() => websocket(|mut socket| async move {
            accept_probe(&mut socket).await;
            echo(socket).await;
        }),
        false => ok("6"),
    })
    .await;
    let builder = Client::builder(&server.url()).inbox_limit(1000);
    let mut client = in_time(builder.connect()).await.unwrap();
    assert_eq!(in_time(client.settled()).await, Transport::WebSocket);
    client.send("a").await.unwrap();
    for len in [2000, 1] {
        assert_eq!(in_time(client.next()).await.unwrap().len(), len);
    }
}

#[tokio::test]
async fn who_reads_during_an_upgrade_gets_what_the_next_poll_brings() {
    let open = format!("{OPEN}\u{1e}4{}", "x".repeat(2000));
    let (tried, mut trying) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |_, request| match request.is_handshake() {
        true => ok(&open),
        false if request.is_websocket() => {
            tried.send(()).unwrap();
            Reply::Never
        }
        false if request.is_poll() => ok("4a"),
        false => Reply::Never,
    })
    .await;
    let builder = Client::builder(&server.url())
        .inbox_limit(1000)
        .upgrade_timeout(Duration::from_secs(60));
    let mut client = in_time(builder.connect()).await.unwrap();
    in_time(trying.recv()).await.unwrap();
    for len in [2000, 1] {
        assert_eq!(in_time(client.next()).await.unwrap().len(), len);
    }
}

#[tokio::test]
async fn pings_of_a_server_that_does_not_read_are_read_and_their_answers_do_not_pile_up() {
    const ROUNDS: usize = 64;
    const PINGS: usize = 8_000;
    // A frame of a ping, as a server writes it.
    let mut ping = vec![0x89, 125];
    ping.extend([0; 125]);
    let pings = ping.repeat(PINGS);
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |_, _| {
        let (told, pings) = (told.clone(), pings.clone());
        websocket(move |mut socket| async move {
            socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
            // On the thread of the test, which the client has to share.
            for _ in 0..ROUNDS {
                socket.get_mut().write_all(&pings).await.unwrap();
            }
            socket.send(WsMessage::text("2")).await.unwrap();
            let mut pongs = 0;
            while let Some(Ok(message)) = socket.next().await {
                if message == WsMessage::text("3") {
                    told.send(pongs).unwrap();
                }
                pongs += usize::from(message.is_pong());
            }
        })
    })
    .await;
    let builder = Client::builder(&server.url()).transports([Transport::WebSocket]);
    let client = in_time(builder.connect()).await.unwrap();
    // What the buffers of two sockets held; the rest was never kept.
    let pongs = in_time(hears.recv()).await.unwrap();
    assert!(pongs > 0);
    assert!(pongs < ROUNDS * PINGS / 2, "{pongs} pongs were kept");
    assert!(client.is_open());
}

#[tokio::test]
async fn a_send_and_a_flush_end_with_a_server_that_pings_and_does_not_read() {
    let server = Server::start(|_, _| {
        websocket(|mut socket| async move {
            let open = r#"0{"sid":"abc","upgrades":[],"pingInterval":200,"pingTimeout":100}"#;
            socket.send(WsMessage::text(open)).await.unwrap();
            let mut pings = tokio::time::interval(Duration::from_millis(50));
            while socket.send(WsMessage::text("2")).await.is_ok() {
                pings.tick().await;
            }
        })
    })
    .await;
    let connect = || {
        let builder = Client::builder(&server.url()).transports([Transport::WebSocket]);
        in_time(builder.connect())
    };
    let client = connect().await.unwrap();
    while in_time(client.send(vec![0; SIZE])).await.is_ok() {}
    let reason = client.disconnect_reason();
    assert_eq!(reason, Some(DisconnectReason::SlowConsumer));

    let mut client = connect().await.unwrap();
    // The WebSocket holds the first, so that the second stays in the outbox.
    client.try_send(vec![0; 16 << 20]).unwrap();
    client.send(vec![0; SIZE]).await.unwrap();
    in_time(client.flush()).await.unwrap_err();
    let reason = client.disconnect_reason();
    assert_eq!(reason, Some(DisconnectReason::SlowConsumer));
    in_time(client.wait()).await;
    let error = client.disconnect_error().unwrap();
    assert!(error.to_string().contains("but did not read"), "{error}");
}
