//! The `Drop` of application data and of wakers, and the subscriber of the log, are the application's code, and may ask the
//! server: none runs under a lock.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread::ThreadId;
use std::time::Duration;

use bytes::Bytes;
use engineio_tower::{
    ConnectRequest, Driver, EngineIoService, Message, Rejection, SendError, Server, ServerBuilder,
    Socket, WhenFull,
};
use http::StatusCode;
use support::{
    HANDSHAKE, WEBSOCKET, get, open, pass, poll, post, receive, send, socket, upgrade_query,
    websocket, websocket_request,
};
use tokio::io::AsyncWriteExt;
use tower::ServiceExt;
use tracing::span;

mod support;

/// The data of a message, or a value attached to a client. Its `Drop` asks the server everything that takes a lock.
struct Owner {
    data: Vec<u8>,
    socket: Socket,
    drops: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let server = self.socket.server();
        let _ = (
            self.socket.queued_bytes(),
            self.socket.get::<Self>().is_some(),
            self.socket.set(0_u8).is_some(),
            server.sockets().len(),
            server.socket(&self.socket.sid()).is_some(),
        );
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Default)]
struct Owners(Arc<AtomicUsize>);

impl Owners {
    fn owner(&self, socket: &Socket, len: usize) -> Owner {
        Owner {
            data: vec![7; len],
            socket: socket.clone(),
            drops: Arc::clone(&self.0),
        }
    }

    fn message(&self, socket: &Socket, len: usize) -> Message {
        Message::binary(Bytes::from_owner(self.owner(socket, len)))
    }

    fn dropped(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs a test that would never end, were an owner dropped under a lock, in a thread that is given up after a while.
fn ends<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let (done, waiting) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(test());
        done.send(()).unwrap();
    });
    match waiting.recv_timeout(Duration::from_secs(20)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("an owner waits for a lock"),
        _ => thread.join().unwrap(),
    }
}

#[test]
fn messages_that_are_given_up_are_dropped_without_a_lock() {
    type End = fn(&Server, &Socket);
    let ends_of: [(&str, WhenFull, End); 4] = [
        ("abort", WhenFull::Wait, |_, socket| socket.abort()),
        ("close", WhenFull::Wait, |_, socket| socket.close()),
        ("silence", WhenFull::Wait, |_, _| {}),
        ("full", WhenFull::Disconnect, |_, socket| {
            let full = socket.try_send(vec![0; 1 << 20]);
            assert!(matches!(full, Err(SendError::Closed(_))));
        }),
    ];
    for (name, when_full, end) in ends_of {
        ends(move || async move {
            let server = Server::builder().when_full(when_full).build();
            let (sid, _) = open(&server).await;
            let (socket, owners) = (socket(&server, &sid), Owners::default());
            for _ in 0..3 {
                socket.try_send(owners.message(&socket, 10)).unwrap();
            }
            end(&server, &socket);
            pass(100_000).await;
            assert!(socket.disconnect_reason().is_some(), "{name}");
            assert_eq!(owners.dropped(), 3, "{name}");
        });
    }
}

#[test]
fn messages_for_a_client_that_is_not_let_in_are_dropped_without_a_lock() {
    for close in [false, true] {
        ends(move || async move {
            let owners = Owners::default();
            let to_send = owners.clone();
            let server = Server::builder()
                .on_connect(move |socket: Socket, _: ConnectRequest| {
                    let message = to_send.message(&socket, 10);
                    socket.try_send(message).unwrap();
                    match close {
                        true => {
                            socket.close();
                            Ok(())
                        }
                        false => Err(Rejection::default()),
                    }
                })
                .build();
            let refused = get(&server, HANDSHAKE).await;
            assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
            pass(1).await;
            assert_eq!(owners.dropped(), 1);
        });
    }
}

#[test]
fn messages_that_leave_by_polling_are_dropped_without_a_lock() {
    for query in [
        HANDSHAKE,
        "EIO=3&transport=polling",
        "EIO=3&transport=polling&b64=1",
    ] {
        ends(move || async move {
            let server = Server::builder().allow_eio3(true).build();
            get(&server, query).await;
            let socket = server.sockets().remove(0);
            let (sid, owners) = (socket.sid().to_string(), Owners::default());
            let revision = &query[..5];
            let waiting = tokio::spawn({
                let server = server.clone();
                let query = format!("{revision}&transport=polling&sid={sid}");
                async move { get(&server, &query).await }
            });
            tokio::task::yield_now().await;
            socket.try_send(owners.message(&socket, 10)).unwrap();
            socket.try_send(owners.message(&socket, 100_000)).unwrap();
            assert_eq!(waiting.await.unwrap().status(), StatusCode::OK);
            pass(1).await;
            assert_eq!(owners.dropped(), 2, "{query}");
        });
    }
}

