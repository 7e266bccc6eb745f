//! The end of a session: nothing is lost of what was sent before it, however far the server is.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use engineio_client::{DisconnectReason, Message};
use engineio_tower::Transport::WebTransport;
use engineio_tower::{Server, Socket};
use tokio::time::{Instant, timeout};

use super::{RawServer, client, connected};
use crate::support::{start, within};

/// The memory of what a server has received.
type Seen = Arc<Mutex<Vec<usize>>>;

#[tokio::test]
async fn everything_that_was_sent_before_a_close_arrives() {
    for delay in [0, 30] {
        let seen = Seen::default();
        let told = Arc::clone(&seen);
        let on_message = move |_: Socket, message: Message| {
            told.lock().unwrap().push(message.len());
        };
        let harness = start(Server::builder().on_message(on_message)).await;
        let mut harness = harness.behind(Duration::from_millis(delay)).await;
        let mut client = connected(client(&harness, [WebTransport])).await;
        for len in 0..100 {
            client.send(vec![7; 10_000 + len]).await.unwrap();
        }
        within(client.close()).await;
        within(client.flush()).await.unwrap();
        assert_eq!(
            harness.end().await,
            (DisconnectReason::Client, WebTransport)
        );
        let expected: Vec<usize> = (10_000..10_100).collect();
        assert_eq!(*seen.lock().unwrap(), expected);
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_a_close_is_given_up() {
    let (server, builder) = RawServer::start();
    let accept = tokio::spawn(async move {
        let open = server.open().await;
        (server, open)
    });
    let mut client = connected(builder).await;
    let (_server, (session, _send, mut recv)) = within(accept).await.unwrap();
    client.send("last").await.unwrap();
    let began = Instant::now();
    within(client.close()).await;
    assert!(began.elapsed() < Duration::from_secs(5));
    // QUIC has its acknowledgement.
    within(client.flush()).await.unwrap();
    let mut all = [0; 8];
    within(recv.read_exact(&mut all)).await.unwrap();
    assert_eq!(&all, b"\x054last\x011");
    assert_eq!(within(recv.read(&mut all)).await.unwrap(), None);
    within(session.closed()).await;
}

#[tokio::test]
async fn a_server_that_reads_nothing_holds_a_close_up_no_longer_than_its_limit() {
    let (server, builder) = RawServer::start();
    let accept = tokio::spawn(async move {
        let open = server.open().await;
        (server, open)
    });
    let builder = builder.close_timeout(Duration::from_millis(300));
    let client = connected(builder).await;
    let (_server, _open) = within(accept).await.unwrap();
    // The windows of both sides and the outbox hold so much and no more; then a sender waits.
    let mut sent = 0;
    let wait = Duration::from_secs(1);
    while let Ok(taken) = timeout(wait, client.send(vec![0; 100_000])).await {
        taken.unwrap();
        sent += 100_000;
        assert!(sent < 10_000_000, "nothing holds the sender up");
    }
    let began = Instant::now();
    within(client.close()).await;
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(!client.take_unsent().is_empty());
}
