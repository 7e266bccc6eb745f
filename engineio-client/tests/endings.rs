//! Ends that the protocol does not know: of runtimes, of tasks, and of a server's patience.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use engineio_client::{
    Client, DisconnectReason, ErrorKind, Handle, Message, SendError, SinkError, Transport,
};
use futures_util::SinkExt;
use support::memory::Memory;
use support::{LONG, OPEN, OPEN_POLLING, Reply, Server, echo, in_time, ok, websocket};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message as WsMessage;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// A server that opens a session and writes these bytes for as long as they are taken, reading nothing.
async fn flooding(open: &'static str, bytes: Vec<u8>) -> Server {
    Server::start(move |_, _| {
        let bytes = bytes.clone();
        websocket(move |mut socket| async move {
            socket.send(WsMessage::text(open)).await.unwrap();
            while socket.get_mut().write_all(&bytes).await.is_ok() {}
        })
    })
    .await
}

/// A frame of text, as a server writes it.
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 127];
    frame.extend((text.len() as u64).to_be_bytes());
    frame.extend(text.as_bytes());
    frame
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_stop_sending_cannot_hold_a_client_that_closes() {
    for text in ["6", &"6".repeat(100_000)] {
        let bytes = frame(text).repeat(1_000_000 / text.len().max(10));
        let server = flooding(OPEN_POLLING, bytes).await;
        let builder = Client::builder(&server.url()).transports([Transport::WebSocket]);
        let client = in_time(builder.connect()).await.unwrap();
        in_time(client.close()).await;
        assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Client));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_stop_sending_is_alive() {
    let open = r#"0{"sid":"abc","upgrades":[],"pingInterval":300,"pingTimeout":200}"#;
    for text in ["6", &"6".repeat(100_000)] {
        let bytes = frame(text).repeat(1_000_000 / text.len().max(10));
        let server = flooding(open, bytes).await;
        let builder = Client::builder(&server.url()).transports([Transport::WebSocket]);
        let client = in_time(builder.connect()).await.unwrap();
        // Twice as long as the server may be silent.
        let ended = tokio::time::timeout(Duration::from_secs(1), client.wait()).await;
        assert!(ended.is_err(), "{:?}", client.disconnect_reason());
        in_time(client.close()).await;
    }
}

#[test]
fn a_client_needs_a_runtime() {
    let connecting = Client::connect("http://127.0.0.1:1");
    let error = futures_util::FutureExt::now_or_never(connecting)
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("tokio"), "{error}");
}

#[test]
fn a_runtime_that_is_gone_connects_nobody_and_keeps_nobody_waiting() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let handle = runtime.handle().clone();
    drop(runtime);
    let _inside = handle.enter();
    let connecting = Client::connect("http://127.0.0.1:1");
    let error = futures_util::FutureExt::now_or_never(connecting)
        .expect("waits for a task that nobody runs")
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
    assert!(error.to_string().contains("runtime"), "{error}");
}

#[test]
fn a_client_whose_runtime_is_gone_is_over() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let (first, servers) = (runtime(), runtime());
    let server = servers.block_on(Server::start(|_, request| match request.is_handshake() {
        true => ok(&format!("{OPEN_POLLING}\u{1e}4a")),
        false => Reply::Never,
    }));
    let mut client = first.block_on(Client::connect(&server.url())).unwrap();
    let handle = client.handle();
    drop(first);
    servers.block_on(async {
        assert_eq!(in_time(client.next()).await, Some(Message::from("a")));
        assert_eq!(in_time(client.next()).await, None);
        let unsent = in_time(handle.send("late")).await;
        assert_eq!(unsent, Err(SendError::Closed(Message::from("late"))));
        in_time(client.close()).await;
        in_time(handle.close()).await;
        in_time(handle.wait()).await;
        let reason = client.disconnect_reason();
        assert_eq!(reason, Some(DisconnectReason::TransportError));
        let error = client.disconnect_error().unwrap();
        assert!(error.to_string().contains("runtime"), "{error}");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_closes_because_of_a_large_message() {
    let open =
        r#"0{"sid":"abc","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":100}"#;
    let (posted, is_posted) = std::sync::mpsc::channel();
    let is_posted = std::sync::Mutex::new(is_posted);
    let server = Server::start(move |_, request| match request.method.as_str() {
        _ if request.is_handshake() => ok(open),
        "POST" => {
            posted.send(()).unwrap();
            Reply::Body(413, Vec::new())
        }
        _ => {
            is_posted.lock().unwrap().recv().unwrap();
            ok("1")
        }
    })
    .await;
    let mut client = in_time(Client::connect(&server.url())).await.unwrap();
    client.send("x".repeat(100)).await.unwrap();
    assert_eq!(in_time(client.next()).await, None);
    assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Server));
    let error = client.disconnect_error().unwrap().to_string();
    assert!(
        error.contains("in 101 bytes was being sent, and accepts 100 at most; send smaller"),
        "{error}"
    );
}

