//! What the documentation promises, where it is easily broken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{
    HANDSHAKE, WEBSOCKET, get, get_request, open, pass, post, receive, try_websocket, watched,
    websocket, websocket_request, with,
};
use engineio_tower::{
    ConnectRequest, DisconnectReason, EngineIoService, Message, SendError, Server, SidCookie,
    Socket, Transport, WhenFull,
};
use http::{HeaderValue, StatusCode};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tower_service::Service;

#[tokio::test]
async fn a_cookie_of_the_application_and_that_of_the_server_are_both_set() {
    let server = Server::builder()
        .cookie(SidCookie::new("io"))
        .initial_headers(|_, headers| {
            headers.append("set-cookie", HeaderValue::from_static("app=1"));
        })
        .build();
    let response = get(&server, HANDSHAKE).await;
    let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies.len(), 2, "{cookies:?}");
    assert_eq!(cookies[0], "app=1");
    assert!(cookies[1].to_str().unwrap().starts_with("io="));
}

#[tokio::test]
async fn the_hook_for_headers_is_for_posts_too() {
    let server = Server::builder()
        .headers(|_, headers| {
            headers.insert("x-node", HeaderValue::from_static("a"));
        })
        .build();
    let (sid, _) = open(&server).await;
    assert_eq!(post(&server, &sid, "4x").await.headers()["x-node"], "a");
}

