//! What happens when the application sends faster than a client reads, and the other ways to send.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{
    WEBSOCKET, get, get_request, open, poll, post, receive, receive_text, send, text, websocket,
    websocket_request,
};
use engineio_tower::{
    DisconnectReason, Driver, EngineIoService, Message, Rejection, SendError, SendOptions, Server,
    ServerBuilder, Socket, WhenFull,
};
use http::StatusCode;
use tokio::io::AsyncReadExt;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tower::ServiceExt;

fn small(when_full: WhenFull) -> ServerBuilder {
    Server::builder().outbox_limit(200).when_full(when_full)
}

async fn full(server: &Server) -> (String, Socket) {
    let (sid, _) = open(server).await;
    let socket = server.socket(&sid.parse().unwrap()).unwrap();
    socket.try_send("x".repeat(136)).unwrap();
    (sid, socket)
}

#[tokio::test]
async fn a_server_that_refuses_does_not_wait() {
    let server = small(WhenFull::Rejection).build();
    let (_, socket) = full(&server).await;
    assert!(matches!(socket.send("y").await, Err(SendError::Full(_))));
    assert_eq!(server.broadcast("y"), 0);
    assert!(socket.is_connected());
}

#[tokio::test]
async fn a_server_that_disconnects_tells_why() {
    let (left, mut leaving) = mpsc::unbounded_channel();
    let server = small(WhenFull::Disconnect)
        .on_disconnect(move |_: Socket, reason| left.send(reason).unwrap())
        .build();
    let (_, socket) = full(&server).await;
    assert!(matches!(socket.send("y").await, Err(SendError::Closed(_))));
    assert_eq!(leaving.recv().await, Some(DisconnectReason::SlowConsumer));
    let (_, _) = full(&server).await;
    assert_eq!(server.broadcast("y"), 0);
    assert_eq!(leaving.recv().await, Some(DisconnectReason::SlowConsumer));
    assert!(server.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_bounded_and_dropped_with_its_own_reason() {
    let (left, mut leaving) = mpsc::unbounded_channel();
    let server = Server::builder()
        .outbox_limit(10_000)
        .on_disconnect(move |_: Socket, reason| left.send(reason).unwrap())
        .build();
    let mut client = websocket(&server, "EIO=4&transport=websocket").await;
    receive(&mut client).await;
    let socket = server.sockets().remove(0);
    // 64 KiB fit into the pipe; what is more stays in the outbox, up to its limit.
    let mut sent = 0;
    while socket.try_send("x".repeat(1_000)).is_ok() {
        sent += 1;
        tokio::task::yield_now().await;
        assert!(sent < 200, "nothing bounds the queue");
    }
    assert!(socket.queued_bytes() <= 10_000);
    let start = Instant::now();
    assert_eq!(leaving.recv().await, Some(DisconnectReason::SlowConsumer));
    assert_eq!(start.elapsed().as_secs(), 45);
    // The connection is dropped, not left to the peer: after what was in the pipe there is an end.
    while futures_util::StreamExt::next(&mut client)
        .await
        .is_some_and(|frame| frame.is_ok())
    {}
}

#[tokio::test]
async fn messages_are_sent_together_or_not_at_all() {
    let server = small(WhenFull::Wait).build();
    let (sid, _) = open(&server).await;
    let socket = server.socket(&sid.parse().unwrap()).unwrap();
    socket.try_send("a").unwrap();
    let error = socket
        .try_send_many(["b", "c", "d"])
        .expect_err("no room for three more");
    assert!(matches!(error, SendError::Full(_)));
    socket.try_send_many(["b", "c"]).unwrap();
    assert_eq!(text(&poll(&server, &sid).await), "4a\x1e4b\x1e4c");
}

#[tokio::test]
async fn a_text_that_would_be_other_packets_is_not_sent_to_those_who_poll() {
    const EVIL: &str = "hi\x1e0{\"sid\":\"mine\"}\x1e1";
    let server = Server::builder().build();
    let (sid, _) = open(&server).await;
    let mut reader = websocket(&server, "EIO=4&transport=websocket").await;
    receive(&mut reader).await;
    // Of the two, one gets it.
    assert_eq!(server.broadcast(EVIL), 1);
    assert_eq!(receive_text(&mut reader).await, format!("4{EVIL}"));

    let poller = server.socket(&sid.parse().unwrap()).unwrap();
    let refused = SendError::Separator(Message::from(EVIL));
    assert_eq!(poller.try_send(EVIL), Err(refused.clone()));
    assert_eq!(poller.send(EVIL).await, Err(refused.clone()));
    assert_eq!(server.send(&poller.sid(), EVIL).await, Err(refused));
    assert!(!poller.send_volatile(EVIL));
    assert!(poller.try_send_many(["a", EVIL]).is_err());
    poller.send("b").await.unwrap();
    assert_eq!(text(&poll(&server, &sid).await), "4b");

    // The transport counts already before the client is accepted.
    let server = Server::builder()
        .on_connect(|socket: Socket, _| -> Result<(), Rejection> { Ok(socket.try_send(EVIL)?) })
        .build();
    let response = get(&server, "EIO=4&transport=polling").await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let mut reader = websocket(&server, "EIO=4&transport=websocket").await;
    receive(&mut reader).await;
    assert_eq!(receive_text(&mut reader).await, format!("4{EVIL}"));

    let server = Server::builder().allow_separator(true).build();
    let (sid, _) = open(&server).await;
    assert_eq!(server.broadcast("a\x1e4b"), 1);
    assert_eq!(text(&poll(&server, &sid).await), "4a\x1e4b");
}

#[tokio::test]
async fn a_volatile_message_is_dropped_unless_it_leaves_at_once() {
    let server = Server::builder().build();
    let (sid, _) = open(&server).await;
    let socket = server.socket(&sid.parse().unwrap()).unwrap();
    assert!(!socket.send_volatile("nobody waits"));
    let waiting = tokio::spawn({
        let (server, sid) = (server.clone(), sid.clone());
        async move { text(&poll(&server, &sid).await) }
    });
    tokio::task::yield_now().await;
    assert!(socket.send_volatile("now"));
    assert!(!socket.send_volatile("too late"));
    assert_eq!(waiting.await.unwrap(), "4now");
}

#[tokio::test]
async fn a_message_may_ask_not_to_be_compressed() {
    let server = Server::builder().build();
    let (sid, _) = open(&server).await;
    let socket = server.socket(&sid.parse().unwrap()).unwrap();
    for (compress, encoding) in [(false, "identity"), (true, "gzip")] {
        let options = SendOptions::new().compress(compress);
        let message = "x".repeat(2_000);
        socket.send_with(message, options).await.unwrap();
        let mut request = get_request(&format!("EIO=4&transport=polling&sid={sid}"));
        let headers = request.headers_mut();
        headers.insert("accept-encoding", "gzip".parse().unwrap());
        let response = crate::support::call(&server, request).await;
        assert_eq!(response.headers()["content-encoding"], encoding);
    }
}

#[tokio::test]
async fn the_application_hears_when_a_client_has_taken_everything() {
    let (drained, mut drain) = mpsc::unbounded_channel();
    let server = Server::builder()
        .on_drain(move |socket: Socket| drained.send(socket.queued_messages()).unwrap())
        .build();
    let (sid, _) = open(&server).await;
    let socket = server.socket(&sid.parse().unwrap()).unwrap();
    socket.try_send_many(["a", "b"]).unwrap();
    assert!(drain.try_recv().is_err());
    poll(&server, &sid).await;
    assert_eq!(drain.recv().await, Some(0));
    let flushed = tokio::time::timeout(Duration::from_secs(1), socket.flush());
    flushed.await.unwrap();
}

#[tokio::test]
async fn a_full_inbox_paces_the_client_and_not_its_heartbeat() {
    let gate = Arc::new(Semaphore::new(0));
    let server = {
        let gate = Arc::clone(&gate);
        Server::builder()
            .inbox_limit(1_000)
            .on_message(move |socket: Socket, message: Message| {
                let gate = Arc::clone(&gate);
                async move {
                    gate.acquire().await.unwrap().forget();
                    let _ = socket.send(message).await;
                }
            })
            .build()
    };
    let (sid, _) = open(&server).await;
    let body: Vec<String> = (0..100).map(|n| format!("4{n}")).collect();
    let posting = tokio::spawn({
        let (server, sid, body) = (server.clone(), sid.clone(), body.join("\x1e"));
        async move { post(&server, &sid, body).await.status() }
    });
    tokio::task::yield_now().await;
    assert!(!posting.is_finished(), "there is no room for the packets");
    gate.add_permits(100);
    assert_eq!(posting.await.unwrap(), 200);
    let mut echoes = String::new();
    while echoes.matches('4').count() < 119 && echoes.split('\x1e').count() < 100 {
        if !echoes.is_empty() {
            echoes.push('\x1e');
        }
        echoes += &text(&poll(&server, &sid).await);
    }
    assert_eq!(echoes, body.join("\x1e"));
}

#[tokio::test]
async fn handlers_may_run_concurrently() {
    let gate = Arc::new(Semaphore::new(0));
    let server = {
        let gate = Arc::clone(&gate);
        Server::builder()
            .concurrent_messages()
            .on_message(move |socket: Socket, message: Message| {
                let gate = Arc::clone(&gate);
                async move {
                    if message.as_text() == Some("slow") {
                        gate.acquire().await.unwrap().forget();
                    }
                    let _ = socket.send(message).await;
                }
            })
            .build()
    };
    let mut client = websocket(&server, "EIO=4&transport=websocket").await;
    receive(&mut client).await;
    send(&mut client, "4slow").await;
    send(&mut client, "4fast").await;
    assert_eq!(receive_text(&mut client).await, "4fast");
    gate.add_permits(1);
    assert_eq!(receive_text(&mut client).await, "4slow");
}

#[tokio::test(start_paused = true)]
async fn an_orderly_close_delivers_to_a_slow_reader_what_was_queued() {
    let server = Server::builder().build();
    let mut client = websocket(&server, "EIO=4&transport=websocket").await;
    receive(&mut client).await;
    for n in 0..200 {
        let message = format!("{n} {}", "x".repeat(1_000));
        server.sockets()[0].try_send(message).unwrap();
    }
    let shutdown = tokio::spawn({
        let server = server.clone();
        async move { server.shutdown(Duration::from_secs(20)).await }
    });
    // The pipe holds 64 KiB, and nobody reads for longer than a peer may take for its close frame.
    for _ in 0..5 {
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    for n in 0..200 {
        let text = receive_text(&mut client).await;
        assert!(text.starts_with(&format!("4{n} ")), "{n}");
    }
    assert_eq!(receive_text(&mut client).await, "1");
    assert_eq!(receive(&mut client).await, None);
    shutdown.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_hears_at_once_of_an_orderly_close() {
    let server = small(WhenFull::Wait).build();
    let (_, socket) = full(&server).await;
    let waiting = socket.clone();
    let waiting = tokio::spawn(async move { waiting.send("y".repeat(100)).await });
    tokio::task::yield_now().await;
    let start = Instant::now();
    // The client has no poll open, so that nothing is taken out of the outbox.
    socket.close();
    let outcome = waiting.await.unwrap();
    assert!(matches!(outcome, Err(SendError::Closed(_))));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// Sends a message of 8 MB over a WebSocket whose heartbeat takes 6 s, and reads up to `len` bytes in every `pause`. Returns
/// the number of bytes that arrived, and the seconds until the client was given up and until the connection ended.
async fn read_slowly(len: usize, pause: Duration) -> (usize, u64, u64) {
    let beat = Duration::from_secs(3);
    let (tell, mut told) = mpsc::unbounded_channel();
    let start = Instant::now();
    let server = Server::builder()
        .ping_interval(beat)
        .ping_timeout(beat)
        .on_disconnect(move |_: Socket, reason| tell.send((reason, start.elapsed())).unwrap())
        .build();
    let service = EngineIoService::new(server.clone());
    let mut response = service.oneshot(websocket_request(WEBSOCKET)).await.unwrap();
    let driver = Driver::take(&mut response).unwrap();
    let (mut client, io) = tokio::io::duplex(64 * 1024);
    let connection = tokio::spawn(async move {
        driver.run(io).await;
        start.elapsed().as_secs()
    });
    server.sockets()[0].try_send("x".repeat(8_000_000)).unwrap();
    let mut buffer = vec![0; len];
    let mut arrived = 0;
    let mut pace = tokio::time::interval_at(Instant::now() + pause, pause);
    loop {
        pace.tick().await;
        match client.read(&mut buffer).await.unwrap() {
            0 => break,
            len => arrived += len,
        }
    }
    let (reason, given_up) = told.recv().await.unwrap();
    assert_eq!(reason, DisconnectReason::SlowConsumer);
    (arrived, given_up.as_secs(), connection.await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_on_its_way_at_the_ping_timeout_arrives_whole() {
    let (arrived, given_up, ended) = read_slowly(50_000, Duration::from_millis(100)).await;
    // The client sends nothing, so that it is not waited for longer than for its close frame.
    assert_eq!((given_up, ended), (6, 17));
    // The frame of the message has a head of 10 bytes. The open packet precedes it, and a close frame follows.
    assert!(arrived > 10 + 8_000_001 + 4, "{arrived}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_more_or_too_little_is_not_waited_for() {
    let (arrived, given_up, ended) = read_slowly(100_000, Duration::from_secs(60)).await;
    assert_eq!((given_up, ended), (6, 8));
    assert_eq!(arrived, 64 * 1024);
    // At most `close_timeout`.
    let (_, given_up, ended) = read_slowly(1_000, Duration::from_secs(1)).await;
    assert_eq!((given_up, ended), (6, 36));
}
