//! Who is next, when many send to a client that is slow.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use crate::support::{HANDSHAKE, call, open, poll, post, socket, text};
use bytes::Bytes;
use engineio_tower::{Message, SendError, Server, Socket};
use http::{Method, Request};
use http_body::{Body, Frame};
use http_body_util::Full;
use tokio::task::{JoinHandle, JoinSet, yield_now};

/// What a message of one byte takes of the outbox.
const SMALL: usize = 65;

/// A client that fetches one message at a time, and whose outbox holds so many small ones.
async fn slow(small: usize) -> (Server, String, Socket) {
    let server = Server::builder()
        .max_poll_packets(1)
        .outbox_limit(small * SMALL)
        .build();
    let (sid, _) = open(&server).await;
    let socket = socket(&server, &sid);
    for _ in 0..small {
        socket.try_send("x").unwrap();
    }
    (server, sid, socket)
}

fn large() -> Message {
    "y".repeat(4 * SMALL).into()
}

#[tokio::test(start_paused = true)]
async fn a_large_message_is_not_overtaken_for_ever_by_small_ones() {
    let (server, sid, socket) = slow(10).await;
    let mut senders = JoinSet::new();
    let sender = socket.clone();
    senders.spawn(async move { sender.send(large()).await });
    yield_now().await;
    for _ in 0..3 {
        let sender = socket.clone();
        senders.spawn(async move {
            loop {
                sender.send("x").await?;
            }
        });
    }
    let mut polls = 0;
    while text(&poll(&server, &sid).await) == "4x" {
        polls += 1;
        assert!(polls < 100, "it starves");
    }
    // Those that were there before it.
    assert_eq!(polls, 10);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_senders_are_served_in_order_and_not_all_woken_for_each_other() {
    let (server, sid, socket) = slow(1).await;
    let polls = Arc::new(AtomicUsize::new(0));
    let mut senders = JoinSet::new();
    for n in 0..1_000 {
        let (socket, polls) = (socket.clone(), Arc::clone(&polls));
        senders.spawn(async move {
            let mut send = pin!(socket.send(n.to_string()));
            std::future::poll_fn(|cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                send.as_mut().poll(cx)
            })
            .await
        });
    }
    yield_now().await;
    assert_eq!(text(&poll(&server, &sid).await), "4x");
    for n in 0..1_000 {
        assert_eq!(text(&poll(&server, &sid).await), format!("4{n}"));
    }
    while let Some(sent) = senders.join_next().await {
        sent.unwrap().unwrap();
    }
    let polls = polls.load(Ordering::Relaxed);
    // Once to get in line, once for the room, and once for the place of the one before.
    assert!(polls <= 3_000, "{polls}");
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_passes_its_turn_on() {
    let (server, sid, socket) = slow(5).await;
    assert_eq!(text(&poll(&server, &sid).await), "4x");
    // There is room for one small message, and none for the large ones.
    let giving_up = tokio::spawn({
        let socket = socket.clone();
        async move { socket.send(large()).await }
    });
    yield_now().await;
    let behind = tokio::spawn({
        let socket = socket.clone();
        async move { socket.send("z").await }
    });
    yield_now().await;
    assert!(!behind.is_finished(), "it waits behind the large one");
    giving_up.abort();
    behind.await.unwrap().unwrap();
    assert_eq!(socket.queued_messages(), 5);
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_after_it_was_woken_passes_its_turn_on() {
    let (server, sid, socket) = slow(1).await;
    let cx = &mut Context::from_waker(Waker::noop());
    let mut woken = Box::pin(socket.send("never"));
    assert!(woken.as_mut().poll(cx).is_pending());
    let behind = tokio::spawn({
        let socket = socket.clone();
        async move { socket.send("z").await }
    });
    yield_now().await;
    assert_eq!(text(&poll(&server, &sid).await), "4x");
    yield_now().await;
    assert!(!behind.is_finished());
    drop(woken);
    behind.await.unwrap().unwrap();
    assert_eq!(text(&poll(&server, &sid).await), "4z");
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_in_the_middle_is_left_out() {
    let (server, sid, socket) = slow(1).await;
    let cx = &mut Context::from_waker(Waker::noop());
    let mut sends: Vec<_> = ["0", "1", "2"].map(|n| Box::pin(socket.send(n))).into();
    for send in &mut sends {
        assert!(send.as_mut().poll(cx).is_pending());
    }
    drop(sends.remove(1));
    assert_eq!(text(&poll(&server, &sid).await), "4x");
    for (send, n) in sends.iter_mut().zip(["0", "2"]) {
        assert_eq!(send.as_mut().poll(cx), Poll::Ready(Ok(())));
        assert_eq!(text(&poll(&server, &sid).await), format!("4{n}"));
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_goes_ahead_of_those_who_wait() {
    let (server, sid, socket) = slow(5).await;
    assert_eq!(text(&poll(&server, &sid).await), "4x");
    let cx = &mut Context::from_waker(Waker::noop());
    let mut waiting = Box::pin(socket.send(large()));
    assert!(waiting.as_mut().poll(cx).is_pending());
    assert!(matches!(socket.try_send("z"), Err(SendError::Full(_))));
    let many = socket.try_send_many(["z"]);
    assert!(matches!(many, Err(SendError::Full(_))));
    assert_eq!(server.broadcast("z"), 0);
    drop(waiting);
    socket.try_send("z").unwrap();
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_hear_of_the_end() {
    let (_server, _, socket) = slow(1).await;
    let mut senders = JoinSet::new();
    for n in 0..100 {
        let socket = socket.clone();
        senders.spawn(async move { socket.send(n.to_string()).await });
    }
    yield_now().await;
    socket.abort();
    while let Some(sent) = senders.join_next().await {
        assert!(matches!(sent.unwrap(), Err(SendError::Closed(_))));
    }
}

/// Counts the turns of another task.
fn other_task() -> (Arc<AtomicUsize>, JoinHandle<()>) {
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    let other = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::Relaxed);
            yield_now().await;
        }
    });
    (turns, other)
}

#[tokio::test(start_paused = true)]
async fn a_post_of_packets_that_are_no_messages_lets_other_tasks_run() {
    let server = Server::builder().build();
    let (sid, _) = open(&server).await;
    let (turns, other) = other_task();
    let answer = post(&server, &sid, "6\u{1e}".repeat(100_000) + "6").await;
    assert_eq!(answer.status(), 200);
    let turns = turns.load(Ordering::Relaxed);
    // One for each 1,024 packets.
    assert!(turns >= 97, "{turns} turns");
    other.abort();
}

/// A body of so many empty frames, all of which are there at once.
struct EmptyFrames(usize);

impl Body for EmptyFrames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0 = self.0.saturating_sub(1);
        let frame = (self.0 > 0).then(|| Ok(Frame::data(Bytes::new())));
        Poll::Ready(frame)
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_always_ready_lets_other_tasks_run() {
    let server = Server::builder().build();
    let (turns, other) = other_task();
    for method in [Method::POST, Method::GET] {
        let (sid, _) = open(&server).await;
        let uri = format!("/engine.io/?EIO=4&transport=polling&sid={sid}");
        let request = Request::builder().method(&method).uri(&uri);
        let request = request.body(EmptyFrames(10_000)).unwrap();
        let before = turns.load(Ordering::Relaxed);
        let mut answer = pin!(server.respond(request));
        let (mut polls, mut is_answered) = (0, false);
        // A poll waits on after its body has been read.
        while polls < 700 && !is_answered {
            let cx = &mut Context::from_waker(Waker::noop());
            is_answered = answer.as_mut().poll(cx).is_ready();
            polls += 1;
            yield_now().await;
        }
        assert!(polls >= 600, "{method}: {polls} turns for 10,000 frames");
        assert!(turns.load(Ordering::Relaxed) - before >= 600);
    }
    other.abort();
}

/// Does something again and again in one task, until another task has run.
async fn lets_other_tasks_run<F>(mut again: impl FnMut() -> F + Send + 'static)
where
    F: Future<Output = ()> + Send,
{
    let (tell, mut told) = tokio::sync::oneshot::channel();
    let busy = tokio::spawn(async move {
        let mut times = 0;
        while told.try_recv().is_err() {
            again().await;
            times += 1;
            assert!(times < 10_000, "other tasks starve");
        }
    });
    tokio::spawn(async move { tell.send(()).unwrap() });
    busy.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_loop_of_sends_lets_other_tasks_run() {
    for (is_open, together) in [(true, false), (true, true), (false, false)] {
        let server = Server::builder().outbox_limit(1_000_000).build();
        let (sid, _) = open(&server).await;
        let socket = socket(&server, &sid);
        if !is_open {
            socket.abort();
        }
        lets_other_tasks_run(move || {
            let socket = socket.clone();
            async move {
                match together {
                    true => drop(socket.send_many(["x"]).await),
                    false => drop(socket.send("x").await),
                }
            }
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_loop_of_requests_lets_other_tasks_run() {
    let server = Server::builder().build();
    let (sid, _) = open(&server).await;
    for (method, query, status) in [
        ("POST", format!("{HANDSHAKE}&sid={sid}"), 200),
        ("GET", HANDSHAKE.to_owned(), 200),
        ("GET", format!("{HANDSHAKE}&sid=unknown"), 400),
    ] {
        let server = server.clone();
        lets_other_tasks_run(move || {
            let request = Request::builder()
                .method(method)
                .uri(format!("/engine.io/?{query}"))
                .body(Full::new(Bytes::from_static(b"4x")))
                .unwrap();
            let server = server.clone();
            async move { assert_eq!(call(&server, request).await.status(), status) }
        })
        .await;
    }
}
