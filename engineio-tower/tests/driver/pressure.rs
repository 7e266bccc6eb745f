//! Clients that send faster than the application takes, while the application sends too.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use crate::support::{WEBSOCKET, open, post, receive_text, send, websocket_request, with};
use engineio_tower::{ConnectRequest, Driver, EngineIoService, Message, Server, Socket};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::{Notify, mpsc};
use tokio::task::unconstrained;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tower::ServiceExt;

/// A stream that lets something else happen at each write, as another thread may at any moment.
struct Meanwhile<F>(DuplexStream, F);

impl<F: Unpin> AsyncRead for Meanwhile<F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<F: FnMut() + Unpin> AsyncWrite for Meanwhile<F> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.1();
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Opens a session by a WebSocket that nobody runs yet.
async fn driver(server: &Server) -> Driver {
    let request = websocket_request(WEBSOCKET);
    let service = EngineIoService::new(server.clone());
    let mut response = service.oneshot(request).await.unwrap();
    Driver::take(&mut response).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_while_the_inbox_is_full_loses_no_message_of_the_client() {
    let gate = Arc::new(Notify::new());
    let opening = Arc::clone(&gate);
    let sends = Arc::new(AtomicUsize::new(0));
    let sending = Arc::clone(&sends);
    let (came, mut coming) = mpsc::unbounded_channel();
    let server = Server::builder()
        .inbox_limit(0) // One message at a time.
        .on_message(move |socket: Socket, message: Message| {
            let (gate, came) = (Arc::clone(&gate), came.clone());
            sends.store(3, Ordering::Relaxed);
            async move {
                let _ = socket.send("seen").await;
                came.send(message.as_text().unwrap().to_owned()).unwrap();
                gate.notified().await;
            }
        })
        .build();
    let driver = driver(&server).await;
    let socket = server.sockets().remove(0);
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    tokio::spawn(driver.run(Meanwhile(theirs, move || {
        if sending.load(Ordering::Relaxed) > 0 {
            sending.fetch_sub(1, Ordering::Relaxed);
            socket.try_send("meanwhile").unwrap();
        }
    })));
    let mut client = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
    assert!(receive_text(&mut client).await.starts_with("0{"));
    for n in 0..10 {
        send(&mut client, &format!("4{n}")).await;
    }
    for n in 0..10 {
        assert_eq!(coming.recv().await.unwrap(), n.to_string());
        opening.notify_one();
    }
}

#[tokio::test(start_paused = true)]
async fn answers_to_large_messages_leave_before_more_is_read() {
    const MESSAGE: usize = 60_000;
    const COUNT: usize = 32;
    let most = Arc::new(AtomicUsize::new(0));
    let queued = Arc::clone(&most);
    let server = Server::builder()
        .on_message(move |socket: Socket, message: Message| {
            socket.try_send(message).unwrap();
            queued.fetch_max(socket.queued_bytes(), Ordering::Relaxed);
        })
        .build();
    let driver = driver(&server).await;
    // Takes everything, in both directions.
    let (ours, theirs) = tokio::io::duplex(2 * COUNT * MESSAGE);
    let mut client = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
    let message = format!("4{}", "x".repeat(MESSAGE));
    for _ in 0..COUNT {
        send(&mut client, &message).await;
    }
    tokio::spawn(driver.run(theirs));
    assert!(receive_text(&mut client).await.starts_with("0{"));
    for _ in 0..COUNT {
        assert_eq!(receive_text(&mut client).await, message);
    }
    let most = most.load(Ordering::Relaxed);
    assert!(most < 3 * MESSAGE, "{most} bytes waited");
}

/// A handler that sends the next message as soon as everything has left.
#[tokio::test(start_paused = true)]
async fn a_handler_that_sends_whenever_the_outbox_is_empty_leaves_others_their_turn() {
    for is_async in [false, true] {
        let sent = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&sent);
        let builder = Server::builder().on_connect(|socket: Socket, _: ConnectRequest| {
            socket.try_send("first").unwrap();
        });
        let server = match is_async {
            false => builder.on_drain(move |socket: Socket| {
                count.fetch_add(1, Ordering::Relaxed);
                let _ = socket.try_send("next");
            }),
            true => builder.on_drain(move |socket: Socket| {
                count.fetch_add(1, Ordering::Relaxed);
                async move { drop(socket.send("next").await) }
            }),
        }
        .build();
        let driver = driver(&server).await;
        // Takes everything.
        let (_client, theirs) = tokio::io::duplex(1024 * 1024);
        let mut running = Box::pin(unconstrained(driver.run(theirs)));
        let cx = &mut Context::from_waker(Waker::noop());
        let mut before = 0;
        for _ in 0..10 {
            assert!(running.as_mut().poll(cx).is_pending());
            let now = sent.load(Ordering::Relaxed);
            assert!(now > before, "it goes on");
            assert!(now - before <= 65, "{} messages in one turn", now - before);
            before = now;
            tokio::task::yield_now().await;
        }
    }
}