#[test]
fn messages_that_leave_by_websocket_are_dropped_without_a_lock() {
    for query in [
        "EIO=4&transport=websocket",
        "EIO=4&transport=websocket&b64=1",
        "EIO=3&transport=websocket",
    ] {
        ends(move || async move {
            let server = Server::builder().allow_eio3(true).build();
            let mut client = websocket(&server, query).await;
            receive(&mut client).await;
            let socket = server.sockets().remove(0);
            let owners = Owners::default();
            for len in [10, 100, 10_000, 100_000] {
                for _ in 0..20 {
                    let message = owners.message(&socket, len);
                    assert!(socket.try_send(message).is_ok());
                    // Those up to 10 kB gather in one write, larger ones are written from where they are.
                    if len > 1_000 {
                        receive(&mut client).await;
                    }
                }
                if len <= 1_000 {
                    for _ in 0..20 {
                        receive(&mut client).await;
                    }
                }
            }
            // Proof that all have been written.
            socket.send("over").await.unwrap();
            receive(&mut client).await;
            pass(1).await;
            assert_eq!(owners.dropped(), 80, "{query}");
        });
    }
}

#[test]
fn a_volatile_message_that_is_not_sent_is_dropped_without_a_lock() {
    ends(|| async {
        let server = Server::builder().build();
        let (sid, _) = open(&server).await;
        let (socket, owners) = (socket(&server, &sid), Owners::default());
        assert!(!socket.send_volatile(owners.message(&socket, 10)));
        socket.abort();
        assert!(!socket.send_volatile(owners.message(&socket, 10)));
        let message = owners.message(&socket, 10);
        assert_eq!(server.broadcast(message), 0);
        assert_eq!(owners.dropped(), 3);
    });
}

#[test]
fn values_that_are_replaced_or_outlive_their_client_are_dropped_without_a_lock() {
    ends(|| async {
        let server = Server::builder().build();
        let (sid, _) = open(&server).await;
        let (socket, owners) = (socket(&server, &sid), Owners::default());
        assert!(socket.set(owners.owner(&socket, 1)).is_none());
        assert!(socket.set(owners.owner(&socket, 1)).is_some());
        assert_eq!(owners.dropped(), 1);
        socket.abort();
        pass(1).await;
        assert_eq!(owners.dropped(), 2);
        assert!(socket.set(owners.owner(&socket, 1)).is_none());
        assert_eq!(owners.dropped(), 3);
    });
}

/// The last messages of a client, which leave with its handshake or its close.
#[test]
fn the_payload_of_a_close_is_dropped_without_a_lock() {
    ends(|| async {
        let builder: ServerBuilder = Server::builder();
        let server = builder.build();
        let (sid, _) = open(&server).await;
        let (socket, owners) = (socket(&server, &sid), Owners::default());
        socket.try_send(owners.message(&socket, 10)).unwrap();
        socket.close();
        assert_eq!(poll(&server, &sid).await.status(), StatusCode::OK);
        assert_eq!(owners.dropped(), 1);
        let mut client = websocket(&server, WEBSOCKET).await;
        receive(&mut client).await;
        let socket = server.sockets().remove(0);
        socket.try_send(owners.message(&socket, 10)).unwrap();
        socket.close();
        send(&mut client, "4late").await;
        while receive(&mut client).await.is_some() {}
        pass(1).await;
        assert_eq!(owners.dropped(), 2);
    });
}

/// A host without hyper may hand on memory of its own as the body of a POST.
#[test]
fn the_body_of_a_post_is_dropped_without_a_lock() {
    // A packet that is passed over, one that ends the session, a message, and one that is sent back.
    for (first, echo) in [(b'6', false), (b'9', false), (b'4', false), (b'4', true)] {
        ends(move || async move {
            let server = Server::builder()
                .on_message(move |socket: Socket, message: Message| {
                    if echo {
                        socket.try_send(message).unwrap();
                    }
                })
                .build();
            let (sid, _) = open(&server).await;
            let (socket, owners) = (socket(&server, &sid), Owners::default());
            let mut owner = owners.owner(&socket, 400_000);
            owner.data.fill(b'x');
            owner.data[0] = first;
            post(&server, &sid, Bytes::from_owner(owner)).await;
            if echo {
                // Frames are written under the session's lock.
                let mut client = websocket(&server, &upgrade_query(&sid)).await;
                send(&mut client, "5").await;
                assert!(receive(&mut client).await.is_some());
            }
            socket.abort();
            pass(1).await;
            assert_eq!(owners.dropped(), 1, "{first} {echo}");
        });
    }
}

