//! Handlers: in order, beside the driver, and without harm when they panic.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::support::{
    OPEN_POLLING, Reply, Request, Server, in_time, ok, panics::panic_again_on_drop,
};
use engineio_client::{Client, DisconnectReason, ErrorKind, Message, Transport};
use futures_util::SinkExt;
use tokio_tungstenite::tungstenite::Message as WsMessage;

fn polling(request: &Request) -> Reply {
    match request.method.as_str() {
        _ if request.is_handshake() => ok(OPEN_POLLING),
        "POST" => ok("ok"),
        _ => Reply::Never,
    }
}

#[tokio::test]
async fn handlers_run_in_order() {
    let server = Server::start(|number, request| match request.method.as_str() {
        _ if request.is_handshake() => ok(&format!("{OPEN_POLLING}\u{1e}4a")),
        "GET" if number < 3 => ok("4b\u{1e}4c\u{1e}1"),
        _ => ok("ok"),
    })
    .await;
    let log = Arc::new(Mutex::new(Vec::new()));
    let (connects, messages, ends) = (log.clone(), log.clone(), log.clone());
    let client = Client::builder(&server.url())
        .on_connect(move |client| {
            let log = connects.clone();
            async move {
                tokio::task::yield_now().await;
                log.lock()
                    .unwrap()
                    .push(format!("connect {}", client.sid().is_some()));
            }
        })
        .on_message(move |_, message| {
            let log = messages.clone();
            async move {
                tokio::task::yield_now().await;
                log.lock()
                    .unwrap()
                    .push(message.as_text().unwrap().to_owned());
            }
        })
        .on_disconnect(move |_, end| {
            let log = ends.clone();
            async move { log.lock().unwrap().push(end.reason.to_string()) }
        })
        .connect();
    let client = in_time(client).await.unwrap();
    in_time(client.wait()).await;
    let expected = ["connect true", "a", "b", "c", "server disconnect"];
    assert_eq!(*log.lock().unwrap(), expected);
}

#[tokio::test]
async fn handlers_of_the_life_leave_messages_to_the_stream() {
    let server = Server::start(|_, request| match request.is_handshake() {
        true => ok(&format!("{OPEN_POLLING}\u{1e}4a")),
        false => ok("1"),
    })
    .await;
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let ended = told.clone();
    let builder = Client::builder(&server.url())
        .on_connect(move |_| {
            let _ = told.send("connect".to_owned());
            async {}
        })
        .on_disconnect(move |_, end| {
            let _ = ended.send(end.reason.to_string());
            async {}
        });
    let mut client = in_time(builder.connect()).await.unwrap();
    assert_eq!(in_time(client.next()).await, Some(Message::from("a")));
    assert_eq!(in_time(hears.recv()).await.as_deref(), Some("connect"));
    assert_eq!(
        in_time(hears.recv()).await.as_deref(),
        Some("server disconnect")
    );
    assert_eq!(in_time(hears.recv()).await, None);
}

#[tokio::test]
async fn a_handler_that_panics_ends_the_client() {
    let server = Server::start(|_, request| match request.is_handshake() {
        true => ok(&format!("{OPEN_POLLING}\u{1e}4a")),
        false => polling(request),
    })
    .await;
    let builder = Client::builder(&server.url()).on_message(|_, _| async { panic_again_on_drop() });
    let client = in_time(builder.connect()).await.unwrap();
    in_time(client.wait()).await;
    assert_eq!(
        client.disconnect_reason(),
        Some(DisconnectReason::HandlerPanic)
    );
    server.is_left().await;
}

/// The future of a handler that panics there: while it is polled, or when it is dropped.
struct Panicking {
    place: &'static str,
    has_waited: bool,
}

impl Future for Panicking {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !std::mem::replace(&mut self.has_waited, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.place == "future" {
            panic_again_on_drop();
        }
        Poll::Ready(())
    }
}

impl Drop for Panicking {
    fn drop(&mut self) {
        if self.place == "drop" {
            panic_again_on_drop();
        }
    }
}

#[tokio::test]
async fn a_handler_that_has_panicked_gets_no_more_messages() {
    for place in ["call", "future", "drop"] {
        let server = Server::start(|_, request| match request.is_handshake() {
            true => ok(&format!("{OPEN_POLLING}\u{1e}4a\u{1e}4b\u{1e}4c")),
            false => polling(request),
        })
        .await;
        let log = Arc::new(Mutex::new(Vec::new()));
        let (messages, ends) = (log.clone(), log.clone());
        let builder = Client::builder(&server.url())
            .on_message(move |_, message| {
                let text = message.as_text().unwrap().to_owned();
                messages.lock().unwrap().push(text);
                if place == "call" {
                    panic_again_on_drop();
                }
                Panicking {
                    place,
                    has_waited: false,
                }
            })
            .on_disconnect(move |_, end| {
                ends.lock().unwrap().push(end.reason.to_string());
                async {}
            });
        let client = in_time(builder.connect()).await.unwrap();
        in_time(client.wait()).await;
        let expected = ["a", &DisconnectReason::HandlerPanic.to_string()];
        assert_eq!(*log.lock().unwrap(), expected, "{place}");
    }
}

