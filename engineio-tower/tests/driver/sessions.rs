//! Sessions over the service in memory, with time that is told: what clients and handlers see.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{
    get, open, pass, poll, post, probed, receive, receive_text, send, socket, text, try_websocket,
    upgrade_query, websocket,
};
use bytes::Bytes;
use engineio_tower::{
    DisconnectReason, Message, SendError, Server, ServerBuilder, Socket, Transport,
};
use http::StatusCode;
use tokio::sync::{Semaphore, mpsc};

fn echo() -> ServerBuilder {
    Server::builder().on_message(|socket: Socket, message: Message| async move {
        let _ = socket.send(message).await;
    })
}

/// An echo that tells how its clients left.
fn watched_echo() -> (Server, mpsc::UnboundedReceiver<DisconnectReason>) {
    let (left, leaving) = mpsc::unbounded_channel();
    let server = echo()
        .on_disconnect(move |_: Socket, reason| {
            left.send(reason).unwrap();
        })
        .build();
    (server, leaving)
}

#[tokio::test]
async fn the_handshake_has_five_fields_in_order() {
    let server = echo().ping_interval(Duration::from_millis(300)).build();
    let response = get(&server, "EIO=4&transport=polling").await;
    assert_eq!(
        response.headers()["content-type"],
        "text/plain; charset=UTF-8"
    );
    assert_eq!(response.headers()["cache-control"], "no-store");
    let body = text(&response);
    let sid = &body[9..29];
    assert_eq!(
        body,
        format!(
            r#"0{{"sid":"{sid}","upgrades":["websocket"],"pingInterval":300,"pingTimeout":20000,"maxPayload":1000000}}"#
        )
    );
    assert_eq!(server.len(), 1);
    assert_eq!(
        server.socket(&sid.parse().unwrap()).unwrap().transport(),
        Transport::Polling
    );
}

#[tokio::test]
async fn polling_carries_text_and_binary_both_ways() {
    let server = echo().build();
    let (sid, _) = open(&server).await;
    let response = post(&server, &sid, "4hello\x1ebAQIDBA==\x1e4€").await;
    assert_eq!(
        (response.status(), text(&response)),
        (StatusCode::OK, "ok".into())
    );
    assert_eq!(response.headers()["content-type"], "text/html");
    assert_eq!(
        text(&poll(&server, &sid).await),
        "4hello\x1ebAQIDBA==\x1e4€"
    );
}

#[tokio::test]
async fn a_waiting_poll_is_answered_by_a_send_from_elsewhere() {
    let server = echo().build();
    let (sid, _) = open(&server).await;
    let waiting = tokio::spawn({
        let (server, sid) = (server.clone(), sid.clone());
        async move { text(&poll(&server, &sid).await) }
    });
    tokio::task::yield_now().await;
    let socket = server.socket(&sid.parse().unwrap()).unwrap();
    std::thread::spawn(move || socket.blocking_send("from a thread"))
        .join()
        .unwrap()
        .unwrap();
    assert_eq!(waiting.await.unwrap(), "4from a thread");
}

