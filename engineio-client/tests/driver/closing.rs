//! The close of a WebSocket whose server reads slowly, and sends meanwhile.

use std::time::Duration;

use crate::support::{OPEN_POLLING, Server, in_time, websocket};
use engineio_client::{Client, ClientBuilder, DisconnectReason, FlushError, Transport};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as WsMessage;

use super::hooked;

/// The time for which the server does not read: longer than a closed connection is waited for if it has no more time.
const LATE: Duration = Duration::from_millis(2_500);

#[tokio::test]
async fn a_server_that_sends_gets_what_it_has_not_read_before_the_close() {
    // More than the server's buffer holds, and less than both.
    const COUNT: usize = 400;
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |_, _| {
        let told = told.clone();
        websocket(move |mut socket| async move {
            socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
            let (mut write, mut read) = socket.split();
            let send = async {
                let mut pace = interval(Duration::from_millis(10));
                while write.send(WsMessage::text("4x")).await.is_ok() {
                    pace.tick().await;
                }
            };
            let late = timeout(LATE, send).await;
            assert!(late.is_err(), "the client is gone");
            let mut count = 0;
            while let Some(Ok(message)) = read.next().await {
                count += usize::from(message.len() == 1_001);
            }
            let _ = told.send(count);
        })
    })
    .await;
    let builder = Client::builder(&server.url()).transports([Transport::WebSocket]);
    let mut client = in_time(builder.connect()).await.unwrap();
    for _ in 0..COUNT {
        client.send("x".repeat(1_000)).await.unwrap();
    }
    in_time(client.close()).await;
    assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Client));
    client.flush().await.unwrap();
    assert_eq!(in_time(hears.recv()).await, Some(COUNT));
}

async fn connect(
    options: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> (Client, WebSocketStream<DuplexStream>) {
    hooked::connect(Box::new(|_| None), Box::new(|_| None), options).await
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_the_close_has_the_time_of_the_close() {
    for sends in [false, true] {
        let limit = Duration::from_secs(20);
        let (mut client, socket) = connect(|builder| builder.close_timeout(limit)).await;
        client.send("a").await.unwrap();
        client.flush().await.unwrap();
        let (mut read, mut write) = tokio::io::split(socket.into_inner());
        let server = tokio::spawn(async move {
            let start = Instant::now();
            let mut pace = interval(Duration::from_millis(100));
            while sends && write.write_all(b"\x81\x024x").await.is_ok() {
                pace.tick().await;
            }
            (start.elapsed().as_secs(), write)
        });
        let ended = tokio::spawn(async move {
            let start = Instant::now();
            let _ = read.read_to_end(&mut Vec::new()).await;
            start.elapsed().as_secs()
        });
        let start = Instant::now();
        client.close().await;
        assert_eq!(start.elapsed().as_secs(), 20, "{sends}");
        // It can read that nothing follows.
        assert_eq!(ended.await.unwrap(), 1, "{sends}");
        if sends {
            assert_eq!(server.await.unwrap().0, 20);
        }
        // Nobody knows whether it was read.
        let flushed = client.flush().await;
        assert!(matches!(flushed, Err(FlushError::Lost)), "{sends}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_with_the_late_answer_of_the_server() {
    let (mut client, mut socket) = connect(|builder| builder).await;
    client.send("a").await.unwrap();
    let server = tokio::spawn(async move {
        let mut pace = interval(Duration::from_millis(100));
        for _ in 0..30 {
            socket.send(WsMessage::text("4x")).await.unwrap();
            pace.tick().await;
        }
        let mut texts = Vec::new();
        while let Some(Ok(WsMessage::Text(text))) = socket.next().await {
            texts.push(text.to_string());
        }
        texts
    });
    let start = Instant::now();
    client.close().await;
    assert_eq!(start.elapsed().as_millis() / 100, 29);
    client.flush().await.unwrap();
    assert_eq!(server.await.unwrap(), ["4a", "1"]);
}

#[tokio::test(start_paused = true)]
async fn an_abort_does_not_wait_for_a_server_that_sends() {
    let (client, mut socket) = connect(|builder| builder).await;
    let handle = client.handle();
    let start = Instant::now();
    let server = tokio::spawn(async move {
        let mut pace = interval(Duration::from_millis(100));
        while socket.send(WsMessage::text("4x")).await.is_ok() {
            pace.tick().await;
        }
        start.elapsed().as_secs()
    });
    handle.abort();
    client.wait().await;
    assert!(server.await.unwrap() <= 1);
}