#[tokio::test]
async fn who_waits_for_the_next_message_does_not_take_it_from_its_handler() {
    let server = Server::start(|_, request| match request.is_handshake() {
        true => ok(&format!("{OPEN_POLLING}\u{1e}4a\u{1e}4b")),
        false => ok("4c\u{1e}1"),
    })
    .await;
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let builder = Client::builder(&server.url()).on_message(move |_, message| {
        let gate = Arc::clone(&opened);
        let _ = told.send(message);
        async move { gate.acquire().await.unwrap().forget() }
    });
    let mut client = in_time(builder.connect()).await.unwrap();
    assert_eq!(in_time(hears.recv()).await, Some(Message::from("a")));
    // The handler is busy, and the others wait for it.
    assert_eq!(in_time(client.next()).await, None);
    gate.add_permits(3);
    assert_eq!(in_time(hears.recv()).await, Some(Message::from("b")));
    assert_eq!(in_time(hears.recv()).await, Some(Message::from("c")));
    in_time(client.wait()).await;
}

#[tokio::test]
async fn a_handler_may_close_the_client() {
    let server = Server::start(|_, request| match request.is_handshake() {
        true => ok(&format!("{OPEN_POLLING}\u{1e}4a")),
        false => polling(request),
    })
    .await;
    let builder = Client::builder(&server.url()).on_message(|client, message| async move {
        client.send(message).await.unwrap();
        client.close().await;
    });
    let client = in_time(builder.connect()).await.unwrap();
    in_time(client.wait()).await;
    assert_eq!(server.posts(), ["4a\u{1e}1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_connected_when_its_handler_has_been_called() {
    let server = Server::start(|_, request| polling(request)).await;
    for _ in 0..50 {
        let called = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let call = Arc::clone(&called);
        let builder = Client::builder(&server.url()).on_connect(move |_| {
            let call = Arc::clone(&call);
            async move {
                call.store(true, std::sync::atomic::Ordering::SeqCst);
                // One that does not return does not keep `connect` from it.
                std::future::pending::<()>().await;
            }
        });
        let client = in_time(builder.connect()).await.unwrap();
        assert!(called.load(std::sync::atomic::Ordering::SeqCst));
        drop(client);
    }
}

/// The kind and a part of the error, the time limit, and the way in which the server treats the WebSocket.
type Failure = (ErrorKind, &'static str, Duration, fn() -> Reply);

type Upgrades = Arc<Mutex<Vec<Result<(), engineio_client::Error>>>>;

/// Connects to a server that treats the WebSocket of the upgrade in this way, and returns what the handler heard once
/// the upgrade was settled.
async fn upgrade(
    timeout: Duration,
    treat: impl Fn() -> Reply + Send + Sync + 'static,
) -> (Client, Upgrades) {
    let server = Server::start(move |number, request| match request.is_websocket() {
        true => treat(),
        false if request.is_handshake() => ok(crate::support::OPEN),
        false if number < 4 => ok("6"),
        false => Reply::Never,
    })
    .await;
    let upgrades = Upgrades::default();
    let log = Arc::clone(&upgrades);
    let builder = Client::builder(&server.url())
        .upgrade_timeout(timeout)
        .on_upgrade(move |client, outcome| {
            assert_eq!(client.upgraded(), outcome.is_ok());
            log.lock().unwrap().push(outcome);
            async {}
        });
    let client = in_time(builder.connect()).await.unwrap();
    in_time(client.settled()).await;
    in_time(async {
        while upgrades.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    (client, upgrades)
}

#[tokio::test]
async fn an_upgrade_that_succeeds_is_told_once() {
    let (client, upgrades) = upgrade(crate::support::LONG, || {
        crate::support::websocket(|mut socket| async move {
            crate::support::accept_probe(&mut socket).await;
            crate::support::echo(socket).await;
        })
    })
    .await;
    assert_eq!(client.transport(), Transport::WebSocket);
    assert!(client.upgrade_error().is_none());
    in_time(client.close()).await;
    assert!(matches!(upgrades.lock().unwrap()[..], [Ok(())]));
}

#[tokio::test]
async fn an_upgrade_that_fails_is_told_with_its_error_and_the_session_goes_on() {
    let cases: [Failure; 5] = [
        (ErrorKind::Refused, "418", crate::support::LONG, || {
            Reply::Body(418, Vec::new())
        }),
        (
            ErrorKind::Protocol,
            "`3probe`",
            crate::support::LONG,
            || {
                crate::support::websocket(|mut socket| async move {
                    socket.send(WsMessage::text("3nonsense")).await.unwrap();
                    crate::support::echo(socket).await;
                })
            },
        ),
        (
            ErrorKind::Timeout,
            "`upgrade_timeout`",
            Duration::from_millis(50),
            || crate::support::websocket(crate::support::echo),
        ),
        // It fails as soon as it begins.
        (
            ErrorKind::Timeout,
            "`upgrade_timeout`",
            Duration::ZERO,
            || crate::support::websocket(crate::support::echo),
        ),
        (
            ErrorKind::Transport,
            "closed the WebSocket",
            crate::support::LONG,
            || {
                crate::support::websocket(|mut socket| async move {
                    socket.close(None).await.unwrap();
                })
            },
        ),
    ];
    for (kind, text, timeout, treat) in cases {
        let (client, upgrades) = upgrade(timeout, treat).await;
        assert!(client.is_open() && client.transport() == Transport::Polling);
        let error = client.upgrade_error().unwrap();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(text), "{error}");
        let upgrades = upgrades.lock().unwrap();
        let [Err(told)] = &upgrades[..] else {
            panic!("{upgrades:?}");
        };
        assert_eq!(told.to_string(), error.to_string());
        assert!(client.disconnect_error().is_none());
    }
}