#[tokio::test]
async fn a_websocket_echoes_and_says_goodbye() {
    let (server, mut leaving) = watched_echo();
    let mut client = websocket(&server, "EIO=4&transport=websocket").await;
    let open = receive_text(&mut client).await;
    assert!(open.contains(r#""upgrades":[]"#), "{open}");
    send(&mut client, "4hello").await;
    assert_eq!(receive_text(&mut client).await, "4hello");
    client.close(None).await.unwrap();
    assert_eq!(leaving.recv().await, Some(DisconnectReason::TransportClose));
    assert_eq!(server.len(), 0);
}

#[tokio::test]
async fn a_close_packet_ends_a_websocket_at_once() {
    let (server, mut leaving) = watched_echo();
    let mut client = websocket(&server, "EIO=4&transport=websocket").await;
    receive(&mut client).await;
    send(&mut client, "1").await;
    assert_eq!(receive(&mut client).await, None);
    assert_eq!(leaving.recv().await, Some(DisconnectReason::Client));
}

#[tokio::test]
async fn an_upgrade_keeps_the_messages_in_order() {
    let server = echo().build();
    let (sid, _) = open(&server).await;
    let waiting = tokio::spawn({
        let (server, sid) = (server.clone(), sid.clone());
        async move { text(&poll(&server, &sid).await) }
    });
    let query = format!("EIO=4&transport=websocket&sid={sid}");
    let mut client = websocket(&server, &query).await;
    send(&mut client, "2probe").await;
    assert_eq!(receive_text(&mut client).await, "3probe");
    assert_eq!(waiting.await.unwrap(), "6");
    post(&server, &sid, "4first").await;
    let mut second = websocket(&server, &query).await;
    assert_eq!(receive(&mut second).await, None);
    send(&mut client, "5").await;
    assert_eq!(receive_text(&mut client).await, "4first");
    send(&mut client, "4second").await;
    assert_eq!(receive_text(&mut client).await, "4second");
    let late = poll(&server, &sid).await;
    assert_eq!(text(&late), r#"{"code":3,"message":"Bad request"}"#);
    let socket = server.socket(&sid.parse().unwrap()).unwrap();
    assert_eq!(socket.transport(), Transport::WebSocket);
}

#[tokio::test]
async fn a_failed_upgrade_leaves_polling_as_it_was() {
    let server = echo().build();
    let (sid, _) = open(&server).await;
    let query = format!("EIO=4&transport=websocket&sid={sid}");
    for first in ["4x", "3probe", "x"] {
        let mut client = websocket(&server, &query).await;
        send(&mut client, first).await;
        assert_eq!(receive(&mut client).await, None);
    }
    drop(websocket(&server, &query).await);
    post(&server, &sid, "4still here").await;
    assert_eq!(text(&poll(&server, &sid).await), "4still here");
}

#[tokio::test(start_paused = true)]
async fn a_late_upgrade_is_given_up_and_polling_lives_on() {
    let server = echo().upgrade_timeout(Duration::from_millis(200)).build();
    let (sid, _) = open(&server).await;
    let query = format!("EIO=4&transport=websocket&sid={sid}");
    let mut client = websocket(&server, &query).await;
    assert_eq!(receive(&mut client).await, None);
    post(&server, &sid, "4still here").await;
    assert_eq!(text(&poll(&server, &sid).await), "4still here");
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_closed_after_interval_and_timeout() {
    let (server, mut leaving) = watched_echo();
    let start = tokio::time::Instant::now();
    let (sid, _) = open(&server).await;
    assert_eq!(text(&poll(&server, &sid).await), "2");
    assert_eq!(start.elapsed().as_secs(), 25);
    assert_eq!(leaving.recv().await, Some(DisconnectReason::PingTimeout));
    assert_eq!(start.elapsed().as_secs(), 45);
    let late = poll(&server, &sid).await;
    assert_eq!(text(&late), r#"{"code":1,"message":"Session ID unknown"}"#);
}

#[tokio::test(start_paused = true)]
async fn a_websocket_is_pinged_and_closed_when_it_does_not_answer() {
    let (server, mut leaving) = watched_echo();
    let start = tokio::time::Instant::now();
    let mut client = websocket(&server, "EIO=4&transport=websocket").await;
    receive(&mut client).await;
    for round in 1..=3 {
        assert_eq!(receive_text(&mut client).await, "2");
        assert_eq!(start.elapsed().as_secs(), 25 * round);
        send(&mut client, "3").await;
    }
    assert_eq!(receive_text(&mut client).await, "2");
    assert_eq!(receive(&mut client).await, None);
    assert_eq!(start.elapsed().as_secs(), 120);
    assert_eq!(leaving.recv().await, Some(DisconnectReason::PingTimeout));
}

#[tokio::test]
async fn an_aborted_poll_ends_the_session() {
    let (server, mut leaving) = watched_echo();
    let (sid, _) = open(&server).await;
    let aborted = tokio::time::timeout(Duration::ZERO, poll(&server, &sid)).await;
    assert!(aborted.is_err());
    assert_eq!(leaving.recv().await, Some(DisconnectReason::TransportError));
    assert_eq!(server.len(), 0);
}

#[tokio::test]
async fn two_polls_at_once_end_the_session() {
    let (server, mut leaving) = watched_echo();
    let (sid, _) = open(&server).await;
    let (first, second) = tokio::join!(poll(&server, &sid), poll(&server, &sid));
    assert_eq!((first.status(), text(&first)), (StatusCode::OK, "1".into()));
    assert_eq!(second.status(), StatusCode::BAD_REQUEST);
    assert_eq!(leaving.recv().await, Some(DisconnectReason::TransportError));
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_413_and_ends_the_session() {
    let (server, mut leaving) = {
        let (left, leaving) = mpsc::unbounded_channel();
        let server = echo()
            .max_payload(100)
            .on_disconnect(move |_: Socket, reason| {
                let _ = left.send(reason);
            })
            .build();
        (server, leaving)
    };
    let (sid, _) = open(&server).await;
    let exact = post(&server, &sid, format!("4{}", "x".repeat(99))).await;
    assert_eq!(exact.status(), StatusCode::OK);
    let beyond = post(&server, &sid, format!("4{}", "x".repeat(100))).await;
    assert_eq!(beyond.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        leaving.recv().await,
        Some(DisconnectReason::PayloadTooLarge)
    );
}

#[tokio::test]
async fn a_malformed_payload_is_400_and_ends_the_session() {
    let (server, mut leaving) = watched_echo();
    for body in ["", "x", "4a\x1e", "7", "b!"] {
        let (sid, _) = open(&server).await;
        let response = post(&server, &sid, body).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{body:?}");
        assert_eq!(leaving.recv().await, Some(DisconnectReason::ParseError));
    }
    let (sid, _) = open(&server).await;
    let response = post(&server, &sid, Bytes::from_static(b"4\xff")).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn requests_that_break_the_rules_are_refused_and_nobody_notices() {
    let server = echo().build();
    let (bystander, _) = open(&server).await;
    let cases = [
        ("EIO=4", 0),
        ("EIO=4&transport=carrier-pigeon", 0),
        ("EIO=4&transport=polling&sid=unknown", 1),
        ("EIO=4&transport=polling&sid=%00", 1),
        ("EIO=4&transport=websocket", 3),
        ("EIO=3&transport=polling", 5),
        ("transport=polling", 5),
    ];
    for (query, code) in cases {
        let response = get(&server, query).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(response.headers()["content-type"], "application/json");
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body["code"], code, "{query}");
    }
    for query in [
        "EIO=4&transport=websocket&sid=unknown",
        "EIO=3&transport=websocket",
    ] {
        let refused = try_websocket(&server, query).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{query}");
    }
    let mut put = crate::support::post_request(&bystander, "4x");
    *put.method_mut() = http::Method::PUT;
    let refused = crate::support::call(&server, put).await;
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(refused.headers()["allow"], "GET, POST");
    post(&server, &bystander, "4still here").await;
    assert_eq!(text(&poll(&server, &bystander).await), "4still here");
    assert_eq!(server.len(), 1);
}

#[tokio::test]
async fn a_disconnect_delivers_what_was_sent_before_it() {
    let (server, mut leaving) = watched_echo();
    let (sid, _) = open(&server).await;
    let socket = server.socket(&sid.parse().unwrap()).unwrap();
    socket.try_send("a").unwrap();
    socket.try_send("b").unwrap();
    let closing = tokio::spawn({
        let server = server.clone();
        let sid = socket.sid();
        async move { server.disconnect(&sid).await }
    });
    tokio::task::yield_now().await;
    assert!(matches!(socket.try_send("c"), Err(SendError::Closed(_))));
    assert_eq!(text(&poll(&server, &sid).await), "4a\x1e4b\x1e1");
    assert!(closing.await.unwrap());
    assert_eq!(leaving.recv().await, Some(DisconnectReason::Server));
    assert_eq!(poll(&server, &sid).await.status(), StatusCode::BAD_REQUEST);

    let mut client = websocket(&server, "EIO=4&transport=websocket").await;
    receive(&mut client).await;
    server.broadcast("last");
    server.disconnect_all().await;
    assert_eq!(receive_text(&mut client).await, "4last");
    assert_eq!(receive_text(&mut client).await, "1");
    assert_eq!(receive(&mut client).await, None);
    assert!(server.is_empty());
}

#[tokio::test]
async fn send_waits_for_room_and_try_send_hands_back() {
    let server = Server::builder()
        .config(engineio_tower::Config {
            outbox_limit: 200,
            ..Default::default()
        })
        .build();
    let (sid, _) = open(&server).await;
    let socket = server.socket(&sid.parse().unwrap()).unwrap();
    socket.try_send("x".repeat(136)).unwrap();
    let error = socket.try_send("y").unwrap_err();
    assert!(matches!(&error, SendError::Full(_)));
    assert_eq!(error.into_message().as_text(), Some("y"));
    let waiting = tokio::spawn({
        let socket = socket.clone();
        async move { socket.send("y").await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    assert_eq!(poll(&server, &sid).await.body().len(), 137);
    waiting.await.unwrap().unwrap();
    assert_eq!(text(&poll(&server, &sid).await), "4y");
}

/// The handlers are run by the task of a POST until it is done with them, also after the upgrade.
#[tokio::test(start_paused = true)]
async fn a_websocket_reads_on_when_a_handler_from_before_the_upgrade_makes_room() {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let (heard, mut hearing) = mpsc::unbounded_channel();
    // It answers nothing: an answer would wake the task of the WebSocket too.
    let server = Server::builder()
        .inbox_limit(200)
        .on_message(move |_: Socket, message: Message| {
            let (gate, heard) = (Arc::clone(&opened), heard.clone());
            async move {
                let text = message.as_text().unwrap().to_owned();
                if text == "first" {
                    gate.acquire().await.unwrap().forget();
                }
                heard.send(text).unwrap();
            }
        })
        .build();
    let (sid, _) = open(&server).await;
    assert_eq!(text(&post(&server, &sid, "4first").await), "ok");
    let mut client = probed(&server, &sid).await;
    send(&mut client, "5").await;
    for n in 0..20 {
        send(&mut client, &format!("4{n}")).await;
    }
    pass(1).await;
    gate.add_permits(1);
    let all = async {
        assert_eq!(hearing.recv().await.unwrap(), "first");
        for n in 0..20 {
            assert_eq!(hearing.recv().await.unwrap(), n.to_string());
        }
    };
    // Long before the next heartbeat, which would set it going again.
    let soon = tokio::time::timeout(Duration::from_secs(5), all).await;
    soon.expect("all messages");
}

/// The data of a message, whose `Drop` panics.
struct Explosive;

impl AsRef<[u8]> for Explosive {
    fn as_ref(&self) -> &[u8] {
        b"x"
    }
}

impl Drop for Explosive {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

#[tokio::test(start_paused = true)]
async fn messages_that_panic_when_they_are_dropped_harm_no_session() {
    for end in ["close packet", "abort", "silence", "poll", "frames"] {
        let (gone, mut goodbye) = mpsc::unbounded_channel();
        let server = Server::builder()
            .on_disconnect(move |_, reason| gone.send(reason).unwrap())
            .build();
        let (sid, _) = open(&server).await;
        let socket = socket(&server, &sid);
        // A second panic while the first one unwinds would end the process.
        for _ in 0..2 {
            socket.try_send(Bytes::from_owner(Explosive)).unwrap();
        }
        let reason = match end {
            "close packet" => {
                let response = post(&server, &sid, "1").await;
                assert_eq!(text(&response), "ok");
                DisconnectReason::Client
            }
            "abort" => {
                socket.abort();
                DisconnectReason::Server
            }
            "silence" => DisconnectReason::PingTimeout,
            "poll" => {
                let response = poll(&server, &sid).await;
                assert_eq!(text(&response), "beA==\x1ebeA==");
                socket.abort();
                DisconnectReason::Server
            }
            _ => {
                let mut client = websocket(&server, &upgrade_query(&sid)).await;
                send(&mut client, "5").await;
                for _ in 0..2 {
                    assert!(receive(&mut client).await.is_some());
                }
                drop(client);
                DisconnectReason::TransportClose
            }
        };
        assert_eq!(goodbye.recv().await, Some(reason), "{end}");
        assert!(server.is_empty());
    }
}
