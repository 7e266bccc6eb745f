//! Messages that are under way while the session moves from polling to WebSocket.

use std::sync::Arc;

use engineio_client::{Message, Transport};
use futures_util::{FutureExt, StreamExt, stream};
use tokio::sync::Semaphore;

use crate::peers::{MODES, Peer, in_time, peers};

const RUNS: usize = 200;
const AT_ONCE: usize = 8;

/// The number of messages in flight, so that polling always has some in each direction.
const WINDOW: usize = 16;

/// The number of messages that are sent after the upgrade.
const AFTERWARDS: usize = 20;

fn message(n: usize) -> Message {
    if n.is_multiple_of(2) {
        Message::from(format!("message {n}"))
    } else {
        Message::from(n.to_be_bytes().to_vec())
    }
}

/// Sends numbered messages from the moment of the opening until after the upgrade. Gives how many were sent before the
/// move was over.
async fn run(peer: Peer) -> usize {
    let mut client = in_time(peer.client(MODES[2]).connect()).await.unwrap();
    let handle = client.handle();
    let window = Arc::new(Semaphore::new(WINDOW));
    let permits = Arc::clone(&window);
    let mut sender = tokio::spawn(async move {
        let (mut sent, mut before) = (0, None);
        while before.is_none_or(|before| sent < before + AFTERWARDS) {
            permits.acquire().await.unwrap().forget();
            handle.send(message(sent)).await.unwrap();
            sent += 1;
            if before.is_none() && handle.settled().now_or_never().is_some() {
                before = Some(sent);
            }
        }
        (before.unwrap_or(0), sent)
    });
    let mut received = 0;
    let (before, sent) = in_time(async {
        let counts = loop {
            tokio::select! {
                // In this order, so that the last messages are read before the end is looked at.
                biased;
                echo = client.next() => {
                    let error = client.disconnect_error();
                    assert_eq!(echo, Some(message(received)), "{}: {error:?}", peer.name);
                    received += 1;
                    window.add_permits(1);
                }
                counts = &mut sender => break counts.unwrap(),
            }
        };
        while received < counts.1 {
            assert_eq!(
                client.next().await,
                Some(message(received)),
                "{}",
                peer.name
            );
            received += 1;
        }
        counts
    })
    .await;
    assert!(client.upgraded(), "{}", peer.name);
    assert_eq!(client.transport(), Transport::WebSocket);
    in_time(client.close()).await;
    // One more would be one that came twice.
    assert_eq!(in_time(client.next()).await, None, "{}", peer.name);
    assert_eq!(received, sent);
    before
}

#[tokio::test]
async fn nothing_is_lost_doubled_or_reordered() {
    for peer in peers() {
        let runs = stream::iter(0..RUNS).map(|_| run(peer.clone()));
        let before: Vec<usize> = runs.buffer_unordered(AT_ONCE).collect().await;
        assert_eq!(before.len(), RUNS);
        // Otherwise the runs would say nothing about the move.
        let during = before.iter().sum::<usize>() / RUNS;
        println!(
            "{}: {during} messages before the end of the upgrade",
            peer.name
        );
        assert!(during >= WINDOW, "{}: only {during}", peer.name);
    }
}
