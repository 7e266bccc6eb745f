//! A binary message may own memory of the application, whose `Drop` may ask the client: it never runs under a lock.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::support::{LONG, OPEN_POLLING, Reply, Server, in_time, ok, websocket};
use bytes::Bytes;
use engineio_client::{Client, Handle, Message, Reconnect, Revision, Transport};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message as WsMessage;

/// The data of a message.
struct Owner {
    client: Handle,
    drops: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &[7; 100]
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = (self.client.queued_bytes(), self.client.is_open());
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Default)]
struct Owners(Arc<AtomicUsize>);

impl Owners {
    fn message(&self, client: &Client) -> Message {
        Message::binary(Bytes::from_owner(Owner {
            client: client.handle(),
            drops: Arc::clone(&self.0),
        }))
    }

    async fn dropped(&self, count: usize) {
        let dropped = async {
            while self.0.load(Ordering::Relaxed) < count {
                tokio::task::yield_now().await;
            }
        };
        in_time(dropped).await;
        assert_eq!(self.0.load(Ordering::Relaxed), count);
    }
}

/// Runs a test that would never end, were an owner dropped under a lock, in a thread that is given up after a while.
fn ends<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let (done, waiting) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test());
        done.send(()).unwrap();
    });
    match waiting.recv_timeout(2 * LONG) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("an owner waits for a lock"),
        _ => thread.join().unwrap(),
    }
}

/// A server that takes every message, in this revision.
async fn taking(revision: Revision) -> Server {
    let payload = match revision {
        Revision::V3 => format!("{}:{OPEN_POLLING}", OPEN_POLLING.len()),
        _ => OPEN_POLLING.to_owned(),
    };
    Server::start(move |_, request| match request.method.as_str() {
        _ if request.is_websocket() => websocket(|mut socket| async move {
            socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
            while let Some(Ok(_)) = socket.next().await {}
        }),
        _ if request.is_handshake() => ok(&payload),
        "POST" => ok("ok"),
        _ => Reply::Never,
    })
    .await
}

#[test]
fn messages_that_were_sent_are_dropped_without_a_lock() {
    for revision in [Revision::V4, Revision::V3] {
        for transport in [Transport::Polling, Transport::WebSocket] {
            ends(move || async move {
                let server = taking(revision).await;
                let builder = Client::builder(&server.url())
                    .revision(revision)
                    .transports([transport]);
                let mut client = in_time(builder.connect()).await.unwrap();
                let owners = Owners::default();
                for _ in 0..3 {
                    client.send(owners.message(&client)).await.unwrap();
                }
                in_time(client.flush()).await.unwrap();
                owners.dropped(3).await;
            });
        }
    }
}

#[test]
fn messages_that_were_not_sent_and_that_nobody_takes_are_dropped_without_a_lock() {
    ends(|| async {
        // Each session ends after its first POST, which has no answer.
        let (refuse, refused) = tokio::sync::watch::channel(false);
        let server = Server::start(move |_, request| match request.method.as_str() {
            _ if request.is_handshake() => {
                refuse.send_replace(false);
                ok(OPEN_POLLING)
            }
            "POST" => {
                refuse.send_replace(true);
                Reply::Never
            }
            _ => Reply::LaterWith(refused.clone(), 400, ""),
        })
        .await;
        let policy = Reconnect::new().initial_delay(Duration::from_millis(1));
        let builder = Client::builder(&server.url())
            .transports([Transport::Polling])
            .max_post_packets(1)
            .reconnect(policy);
        let client = in_time(builder.connect()).await.unwrap();
        let owners = Owners::default();
        for _ in 0..3 {
            in_time(client.send("posted")).await.unwrap();
            in_time(client.send(owners.message(&client))).await.unwrap();
            while client.is_open() {
                tokio::task::yield_now().await;
            }
        }
        // The ends of the second session and of the third replace what the one before had not sent.
        owners.dropped(2).await;
        client.abort();
        in_time(client.wait()).await;
        drop(client.take_unsent());
        owners.dropped(3).await;
    });
}
