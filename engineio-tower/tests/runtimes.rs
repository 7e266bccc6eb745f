//! One server on several runtimes, as actix-web has one for each worker.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use engineio_tower::Server;
use futures_util::FutureExt;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

mod support;

const INTERVAL: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(10);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A runtime whose time passes at once while it waits.
fn quick_runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap()
}

fn server() -> Server {
    Server::builder().ping_interval(INTERVAL).build()
}

async fn expect_ping(server: &Server, sid: &str) {
    let poll = tokio::time::timeout(LONG, support::poll(server, sid)).await;
    assert_eq!(support::text(&poll.expect("no ping")), "2");
}

#[test]
fn a_runtime_that_blocks_stops_no_heartbeat_of_another() {
    let server = server();
    let (opened, opening) = mpsc::channel();
    let (unblock, blocked) = mpsc::channel::<()>();
    let first = thread::spawn({
        let server = server.clone();
        move || {
            runtime().block_on(async {
                let (sid, _) = support::open(&server).await;
                // The watcher of this runtime starts.
                tokio::task::yield_now().await;
                opened.send(sid).unwrap();
                let _ = blocked.recv();
            });
        }
    });
    let theirs = opening.recv().unwrap();
    quick_runtime().block_on(async {
        let (ours, _) = support::open(&server).await;
        // The second ping too: the runtime that goes on leads now.
        for _ in 0..2 {
            expect_ping(&server, &ours).await;
            support::post(&server, &ours, "3").await;
        }
        // The session that the blocked runtime has opened is polled through this one.
        expect_ping(&server, &theirs).await;
    });
    drop(unblock);
    first.join().unwrap();
}

#[test]
fn a_waiting_poll_gets_its_ping_after_the_runtime_that_opened_the_session_has_ended() {
    let server = server();
    let first = runtime();
    let (sid, _) = first.block_on(support::open(&server));
    quick_runtime().block_on(async {
        let mut poll = std::pin::pin!(expect_ping(&server, &sid));
        assert!(poll.as_mut().now_or_never().is_none());
        thread::spawn(move || drop(first)).join().unwrap();
        poll.await;
    });
}

#[test]
fn a_plain_thread_uses_a_runtime_that_serves_after_the_first_one_has_ended() {
    let (gone, mut goodbye) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::builder()
        .on_disconnect(move |_, _| {
            let gone = gone.clone();
            async move {
                tokio::time::sleep_until(Instant::now() + INTERVAL).await;
                let _ = gone.send(());
            }
        })
        .build();
    let first = runtime();
    let (sid, _) = first.block_on(support::open(&server));
    drop(first);
    let second = quick_runtime();
    second.block_on(support::open(&server));
    // Outside of any runtime.
    server.socket(&sid.parse().unwrap()).unwrap().abort();
    let task = server.spawn(async { 5 });
    second.block_on(async {
        assert!(goodbye.recv().await.is_some());
        assert_eq!(task.await.unwrap(), 5);
    });
}
