//! Tasks that wait for the end of a client, or until its outbox is empty, and the time that an end takes.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::support::{open, open_websocket, parked, pass, poll, socket};
use bytes::Bytes;
use engineio_tower::{DisconnectReason, EngineIoService, Server, Socket};
use http::{Request, StatusCode};
use http_body_util::Empty;
use tokio::time::Instant;
use tower::ServiceExt;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_for_the_end_is_woken_once_and_not_for_messages() {
    let server = Server::builder().build();
    let (sid, _) = open(&server).await;
    let socket = socket(&server, &sid);
    let (count, flushes) = (Arc::new(Count::default()), Arc::new(Count::default()));
    let waker = Waker::from(Arc::clone(&count));
    let flush_waker = Waker::from(Arc::clone(&flushes));
    let mut closed = pin!(socket.closed());
    let cx = &mut Context::from_waker(&waker);
    assert!(closed.as_mut().poll(cx).is_pending());
    for n in 0..1_000 {
        socket.try_send("x").unwrap();
        let mut flushed = pin!(socket.flush());
        let flush_cx = &mut Context::from_waker(&flush_waker);
        assert!(flushed.as_mut().poll(flush_cx).is_pending());
        assert_eq!(poll(&server, &sid).await.status(), StatusCode::OK);
        assert_eq!((count.get(), flushes.get()), (0, n + 1));
        assert!(flushed.as_mut().poll(flush_cx).is_ready());
    }
    socket.abort();
    assert_eq!(count.get(), 1);
    let reason = Poll::Ready(DisconnectReason::Server);
    assert_eq!(closed.as_mut().poll(cx), reason);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_given_up_leaves_no_waker_behind() {
    let server = Server::builder().build();
    let (sid, _) = open(&server).await;
    let socket = socket(&server, &sid);
    socket.try_send("x").unwrap();
    let count = Arc::new(Count::default());
    for _ in 0..1_000 {
        let waker = Waker::from(Arc::clone(&count));
        let cx = &mut Context::from_waker(&waker);
        assert!(pin!(socket.closed()).poll(cx).is_pending());
        assert!(pin!(socket.flush()).poll(cx).is_pending());
    }
    assert_eq!(Arc::strong_count(&count), 1);
    socket.abort();
    assert_eq!(count.get(), 0);
}

/// A task that moves between executors, or a future that moves between tasks, comes with another waker.
#[tokio::test(start_paused = true)]
async fn the_last_waker_of_a_wait_is_the_one_that_is_woken() {
    let server = Server::builder().build();
    let (sid, _) = open(&server).await;
    let socket = socket(&server, &sid);
    let counts: [Arc<Count>; 3] = Default::default();
    let mut closed = pin!(socket.closed());
    for count in &counts {
        let waker = Waker::from(Arc::clone(count));
        let cx = &mut Context::from_waker(&waker);
        assert!(closed.as_mut().poll(cx).is_pending());
        assert!(closed.as_mut().poll(cx).is_pending());
    }
    socket.abort();
    assert_eq!(counts.map(|count| count.get()), [0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_websocket_that_reads_nothing_costs_a_close_its_time_limit_once() {
    let (server, mut left) = crate::support::watched(
        Server::builder()
            .close_timeout(Duration::from_secs(10))
            .ping_interval(Duration::from_secs(1_000)),
    );
    let client = open_websocket(&server).await;
    let socket = server.sockets().remove(0);
    // More than the pipe to the client holds.
    for _ in 0..10 {
        socket.try_send(vec![0; 100_000]).unwrap();
    }
    pass(10).await;
    let start = Instant::now();
    let shutdown = tokio::spawn({
        let server = server.clone();
        // Waits for the task of the WebSocket as well.
        async move { server.shutdown(Duration::from_secs(60)).await }
    });
    assert_eq!(left.recv().await, Some(DisconnectReason::Shutdown));
    assert_eq!(start.elapsed().as_secs(), 10);
    shutdown.await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(10_100));
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_polls_gets_what_was_queued_before_the_close() {
    let server = Server::builder().build();
    let (sid, _) = open(&server).await;
    let socket: Socket = socket(&server, &sid);
    socket.try_send("last").unwrap();
    socket.close();
    let waiting = parked(&server, &sid).await;
    assert_eq!(
        crate::support::text(&waiting.await.unwrap()),
        "4last\u{1e}1"
    );
}

fn handshake() -> Request<Empty<Bytes>> {
    Request::get("/engine.io/?EIO=4&transport=polling")
        .body(Empty::new())
        .unwrap()
}

#[test]
fn a_runtime_without_time_is_refused_rather_than_given_sessions_that_never_expire() {
    let server = Server::builder().build();
    let service = EngineIoService::new(server.clone());
    let answer = service.clone().oneshot(handshake());
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().unwrap();
    let response = runtime.block_on(answer).unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    // Nor is a thread without a runtime.
    let answer = pin!(service.clone().oneshot(handshake()));
    let cx = &mut Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(response)) = answer.poll(cx) else {
        panic!("not answered at once");
    };
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(server.is_empty());
    // The first runtime that will do is taken.
    let with_time = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let answer = service.clone().oneshot(handshake());
    let response = with_time.block_on(answer).unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    // Which changes nothing for the others.
    let response = runtime.block_on(service.oneshot(handshake())).unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(server.len(), 1);
}