#[tokio::test]
async fn a_handshake_of_another_version_is_told_what_to_upgrade_to() {
    let server = Server::builder().build();
    let request = with("sec-websocket-version", "8", websocket_request(WEBSOCKET));
    let response = crate::support::call(&server, request).await;
    assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
    // RFC 9110 § 15.5.22 and § 7.8.
    assert_eq!(response.headers()["upgrade"], "websocket");
    assert_eq!(response.headers()["connection"], "Upgrade");
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_request_is_dropped_at_once_is_still_told_to_disconnect() {
    let came = Arc::new(AtomicUsize::new(0));
    let coming = Arc::clone(&came);
    let (server, mut leaving) = watched(Server::builder().on_connect(move |socket: Socket, _| {
        coming.fetch_add(1, Ordering::Relaxed);
        socket.try_send("welcome").unwrap();
    }));
    // A layer in front that gives up before it has polled.
    drop(EngineIoService::new(server.clone()).call(get_request(HANDSHAKE)));
    assert_eq!(came.load(Ordering::Relaxed), 1);
    let left = timeout(Duration::from_secs(60), leaving.recv()).await;
    assert_eq!(left, Ok(Some(DisconnectReason::TransportClose)));
    assert!(server.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_accepted_during_a_shutdown_is_told_to_disconnect() {
    let builder = Server::builder().on_connect(|_: Socket, _: ConnectRequest| async {
        pass(2_000).await;
    });
    let (server, mut leaving) = watched(builder);
    for query in [HANDSHAKE, WEBSOCKET] {
        let server = server.clone();
        tokio::spawn(async move {
            let status = match query {
                HANDSHAKE => get(&server, query).await.status(),
                _ => try_websocket(&server, query).await.unwrap_err().status(),
            };
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        });
    }
    pass(1_000).await;
    server.shutdown(Duration::from_secs(5)).await;
    assert!(server.is_empty());
    // What the connect handler has counted up is counted down, before the program may end.
    for _ in 0..2 {
        assert_eq!(leaving.try_recv(), Ok(DisconnectReason::Shutdown));
    }
}

#[tokio::test]
async fn the_transport_is_right_from_the_first_handler_to_the_last() {
    let (told, mut tell) = mpsc::unbounded_channel();
    let telling = told.clone();
    let server = Server::builder()
        .on_connect(move |socket: Socket, _| telling.send(socket.transport()).unwrap())
        .on_disconnect(move |socket: Socket, _| told.send(socket.transport()).unwrap())
        .build();
    drop(websocket(&server, WEBSOCKET).await);
    assert_eq!(tell.recv().await, Some(Transport::WebSocket));
    assert_eq!(tell.recv().await, Some(Transport::WebSocket));
    let (sid, _) = open(&server).await;
    post(&server, &sid, "1").await;
    assert_eq!(tell.recv().await, Some(Transport::Polling));
    assert_eq!(tell.recv().await, Some(Transport::Polling));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_handlers_that_run_concurrently() {
    let done = Arc::new(AtomicUsize::new(0));
    let doing = Arc::clone(&done);
    let server = Server::builder()
        .concurrent_messages()
        .on_message(move |_: Socket, _: Message| {
            let doing = Arc::clone(&doing);
            async move {
                pass(3_000).await;
                doing.fetch_add(1, Ordering::Relaxed);
            }
        })
        .build();
    let mut client = websocket(&server, WEBSOCKET).await;
    receive(&mut client).await;
    crate::support::send(&mut client, "4a").await;
    crate::support::send(&mut client, "4b").await;
    tokio::task::yield_now().await;
    drop(client);
    tokio::task::yield_now().await;
    let start = Instant::now();
    server.shutdown(Duration::from_secs(10)).await;
    assert_eq!(done.load(Ordering::Relaxed), 2);
    assert_eq!(start.elapsed().as_secs(), 3);
}

/// A server whose message handlers run for as many seconds as the message says, and what is heard of its clients.
fn concurrent() -> (Server, mpsc::UnboundedReceiver<String>) {
    let (tell, told) = mpsc::unbounded_channel();
    let telling = tell.clone();
    let server = Server::builder()
        .concurrent_messages()
        .on_connect(|socket: Socket, _| {
            socket.set("Ada");
        })
        .on_message(move |socket: Socket, message: Message| {
            let tell = telling.clone();
            async move {
                let text = message.as_text().unwrap().to_owned();
                let seconds = text.parse::<u64>();
                let seconds =
                    seconds.unwrap_or_else(|_| crate::support::panics::panic_again_on_drop());
                pass(seconds * 1_000).await;
                let name = socket.get::<&str>();
                tell.send(format!("{text} {}", name.map_or("nobody", |name| *name)))
                    .unwrap();
            }
        })
        .on_disconnect(move |socket: Socket, reason| {
            let name = socket.get::<&str>().unwrap();
            tell.send(format!("{name} left: {reason:?}")).unwrap();
        })
        .build();
    (server, told)
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_client_comes_after_its_handlers_that_run_concurrently() {
    let (server, mut told) = concurrent();
    let mut client = crate::support::open_websocket(&server).await;
    for text in ["42", "41", "43"] {
        crate::support::send(&mut client, text).await;
    }
    crate::support::send(&mut client, "1").await;
    let (sid, _) = open(&server).await;
    post(&server, &sid, "45\x1e44\x1e1").await;
    for expected in [
        "1 Ada",
        "2 Ada",
        "3 Ada",
        "Ada left: Client",
        "4 Ada",
        "5 Ada",
        "Ada left: Client",
    ] {
        assert_eq!(told.recv().await.unwrap(), expected);
    }
    assert!(server.is_empty());
    let start = Instant::now();
    server.shutdown(Duration::from_secs(10)).await;
    assert_eq!(start.elapsed(), Duration::ZERO, "nothing is owed");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_client_comes_after_a_handler_that_panics_beside() {
    let (server, mut told) = concurrent();
    let (sid, _) = open(&server).await;
    post(&server, &sid, "41\x1e4not a number").await;
    assert_eq!(told.recv().await.unwrap(), "1 Ada");
    assert_eq!(told.recv().await.unwrap(), "Ada left: HandlerPanic");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_beside_keeps_its_client_from_nothing_but_the_farewell() {
    let (server, mut told) = concurrent();
    let (sid, _) = open(&server).await;
    post(&server, &sid, "41000000\x1e1").await;
    assert!(server.is_empty());
    assert!(server.socket(&sid.parse().unwrap()).is_none());
    let start = Instant::now();
    server.shutdown(Duration::from_secs(10)).await;
    assert_eq!(start.elapsed().as_secs(), 10);
    assert!(told.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_handlers_of_a_client_run_concurrently_and_further_messages_wait() {
    const ALL: usize = 1_200;
    for by_websocket in [false, true] {
        let gate = Arc::new(Semaphore::new(0));
        let started = Arc::new(AtomicUsize::new(0));
        let (tell, mut told) = mpsc::unbounded_channel();
        let server = Server::builder()
            .concurrent_messages()
            .inbox_limit(100 * 65)
            .on_message({
                let (gate, started) = (Arc::clone(&gate), Arc::clone(&started));
                move |_: Socket, _: Message| {
                    started.fetch_add(1, Ordering::Relaxed);
                    let gate = Arc::clone(&gate);
                    async move { gate.acquire().await.unwrap().forget() }
                }
            })
            .on_disconnect(move |_: Socket, reason| tell.send(reason).unwrap())
            .build();
        let sent = if by_websocket {
            let mut client = crate::support::open_websocket(&server).await;
            tokio::spawn(async move {
                for _ in 0..ALL {
                    crate::support::send(&mut client, "4x").await;
                }
                crate::support::send(&mut client, "1").await;
            })
        } else {
            let (sid, _) = open(&server).await;
            let (server, body) = (server.clone(), "4x\x1e".repeat(ALL) + "1");
            tokio::spawn(async move { assert_eq!(post(&server, &sid, body).await.status(), 200) })
        };
        pass(100).await;
        assert_eq!(started.load(Ordering::Relaxed), 1_000);
        assert!(by_websocket || !sent.is_finished());
        for finished in [50, 100] {
            gate.add_permits(50);
            pass(100).await;
            assert_eq!(started.load(Ordering::Relaxed), 1_000 + finished);
        }
        gate.add_permits(ALL - 100);
        sent.await.unwrap();
        assert_eq!(told.recv().await, Some(DisconnectReason::Client));
        assert_eq!(started.load(Ordering::Relaxed), ALL);
    }
}

#[tokio::test(start_paused = true)]
async fn the_messages_of_handlers_that_run_concurrently_are_limited_as_the_inbox_is() {
    let gate = Arc::new(Semaphore::new(0));
    let (tell, mut told) = mpsc::unbounded_channel();
    let server = Server::builder()
        .concurrent_messages()
        .inbox_limit(10_000)
        .on_message({
            let gate = Arc::clone(&gate);
            move |_: Socket, message: Message| {
                tell.send(message.len()).unwrap();
                let gate = Arc::clone(&gate);
                async move { gate.acquire().await.unwrap().forget() }
            }
        })
        .build();
    let (sid, _) = open(&server).await;
    let lens = [50_000, 4_000, 4_000, 4_000, 4_000, 50_000, 1];
    let packets = lens.map(|len| format!("4{}", "x".repeat(len)));
    let posted = tokio::spawn({
        let server = server.clone();
        async move { post(&server, &sid, packets.join("\x1e")).await }
    });
    // A message alone may exceed the limit, and so may the last one that is handled before the others wait.
    for started in [&lens[..1], &lens[1..4], &lens[4..5], &lens[5..6], &[]] {
        pass(100).await;
        for len in started {
            assert_eq!(told.try_recv(), Ok(*len));
        }
        assert!(told.try_recv().is_err(), "{started:?}");
        gate.add_permits(1);
    }
    gate.add_permits(lens.len());
    assert_eq!(told.recv().await, Some(1));
    assert_eq!(posted.await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_connect_handler_that_flushes_does_not_wait_for_itself() {
    let server = Server::builder()
        .on_connect(|socket: Socket, _: ConnectRequest| async move {
            let _ = socket.send("welcome").await;
            socket.flush().await;
        })
        .build();
    let start = Instant::now();
    let (_, packets) = open(&server).await;
    assert_eq!(packets, ["4welcome"]);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn a_client_that_is_too_slow_for_many_messages_is_disconnected_as_for_one() {
    let (server, mut leaving) = watched(
        Server::builder()
            .outbox_limit(150)
            .when_full(WhenFull::Disconnect),
    );
    let (sid, _) = open(&server).await;
    let socket = crate::support::socket(&server, &sid);
    socket.try_send_many(["one"]).unwrap();
    let error = socket.try_send_many(["two", "three"]).unwrap_err();
    assert!(matches!(error, SendError::Closed(messages) if messages.len() == 2));
    assert_eq!(leaving.recv().await, Some(DisconnectReason::SlowConsumer));
}

#[tokio::test(start_paused = true)]
async fn what_is_attached_to_a_client_that_is_gone_is_dropped() {
    let (server, mut leaving) = watched(Server::builder());
    let (sid, _) = open(&server).await;
    let socket = crate::support::socket(&server, &sid);
    post(&server, &sid, "1").await;
    leaving.recv().await.unwrap();
    let value = Arc::new(());
    // A handle of the client in its own data would keep both for ever.
    socket.set((socket.clone(), Arc::clone(&value)));
    assert_eq!(Arc::strong_count(&value), 1);
}
