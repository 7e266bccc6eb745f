//! The application's side: handlers, their order, their failures, and the end of a server.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::support::{
    HANDSHAKE, call, get, get_request, open, poll, post, receive, receive_text, send, text,
    try_websocket, websocket, with,
};
use engineio_tower::{
    ConnectRequest, DisconnectReason, Handler, Message, Origins, Rejection, Server, ServerBuilder,
    Socket,
};
use http::StatusCode;
use tokio::sync::mpsc;

fn echo() -> ServerBuilder {
    Server::builder().on_message(|socket: Socket, message: Message| async move {
        let _ = socket.send(message).await;
    })
}

#[tokio::test]
async fn the_application_refuses_with_status_and_body() {
    let server = Server::builder()
        .on_connect(|_: Socket, request: ConnectRequest| async move {
            match request.query("token").as_deref() {
                Some("secret") => Ok(()),
                Some(_) => {
                    Err(Rejection::unauthorized().json(serde_json::json!({ "reason": "wrong" })))
                }
                None => Err(Rejection::default()),
            }
        })
        .build();
    let plain = get(&server, "EIO=4&transport=polling").await;
    assert_eq!(plain.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(text(&plain), r#""Unauthorized""#);
    let wrong = get(&server, "EIO=4&transport=polling&token=x").await;
    assert_eq!(text(&wrong), r#"{"reason":"wrong"}"#);
    let websocket = try_websocket(&server, "EIO=4&transport=websocket&token=x").await;
    assert_eq!(websocket.unwrap_err().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(server.len(), 0);
    let right = get(&server, "EIO=4&transport=polling&token=secret").await;
    assert_eq!(right.status(), StatusCode::OK);
    assert_eq!(server.len(), 1);
}

struct Chat {
    left: mpsc::UnboundedSender<(String, DisconnectReason)>,
}

#[derive(Debug)]
struct User {
    name: String,
}

impl Handler for Chat {
    async fn connect(&self, socket: &Socket, request: &ConnectRequest) -> Result<(), Rejection> {
        let name = request.query("name").ok_or_else(Rejection::unauthorized)?;
        socket.set(User { name });
        socket.send("welcome").await?;
        Ok(())
    }

    async fn message(&self, socket: &Socket, message: Message) {
        let user = socket.get::<User>().unwrap();
        let said = format!("{}: {}", user.name, message.as_text().unwrap_or("…"));
        socket.server().broadcast(said);
    }

    async fn disconnect(&self, socket: &Socket, reason: DisconnectReason) {
        let user = socket.get::<User>().unwrap();
        self.left.send((user.name.clone(), reason)).unwrap();
    }
}

#[tokio::test]
async fn one_type_can_be_the_application() {
    let (left, mut leaving) = mpsc::unbounded_channel();
    let server = Server::with_handler(Chat { left });
    let response = get(&server, "EIO=4&transport=polling&name=ada").await;
    let body = text(&response);
    let sid = body[9..29].to_owned();
    assert!(body.ends_with("\x1e4welcome"), "{body}");
    let mut other = websocket(&server, "EIO=4&transport=websocket&name=bob").await;
    receive(&mut other).await;
    assert_eq!(receive_text(&mut other).await, "4welcome");
    post(&server, &sid, "4hi").await;
    assert_eq!(receive_text(&mut other).await, "4ada: hi");
    assert_eq!(text(&poll(&server, &sid).await), "4ada: hi");
    post(&server, &sid, "1").await;
    let (name, _) = leaving.recv().await.unwrap();
    assert_eq!(name, "ada");
}

/// Tells what is asked of it.
struct Book(mpsc::UnboundedSender<&'static str>);

impl Handler for Book {
    async fn connect(&self, _: &Socket, _: &ConnectRequest) -> Result<(), Rejection> {
        self.0.send("connect").unwrap();
        Ok(())
    }

    async fn message(&self, _: &Socket, _: Message) {
        self.0.send("message").unwrap();
    }

    async fn upgraded(&self, _: &Socket) {
        self.0.send("upgraded").unwrap();
    }

    async fn disconnect(&self, _: &Socket, _: DisconnectReason) {
        self.0.send("disconnect").unwrap();
    }
}

#[tokio::test]
async fn one_type_may_be_shared_with_the_host_app() {
    let (tells, mut told) = mpsc::unbounded_channel();
    let book = Arc::new(Book(tells));
    let server = Server::with_handler(Arc::clone(&book));
    let (sid, _) = open(&server).await;
    let mut client = crate::support::probed(&server, &sid).await;
    for packet in ["5", "4hi", "1"] {
        send(&mut client, packet).await;
    }
    for expected in ["connect", "upgraded", "message", "disconnect"] {
        assert_eq!(told.recv().await, Some(expected));
    }
}

#[tokio::test]
async fn a_panic_in_a_handler_ends_its_client_alone() {
    let handled = Arc::new(AtomicUsize::new(0));
    let handling = Arc::clone(&handled);
    let (left, mut leaving) = mpsc::unbounded_channel();
    let server = Server::builder()
        .on_message(move |socket: Socket, message: Message| {
            handling.fetch_add(1, Ordering::Relaxed);
            async move {
                if message.as_text() == Some("panic") {
                    crate::support::panics::panic_again_on_drop();
                }
                let _ = socket.send(message).await;
            }
        })
        .on_disconnect(move |_: Socket, reason| left.send(reason).unwrap())
        .build();
    let mut bystander = websocket(&server, "EIO=4&transport=websocket").await;
    receive(&mut bystander).await;
    let mut client = websocket(&server, "EIO=4&transport=websocket").await;
    receive(&mut client).await;
    send(&mut client, "4panic").await;
    assert_eq!(receive(&mut client).await, None);
    assert_eq!(leaving.recv().await, Some(DisconnectReason::HandlerPanic));
    let (sid, _) = open(&server).await;
    post(&server, &sid, "4panic\x1e4panic again\x1e4never handled").await;
    assert_eq!(leaving.recv().await, Some(DisconnectReason::HandlerPanic));
    assert_eq!(handled.load(Ordering::Relaxed), 2);
    send(&mut bystander, "4fine").await;
    assert_eq!(receive_text(&mut bystander).await, "4fine");
}

/// A future that is ready at once, and panics when it is dropped.
struct PanicsOnDrop(bool);

impl Future for PanicsOnDrop {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        if self.0 {
            crate::support::panics::panic_again_on_drop();
        }
    }
}

#[tokio::test]
async fn a_future_of_a_handler_that_panics_when_it_is_dropped_ends_its_client_alone() {
    let (left, mut leaving) = mpsc::unbounded_channel();
    let server = Server::builder()
        .on_connect(|_: Socket, request: ConnectRequest| {
            PanicsOnDrop(request.query("panic").is_some())
        })
        .on_message(|_: Socket, message: Message| PanicsOnDrop(message.as_text() == Some("panic")))
        .on_disconnect(move |_: Socket, reason| left.send(reason).unwrap())
        .on_shutdown(|_| PanicsOnDrop(true))
        .build();
    let refused = get(&server, "EIO=4&transport=polling&panic=1").await;
    assert_eq!(refused.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(server.is_empty());
    let mut client = websocket(&server, "EIO=4&transport=websocket").await;
    receive(&mut client).await;
    send(&mut client, "4fine").await;
    send(&mut client, "4panic").await;
    assert_eq!(receive(&mut client).await, None);
    let (sid, _) = open(&server).await;
    post(&server, &sid, "4fine\x1e4panic").await;
    for _ in 0..2 {
        assert_eq!(leaving.recv().await, Some(DisconnectReason::HandlerPanic));
    }
    server.shutdown(Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn an_application_that_never_decides_on_a_client_holds_up_no_host_beyond_the_grace() {
    let servers = [
        Server::builder()
            .origins(Origins::any())
            .on_connect(|_: Socket, _: ConnectRequest| std::future::pending::<()>()),
        Server::builder()
            .origins(Origins::any())
            .generate_sid(|_| std::future::pending()),
        Server::builder().origins(Origins::predicate_async(|_, _| std::future::pending())),
    ];
    for server in servers.map(ServerBuilder::build) {
        let connecting = {
            let server = server.clone();
            let request = with("origin", "https://app.example.com", get_request(HANDSHAKE));
            tokio::spawn(async move { call(&server, request).await })
        };
        tokio::task::yield_now().await;
        let grace = Duration::from_secs(5);
        let begun = tokio::time::Instant::now();
        server.shutdown(grace).await;
        let response = connecting.await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(begun.elapsed() <= grace);
    }
}

#[tokio::test]
async fn a_client_that_leaves_during_connect_is_still_told_to_disconnect() {
    let (left, mut leaving) = mpsc::unbounded_channel();
    let gate = Arc::new(tokio::sync::Notify::new());
    let finished = Arc::new(AtomicUsize::new(0));
    let server = {
        let (gate, finished) = (Arc::clone(&gate), Arc::clone(&finished));
        Server::builder()
            .on_connect(move |_: Socket, _: ConnectRequest| {
                let (gate, finished) = (Arc::clone(&gate), Arc::clone(&finished));
                async move {
                    gate.notified().await;
                    finished.fetch_add(1, Ordering::SeqCst);
                }
            })
            .on_disconnect(move |_: Socket, reason| left.send(reason).unwrap())
            .build()
    };
    let gone = tokio::time::timeout(Duration::ZERO, get(&server, "EIO=4&transport=polling"));
    assert!(gone.await.is_err());
    assert_eq!(finished.load(Ordering::SeqCst), 0);
    gate.notify_one();
    assert_eq!(leaving.recv().await, Some(DisconnectReason::TransportClose));
    assert_eq!(finished.load(Ordering::SeqCst), 1);
    assert!(server.is_empty());
}

#[tokio::test]
async fn a_handler_that_waits_for_its_own_outbox_does_not_stop_its_client() {
    let server = Server::builder()
        .config(engineio_tower::Config {
            outbox_limit: 1,
            ..Default::default()
        })
        .on_message(|socket: Socket, _: Message| async move {
            for n in 0..100 {
                socket.send(n.to_string()).await.unwrap();
            }
        })
        .build();
    let mut client = websocket(&server, "EIO=4&transport=websocket").await;
    receive(&mut client).await;
    send(&mut client, "4go").await;
    for n in 0..100 {
        assert_eq!(receive_text(&mut client).await, format!("4{n}"));
    }
}

#[tokio::test]
async fn plain_and_blocking_handlers_keep_the_order() {
    let plain = || {
        Server::builder().on_message(|socket: Socket, message: Message| {
            let _ = socket.try_send(message);
        })
    };
    let blocking = || {
        Server::builder().on_message_blocking(|socket, message| {
            let _ = socket.blocking_send(message);
        })
    };
    let concurrent = [plain(), blocking()].map(ServerBuilder::concurrent_messages);
    for server in [plain(), blocking()].into_iter().chain(concurrent) {
        let server = server.build();
        let mut client = websocket(&server, "EIO=4&transport=websocket").await;
        receive(&mut client).await;
        for n in 0..200 {
            send(&mut client, &format!("4{n}")).await;
        }
        for n in 0..200 {
            assert_eq!(receive_text(&mut client).await, format!("4{n}"));
        }
    }
}

#[tokio::test]
async fn a_server_that_is_dropped_is_freed_with_its_handlers() {
    let alive = Arc::new(());
    let seen = Arc::downgrade(&alive);
    let server = Server::builder()
        .on_message(move |_: Socket, _: Message| {
            let _ = &alive;
        })
        .build();
    let (sid, _) = open(&server).await;
    post(&server, &sid, "1").await;
    drop(server);
    tokio::time::pause();
    // The farewell to the client that closed is over, and the watcher has noticed that the server is gone.
    tokio::time::advance(Duration::from_secs(2)).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(seen.upgrade().is_none());
}

#[tokio::test(start_paused = true)]
async fn shutdown_delivers_tells_everybody_and_waits_for_handlers() {
    let (left, mut leaving) = mpsc::unbounded_channel();
    let server = echo()
        .on_disconnect(move |_: Socket, reason| {
            let left = left.clone();
            async move {
                // Not at once, so that there is something to wait for.
                let _ = tokio::time::timeout(Duration::from_secs(1), std::future::pending::<()>())
                    .await;
                left.send(reason).unwrap();
            }
        })
        .build();
    let (poller, _) = open(&server).await;
    let (silent, _) = open(&server).await;
    let mut client = websocket(&server, "EIO=4&transport=websocket").await;
    receive(&mut client).await;
    let background = server.spawn(std::future::pending::<()>());
    server.broadcast("last");
    let shutdown = tokio::spawn({
        let server = server.clone();
        async move { server.shutdown(Duration::from_secs(10)).await }
    });
    tokio::task::yield_now().await;
    let refused = get(&server, "EIO=4&transport=polling").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(text(&poll(&server, &poller).await), "4last\x1e1");
    assert_eq!(receive_text(&mut client).await, "4last");
    assert_eq!(receive_text(&mut client).await, "1");
    let closing = futures_util::StreamExt::next(&mut client).await;
    let Some(Ok(tokio_tungstenite::tungstenite::Message::Close(Some(frame)))) = closing else {
        panic!("expected a close frame, got {closing:?}");
    };
    assert_eq!(u16::from(frame.code), 1001);
    let start = tokio::time::Instant::now();
    shutdown.await.unwrap();
    // The client that never polled used the grace up; the handlers of all were waited for.
    assert_eq!(start.elapsed().as_secs(), 10);
    for _ in 0..3 {
        assert_eq!(leaving.recv().await, Some(DisconnectReason::Shutdown));
    }
    assert_eq!(
        poll(&server, &silent).await.status(),
        StatusCode::BAD_REQUEST
    );
    assert!(background.await.unwrap_err().is_cancelled());
    let late = server.spawn(std::future::pending::<()>());
    assert!(late.await.unwrap_err().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn the_handlers_of_clients_that_a_shutdown_cuts_off_run_within_the_grace() {
    let (left, mut leaving) = mpsc::unbounded_channel();
    let server = Server::builder()
        .on_disconnect(move |_: Socket, reason| {
            let left = left.clone();
            async move {
                tokio::task::yield_now().await;
                left.send(reason).unwrap();
            }
        })
        .build();
    open(&server).await;
    let start = tokio::time::Instant::now();
    server.shutdown(Duration::from_secs(5)).await;
    // A program may end now, so whatever has not happened never will.
    assert_eq!(leaving.try_recv(), Ok(DisconnectReason::Shutdown));
    assert!(start.elapsed() <= Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_goes_on_while_its_client_is_closed() {
    let (done, mut finished) = mpsc::unbounded_channel();
    let server = Server::builder()
        .on_message(move |_: Socket, _: Message| {
            let done = done.clone();
            async move {
                let _ = tokio::time::timeout(Duration::from_secs(3), std::future::pending::<()>())
                    .await;
                done.send(()).unwrap();
            }
        })
        .build();
    let mut client = websocket(&server, "EIO=4&transport=websocket").await;
    receive(&mut client).await;
    send(&mut client, "4slow").await;
    tokio::task::yield_now().await;
    let start = tokio::time::Instant::now();
    // The client never reads again, so its WebSocket is not closed until the close timeout.
    server.sockets()[0].close();
    tokio::task::yield_now().await;
    assert!(server.is_empty(), "a client that is gone is not counted");
    finished.recv().await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_panics_when_it_is_dropped_does_not_hold_up_a_shutdown() {
    struct Grenade;

    impl Drop for Grenade {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    let server = Server::builder()
        .on_connect(|socket: Socket, _| {
            socket.set(Grenade);
        })
        .build();
    open(&server).await;
    let mut client = websocket(&server, "EIO=4&transport=websocket").await;
    receive(&mut client).await;
    for socket in server.sockets() {
        socket.abort();
    }
    let begin = tokio::time::Instant::now();
    server.shutdown(Duration::from_secs(60)).await;
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_may_have_all_the_time_there_is() {
    let server = Server::builder().build();
    server.shutdown(Duration::MAX).await;
    assert!(server.is_shutting_down());
}

#[tokio::test(start_paused = true)]
async fn the_application_may_work_at_the_start_and_at_the_end() {
    let (told, mut tell) = mpsc::unbounded_channel();
    let (at_start, at_end) = (told.clone(), told);
    let server = Server::builder()
        .on_start(move |server| {
            at_start.send(format!("start {}", server.len())).unwrap();
            async move {
                let mut tick = tokio::time::interval(Duration::from_secs(1));
                loop {
                    tick.tick().await;
                    server.broadcast("tick");
                }
            }
        })
        .on_shutdown(move |server| {
            let at_end = at_end.clone();
            async move {
                server.broadcast("last");
                at_end.send(format!("end {}", server.len())).unwrap();
            }
        })
        .build();
    server.start();
    server.start();
    let (sid, _) = open(&server).await;
    assert_eq!(text(&poll(&server, &sid).await), "4tick");
    let shutdown = tokio::spawn({
        let server = server.clone();
        async move {
            server.shutdown(Duration::from_secs(5)).await;
            server.shutdown(Duration::from_secs(5)).await;
        }
    });
    tokio::task::yield_now().await;
    assert!(text(&poll(&server, &sid).await).ends_with("4last\x1e1"));
    shutdown.await.unwrap();
    assert_eq!(tell.recv().await.unwrap(), "start 0");
    assert_eq!(tell.recv().await.unwrap(), "end 1");
    assert!(tell.try_recv().is_err(), "each runs once");
}