/// The application sends from other threads as fast as the client reads.
#[tokio::test(start_paused = true)]
async fn messages_that_are_sent_during_each_write_leave_others_their_turn() {
    let server = Server::builder().build();
    let driver = driver(&server).await;
    let socket = server.sockets().remove(0);
    let writes = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&writes);
    // Takes everything.
    let (_client, theirs) = tokio::io::duplex(64 * 1024 * 1024);
    let mut running = Box::pin(unconstrained(driver.run(Meanwhile(theirs, move || {
        count.fetch_add(1, Ordering::Relaxed);
        for _ in 0..3 {
            let _ = socket.try_send("x".repeat(60_000));
        }
    }))));
    let cx = &mut Context::from_waker(Waker::noop());
    let mut before = 0;
    for _ in 0..3 {
        assert!(running.as_mut().poll(cx).is_pending());
        let now = writes.load(Ordering::Relaxed);
        assert!(now > before, "it goes on");
        assert!(now - before <= 130, "{} writes in one turn", now - before);
        before = now;
        tokio::task::yield_now().await;
    }
}

/// A client that sends one frame, and then another one again and again as fast as it is read, and takes what it gets.
struct Endless {
    next: Vec<u8>,
    again: Vec<u8>,
    read: Arc<AtomicUsize>,
    /// How much had been read when the close frame came.
    closed: Arc<AtomicUsize>,
}

impl Endless {
    fn new(next: Vec<u8>, again: Vec<u8>) -> Self {
        Self {
            next,
            again,
            read: Arc::default(),
            closed: Arc::default(),
        }
    }
}