#[tokio::test]
async fn a_close_code_says_why() {
    let close = |code: u16, reason: &'static str| {
        move |mut socket: support::Socket| async move {
            let frame = CloseFrame {
                code: code.into(),
                reason: reason.into(),
            };
            let _ = socket.close(Some(frame)).await;
            echo(socket).await;
        }
    };
    let server = Server::start(move |_, _| {
        websocket(move |mut socket| async move {
            socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
            close(1009, "too\nbig")(socket).await;
        })
    })
    .await;
    let connect = |server: &Server| {
        let builder = Client::builder(&server.url()).transports([Transport::WebSocket]);
        builder.connect()
    };
    let mut client = in_time(connect(&server)).await.unwrap();
    assert_eq!(in_time(client.next()).await, None);
    let reason = client.disconnect_reason();
    assert_eq!(reason, Some(DisconnectReason::TransportClose));
    let error = client.disconnect_error().unwrap().to_string();
    assert!(
        error.contains("code 1009, \"too\\nbig\"; send smaller messages"),
        "{error}"
    );

    for code in [1000, 1008] {
        let server = Server::start(move |_, _| websocket(close(code, "no"))).await;
        let error = in_time(connect(&server)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
        assert!(
            error.to_string().contains("closed the WebSocket"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_words_of_a_server_that_takes_nothing_more_are_heard() {
    let server = Server::start(|_, _| {
        websocket(|mut socket| async move {
            socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
            // It waits until something is there that it will not read, so that its end is a reset.
            let tcp = socket.get_mut();
            tokio::io::AsyncReadExt::read_u8(tcp).await.unwrap();
            socket.feed(WsMessage::text("4bye")).await.unwrap();
            let frame = CloseFrame {
                code: 1008.into(),
                reason: "enough".into(),
            };
            socket.send(WsMessage::Close(Some(frame))).await.unwrap();
        })
    })
    .await;
    let builder = Client::builder(&server.url()).transports([Transport::WebSocket]);
    let mut client = in_time(builder.connect()).await.unwrap();
    // More than the sockets hold, so that the reset meets a write.
    client.send(vec![0; 10_000_000]).await.unwrap();
    assert_eq!(in_time(client.next()).await, Some(Message::from("bye")));
    assert_eq!(in_time(client.next()).await, None);
    let error = client.disconnect_error().unwrap().to_string();
    assert!(
        error.contains("code 1008"),
        "{error} {:?}",
        client.disconnect_error()
    );
}

#[tokio::test]
async fn a_server_that_pauses_gets_what_was_sent_before_the_close() {
    // How much the sockets hold of a connection that is not read.
    let (held, _) = pausing(usize::MAX).await;
    // The last messages of this one wait in the client when it closes.
    for spare in [16, 64] {
        let (sent, received) = pausing(held.saturating_sub(spare)).await;
        assert_eq!(received, sent, "with {spare} KiB to spare");
    }
}

/// Sends so many messages of a kilobyte, or until there is no room, to a server that reads after a pause, and closes.
/// Returns how many were sent, and how many arrived.
async fn pausing(most: usize) -> (usize, usize) {
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let (closing, closed) = <(Arc<tokio::sync::Notify>, Arc<tokio::sync::Notify>)>::default();
    let (is_closing, is_closed) = (Arc::clone(&closing), Arc::clone(&closed));
    let server = Server::start(move |_, _| {
        let (told, is_closing) = (told.clone(), Arc::clone(&is_closing));
        let is_closed = Arc::clone(&is_closed);
        websocket(move |mut socket| async move {
            socket.send(WsMessage::text(OPEN_POLLING)).await.unwrap();
            is_closing.notified().await;
            // Longer than a client waits for the answer to its close frame.
            let _ = tokio::time::timeout(Duration::from_millis(1500), is_closed.notified()).await;
            while let Some(Ok(WsMessage::Text(text))) =
                futures_util::StreamExt::next(&mut socket).await
            {
                let _ = told.send(text.len());
            }
            let _ = told.send(0);
        })
    })
    .await;
    let builder = Client::builder(&server.url())
        .transports([Transport::WebSocket])
        .outbox_limit(1);
    let client = in_time(builder.connect()).await.unwrap();
    let mut sent = 0;
    let message = Message::from("x".repeat(1023));
    while sent < most {
        let sending = client.send(message.clone());
        match tokio::time::timeout(Duration::from_millis(100), sending).await {
            Ok(outcome) => outcome.unwrap(),
            Err(_) => break,
        }
        sent += 1;
    }
    closing.notify_one();
    in_time(client.close()).await;
    closed.notify_one();
    let mut received = 0;
    while let Some(len) = in_time(hears.recv()).await {
        if len <= 1 {
            break;
        }
        received += 1;
    }
    (sent, received)
}

type Known = Arc<OnceLock<Handle>>;

/// Code of the application that runs at unusual moments, and asks for the state of the client.
struct Asks(Known);

impl Asks {
    fn ask(&self) {
        if let Some(handle) = self.0.get() {
            let _ = (handle.is_open(), handle.try_send("a"));
        }
    }
}

impl Drop for Asks {
    fn drop(&mut self) {
        self.ask();
    }
}

impl tracing::Subscriber for Asks {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.ask();
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// Aborts a client that waits for its second connection, in a thread whose hanging the test notices. The future of the
/// connector asks for the client when it is dropped.
#[track_caller]
fn to_its_end<T>(known: &Known, open: &'static str, prepare: impl FnOnce() -> T + Send + 'static) {
    let known = Arc::clone(known);
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _kept = prepare();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let server = Memory::new(move |number, _| (number == 0).then_some(open));
            let connected = Arc::new(AtomicUsize::new(0));
            let calls = Arc::clone(&connected);
            let asks = Arc::clone(&known);
            let connector = tower::service_fn(move |_| {
                let first = calls.fetch_add(1, Ordering::Relaxed) == 0;
                let (server, asks) = (server.clone(), Asks(Arc::clone(&asks)));
                async move {
                    if first {
                        return Ok::<_, std::io::Error>(server.connect());
                    }
                    let _asks = asks;
                    std::future::pending().await
                }
            });
            let builder = Client::builder("http://localhost").connector(connector);
            let client = builder.connect().await.unwrap();
            let _ = known.set(client.handle());
            client.send("a").await.unwrap();
            while connected.load(Ordering::Relaxed) < 2 {
                tokio::task::yield_now().await;
            }
            client.abort();
            client.wait().await;
        });
        let _ = done.send(());
    });
    is_done
        .recv_timeout(LONG)
        .expect("the client waits for itself");
}

#[test]
fn a_request_that_is_given_up_may_ask_for_its_client() {
    to_its_end(&Known::default(), OPEN_POLLING, || {});
}

#[test]
fn an_upgrade_that_is_given_up_may_ask_for_its_client() {
    to_its_end(&Known::default(), OPEN, || {});
}

#[test]
fn a_log_may_ask_for_the_client() {
    let known = Known::default();
    let asks = Asks(Arc::clone(&known));
    to_its_end(&known, OPEN_POLLING, move || {
        tracing::subscriber::set_default(asks)
    });
}

#[tokio::test]
async fn an_upgrade_that_fails_does_not_hide_what_ends_the_session() {
    let refused = Arc::new(tokio::sync::Notify::new());
    let is_refused = Arc::clone(&refused);
    let (tried, mut is_tried) = tokio::sync::mpsc::unbounded_channel();
    let (posted, mut is_posted) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |_, request| match request.method.as_str() {
        _ if request.is_handshake() => ok(OPEN),
        "POST" => {
            posted.send(()).unwrap();
            Reply::Body(400, Vec::new())
        }
        _ if request.is_poll() => Reply::Never,
        _ => {
            let (tried, is_refused) = (tried.clone(), Arc::clone(&is_refused));
            websocket(move |mut socket| async move {
                assert_eq!(support::text(&mut socket).await, "2probe");
                tried.send(()).unwrap();
                is_refused.notified().await;
            })
        }
    })
    .await;
    let client = in_time(Client::connect(&server.url())).await.unwrap();
    in_time(is_tried.recv()).await.unwrap();
    client.send("a").await.unwrap();
    in_time(is_posted.recv()).await.unwrap();
    // The refusal waits for the poll to bring the server's last words; meanwhile the WebSocket goes.
    refused.notify_one();
    in_time(client.wait()).await;
    assert_eq!(client.disconnect_reason(), Some(DisconnectReason::Refused));
    let error = client.disconnect_error().expect("the refusal is forgotten");
    assert_eq!(error.status(), Some(400), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flush_fails_if_the_session_ended_with_messages_in_its_queue() {
    let (posted, is_posted) = std::sync::mpsc::channel();
    let is_posted = std::sync::Mutex::new(is_posted);
    let server = Server::start(move |_, request| match request.method.as_str() {
        _ if request.is_handshake() => ok(OPEN_POLLING),
        "POST" => {
            posted.send(()).unwrap();
            Reply::Never
        }
        _ => {
            is_posted.lock().unwrap().recv().unwrap();
            ok("1")
        }
    })
    .await;
    let builder = Client::builder(&server.url()).max_post_packets(1);
    let mut client = in_time(builder.connect()).await.unwrap();
    SinkExt::feed(&mut client, "a".into()).await.unwrap();
    SinkExt::feed(&mut client, "b".into()).await.unwrap();
    let flushed = in_time(SinkExt::flush(&mut client)).await;
    assert_eq!(flushed, Err(SinkError::Lost));
    // It was said once.
    let flushed = in_time(SinkExt::flush(&mut client)).await;
    assert_eq!(flushed, Ok(()));
}

#[tokio::test]
async fn a_refusal_is_told_even_if_another_transport_fails_after_it() {
    let server = Server::start(|_, request| match request.is_websocket() {
        false => Reply::Body(401, b"bad token".to_vec()),
        true => Reply::Raw(Vec::new()),
    })
    .await;
    let builder = Client::builder(&server.url()).try_all_transports(true);
    let error = in_time(builder.connect()).await.unwrap_err();
    assert_eq!(error.status(), Some(401), "{error}");
    assert_eq!(server.seen().len(), 2);
}
