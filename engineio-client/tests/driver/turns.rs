//! Servers that keep a client busy: other tasks of the thread run all the same, and so do the runtime's timers and its I/O.

use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use engineio_client::{Handle, Message};
use futures_util::SinkExt;
use tokio::time::{advance, timeout};
use tokio_tungstenite::tungstenite::Message as WsMessage;

use super::hooked;

#[tokio::test(start_paused = true)]
async fn other_tasks_run_while_a_server_takes_what_another_thread_sends_without_end() {
    // Without a limit, so much would be written in one turn.
    const MOST: usize = 32 << 20;
    let message = Message::from("x".repeat(1_000));
    let written = Arc::new(AtomicUsize::new(0));
    let sender = Arc::new(OnceLock::<Handle>::new());
    let (count, sends) = (Arc::clone(&written), Arc::clone(&sender));
    let write: hooked::Write = Box::new(move |bytes| {
        let sender = sends.get()?;
        // As another thread may between any two writes.
        if count.fetch_add(bytes.len(), Ordering::Relaxed) < MOST {
            while sender.try_send(message.clone()).is_ok() {}
        }
        Some(Ok(bytes.len()))
    });
    let read: hooked::Read = Box::new(|_| None);
    let (client, _server) = hooked::connect(read, write, |builder| builder).await;
    assert!(sender.set(client.handle()).is_ok());
    let (mut turns, mut last) = (0, 0);
    // A task that always has something to do.
    let other = tokio::spawn(poll_fn(move |cx| {
        let now = written.load(Ordering::Relaxed);
        turns += usize::from(now > last);
        last = now;
        cx.waker().wake_by_ref();
        match last < MOST {
            true => Poll::Pending,
            false => Poll::Ready(turns),
        }
    }));
    client.send("first").await.unwrap();
    let turns = other.await.unwrap();
    assert!(turns >= 10, "{turns}");
}

#[tokio::test(start_paused = true)]
async fn timers_fire_while_a_server_sends_without_end() {
    // A packet that says nothing, for which no memory is needed.
    const NOOP: &[u8] = b"\x81\x016";
    let (is_flood, frames) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let (floods, count) = (Arc::clone(&is_flood), Arc::clone(&frames));
    let read: hooked::Read = Box::new(move |buffer| {
        floods.load(Ordering::Relaxed).then(|| {
            count.fetch_add(1, Ordering::Relaxed);
            buffer.put_slice(NOOP);
            Ok(())
        })
    });
    let (client, mut server) = hooked::connect(read, Box::new(|_| None), |builder| builder).await;
    is_flood.store(true, Ordering::Relaxed);
    // Wakes the client, which then reads.
    server.send(WsMessage::text("6")).await.unwrap();
    while frames.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    let timer = tokio::spawn(timeout(Duration::from_millis(1), pending::<()>()));
    tokio::task::yield_now().await;
    let before = frames.load(Ordering::Relaxed);
    advance(Duration::from_millis(2)).await;
    assert!(timer.await.unwrap().is_err());
    // A few turns of the client. Without its yield, the runtime would look at its timers after some sixty of them.
    let meanwhile = frames.load(Ordering::Relaxed) - before;
    assert!(meanwhile < 1_000, "{meanwhile}");
    assert!(client.is_open());
}