/// Where it ends, so that a server that never pauses fails the test and does not hang it.
const ENDLESS: usize = 8 * 1024 * 1024;

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while buf.remaining() > 0 && self.read.load(Ordering::Relaxed) < ENDLESS {
            let len = self.next.len().min(buf.remaining());
            let rest = self.next.split_off(len);
            buf.put_slice(&self.next);
            self.next = if rest.is_empty() {
                self.again.clone()
            } else {
                rest
            };
            self.read.fetch_add(len, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let [.., 0x88, 2, _, _] = buf {
            let read = self.read.load(Ordering::Relaxed);
            self.closed.store(read, Ordering::Relaxed);
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn frames_that_bring_no_message_leave_others_their_turn() {
    let empty = |first| vec![first, 0x80, 0, 0, 0, 0];
    let floods = [
        ("pings", empty(0x89), empty(0x89), false),
        ("parts of a message", empty(0x02), empty(0x00), false),
        ("messages after the end", empty(0x82), empty(0x82), true),
    ];
    for (what, next, again, closed) in floods {
        let server = Server::builder().build();
        let driver = driver(&server).await;
        if closed {
            server.sockets().remove(0).close();
        }
        let io = Endless::new(next, again);
        let read = Arc::clone(&io.read);
        let run = tokio::spawn(driver.run(io));
        let another = tokio::spawn(async move {
            let mut seen = 0;
            let mut over = false;
            while !over {
                // Goes on when the runtime has looked for what came from outside, as one does who waits for a connection.
                tokio::task::yield_now().await;
                over = run.is_finished();
                let now = read.load(Ordering::Relaxed);
                assert!(
                    now - seen <= 2 * 1024 * 1024,
                    "{} of {what} at once",
                    now - seen
                );
                seen = now;
            }
        });
        another.await.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_sends_without_a_pause_is_closed_all_the_same() {
    let message = vec![0x82, 0x80, 0, 0, 0, 0];
    // What the client sent first, and whether the server closes: its offence, its own close packet, neither.
    for (first, closes) in [(b'x', false), (b'1', false), (b'4', true)] {
        let server = Server::builder()
            .on_message(move |socket: Socket, _: Message| {
                if closes {
                    socket.close();
                }
            })
            .build();
        let driver = driver(&server).await;
        let io = Endless::new(vec![0x81, 0x81, 0, 0, 0, 0, first], message.clone());
        let closed = Arc::clone(&io.closed);
        driver.run(io).await;
        let closed = closed.load(Ordering::Relaxed);
        assert!((1..=1024 * 1024).contains(&closed), "after {closed} bytes");
    }
}

#[tokio::test]
async fn a_post_of_many_messages_leaves_others_their_turn() {
    let handled = Arc::new(AtomicUsize::new(0));
    let (plain, async_) = (Arc::clone(&handled), Arc::clone(&handled));
    let plain = Server::builder().on_message(move |_: Socket, _: Message| {
        plain.fetch_add(1, Ordering::Relaxed);
    });
    let async_ = Server::builder().on_message(move |_: Socket, _: Message| {
        async_.fetch_add(1, Ordering::Relaxed);
        async {}
    });
    for builder in [plain, async_] {
        let server = builder.build();
        let (sid, _) = open(&server).await;
        let body = "4\u{1e}".repeat(99_999) + "4";
        let posting = tokio::spawn(async move { post(&server, &sid, body).await });
        handled.store(0, Ordering::Relaxed);
        let handled = Arc::clone(&handled);
        let another = tokio::spawn(async move {
            let mut seen = 0;
            poll_fn(|cx| {
                let now = handled.load(Ordering::Relaxed);
                assert!(now - seen <= 1_000, "{} at once", now - seen);
                seen = now;
                if now == 100_000 {
                    return Poll::Ready(());
                }
                // Behind those that are ready, without a pause in which tokio looks for others first.
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
        });
        another.await.unwrap();
        assert_eq!(posting.await.unwrap().status(), 200);
    }
}

/// Decompressing a megabyte takes its time, even if nothing comes of it.
#[tokio::test(start_paused = true)]
async fn large_messages_that_decompress_to_nothing_leave_others_their_turn() {
    let handled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&handled);
    let builder = Server::builder().websocket_compression_threshold(1_024);
    let server = builder
        .on_message(move |_: Socket, _: Message| {
            count.fetch_add(1, Ordering::Relaxed);
        })
        .build();
    let request = with(
        "sec-websocket-extensions",
        "permessage-deflate",
        websocket_request(WEBSOCKET),
    );
    let service = EngineIoService::new(server);
    let mut response = service.oneshot(request).await.unwrap();
    let driver = Driver::take(&mut response).unwrap();
    let (mut stream, theirs) = tokio::io::duplex(16 * 1024 * 1024);
    let mut empty_blocks = [0, 0, 0, 0xff, 0xff].repeat(190_000);
    empty_blocks.push(0);
    let mut frame = vec![0xc2, 0xff];
    frame.extend_from_slice(&(empty_blocks.len() as u64).to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&empty_blocks);
    for _ in 0..10 {
        stream.write_all(&frame).await.unwrap();
    }
    let mut running = Box::pin(driver.run(theirs));
    let cx = &mut Context::from_waker(Waker::noop());
    let mut before = 0;
    while before < 10 {
        assert!(running.as_mut().poll(cx).is_pending());
        let now = handled.load(Ordering::Relaxed);
        assert!(now - before <= 2, "{} messages in one turn", now - before);
        before = now;
        tokio::task::yield_now().await;
    }
}