/// The waker of a task that the application runs by itself; the task sleeps without one of its own.
impl Wake for Owner {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn the_wakers_of_tasks_are_dropped_without_a_lock() {
    for abort in [false, true] {
        ends(move || async move {
            let server = Server::builder()
                .outbox_limit(1_000)
                .inbox_limit(1_000)
                .on_message(|_: Socket, _: Message| std::future::pending::<()>())
                .build();
            let (full, _) = open(&server).await;
            let full = socket(&server, &full);
            full.try_send(vec![0; 800]).unwrap();
            let (idle, _) = open(&server).await;
            let (busy, _) = open(&server).await;
            // One that is being handled, and one that fills the inbox.
            for _ in 0..2 {
                post(&server, &busy, vec![b'4'; 800]).await;
            }
            let service = EngineIoService::new(server.clone());
            let mut response = service.oneshot(websocket_request(WEBSOCKET)).await.unwrap();
            let (client, io) = tokio::io::duplex(4_096);
            let driver = Driver::take(&mut response).unwrap().run(io);
            let mut tasks: [Pin<Box<dyn Future<Output = ()>>>; 6] = [
                Box::pin(async { drop(full.send(vec![0; 800]).await) }),
                Box::pin(async {
                    let _ = full.closed().await;
                }),
                Box::pin(full.flush()),
                Box::pin(async { drop(poll(&server, &idle).await) }),
                Box::pin(async { drop(post(&server, &busy, vec![b'4'; 800]).await) }),
                Box::pin(driver),
            ];
            let owners = Owners::default();
            for task in &mut tasks {
                for _ in 0..2 {
                    let waker = Waker::from(Arc::new(owners.owner(&full, 0)));
                    let cx = &mut Context::from_waker(&waker);
                    assert!(task.as_mut().poll(cx).is_pending());
                }
            }
            if abort {
                server.sockets().iter().for_each(Socket::abort);
                let cx = &mut Context::from_waker(Waker::noop());
                for task in &mut tasks[..5] {
                    assert!(task.as_mut().poll(cx).is_ready());
                }
            }
            drop((tasks, client));
            assert_eq!(owners.dropped(), 12);
        });
    }
}

/// A subscriber that asks for the clients at each line of the log, as one that sends the log to them does.
struct Asks {
    server: Server,
    lines: Arc<AtomicUsize>,
    /// The thread of the test, because the other tests of the process write to the log too.
    thread: ThreadId,
}

impl Asks {
    fn ask(&self) {
        if std::thread::current().id() != self.thread {
            return;
        }
        for socket in self.server.sockets() {
            let _ = (socket.queued_bytes(), socket.disconnect_reason());
        }
        self.lines.fetch_add(1, Ordering::Relaxed);
    }
}

impl tracing::Subscriber for Asks {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("engineio")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        self.ask();
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.ask();
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[test]
fn the_log_is_written_without_a_lock() {
    ends(|| async {
        let server = Server::builder()
            .on_message(|_: Socket, _: Message| {})
            .build();
        let lines = Arc::<AtomicUsize>::default();
        let asks = Asks {
            server: server.clone(),
            lines: Arc::clone(&lines),
            thread: std::thread::current().id(),
        };
        // For the whole process: a line that another thread writes first would stay off for a subscriber of this thread alone.
        tracing::subscriber::set_global_default(asks).unwrap();

        let service = EngineIoService::new(server.clone());
        let mut response = service.oneshot(websocket_request(WEBSOCKET)).await.unwrap();
        let driver = Driver::take(&mut response).unwrap();
        let (mut client, io) = tokio::io::duplex(4_096);
        let run = tokio::spawn(driver.run(io));
        // A message, and in the same read a frame that is not masked.
        let frames = b"\x81\x82\0\0\0\x004x\x81\x024y";
        client.write_all(frames).await.unwrap();
        run.await.unwrap();

        for body in ["4x", "malformed"] {
            let (sid, _) = open(&server).await;
            post(&server, &sid, body).await;
        }
        open(&server).await;
        pass(100_000).await;
        assert!(server.is_empty());
        assert!(lines.load(Ordering::Relaxed) >= 12);
    });
}
