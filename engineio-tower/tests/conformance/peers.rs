//! What was observed in another Rust server, and does not happen here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use engineio_tower::{
    ConnectRequest, DisconnectReason, Driver, EngineIoService, Socket, Transport,
};
use futures_util::{SinkExt, StreamExt};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tower::ServiceExt;

use crate::support::{
    HANDSHAKE, WEBSOCKET, by, call, code, echo, get, get_request, open, open_websocket, parked,
    pass, poll, post, probed, receive, receive_text, seen, send, socket, text, try_websocket,
    upgrade_query, watched, websocket, websocket_request,
};

fn half_second() -> engineio_tower::ServerBuilder {
    echo()
        .ping_interval(Duration::from_millis(500))
        .ping_timeout(Duration::from_millis(500))
}

// B1
#[tokio::test(start_paused = true)]
async fn a_reader_that_stalls_does_not_keep_its_session_alive() {
    let (server, mut leaving) = watched(half_second());
    let mut client = open_websocket(&server).await;
    let handle = server.sockets().remove(0);
    let start = Instant::now();
    // More than the connection takes; nobody reads on the other side.
    handle.try_send(vec![0; 500_000]).unwrap();
    assert_eq!(leaving.recv().await, Some(DisconnectReason::SlowConsumer));
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    assert!(!handle.is_connected());
    // The connection is given up with the session.
    while client.next().await.is_some_and(|frame| frame.is_ok()) {}
}

// B2
#[tokio::test]
async fn connections_that_break_right_after_the_101_leave_nothing_behind() {
    let connected = Arc::new(AtomicUsize::new(0));
    let builder = echo().on_connect({
        let connected = Arc::clone(&connected);
        move |_: Socket, _: ConnectRequest| {
            connected.fetch_add(1, Ordering::Relaxed);
        }
    });
    let (server, mut leaving) = watched(builder);
    for round in 0..100 {
        let service = EngineIoService::new(server.clone());
        let mut response = service.oneshot(websocket_request(WEBSOCKET)).await.unwrap();
        let driver = Driver::take(&mut response).unwrap();
        let (ours, theirs) = tokio::io::duplex(64);
        match round % 3 {
            // The host never gets to run it.
            0 => drop(driver),
            // The connection is gone when it begins.
            1 => {
                drop(ours);
                driver.run(theirs).await;
            }
            // It is cut off half-way through the open packet.
            _ => {
                let run = tokio::spawn(driver.run(theirs));
                tokio::task::yield_now().await;
                run.abort();
                drop(ours);
            }
        }
        assert_eq!(leaving.recv().await, Some(DisconnectReason::TransportClose));
    }
    assert_eq!(connected.load(Ordering::Relaxed), 100);
    assert!(leaving.try_recv().is_err());
    assert!(server.is_empty());
    assert!(server.sockets().is_empty());
}

// B3
#[tokio::test(start_paused = true)]
async fn a_websocket_that_swallows_everything_does_not_cost_the_session() {
    let server = half_second()
        .upgrade_timeout(Duration::from_millis(300))
        .build();
    let (sid, _) = open(&server).await;
    for _ in 0..5 {
        // A proxy that answers 101 and passes nothing on.
        let mut silent = websocket(&server, &upgrade_query(&sid)).await;
        assert_eq!(receive(&mut silent).await, None);
        assert_eq!(text(&poll(&server, &sid).await), "2");
        post(&server, &sid, "3").await;
    }
    assert_eq!(socket(&server, &sid).transport(), Transport::Polling);
}

// B4
#[tokio::test(start_paused = true)]
async fn a_full_outbox_is_in_the_way_of_neither_heartbeat_nor_upgrade() {
    let (server, mut leaving) = watched(half_second().outbox_limit(1_000));
    let (sid, _) = open(&server).await;
    let handle = socket(&server, &sid);
    let fill = || while handle.try_send("x").is_ok() {};
    fill();
    // The ping is due between two polls, and overtakes what is queued.
    pass(600).await;
    let body = text(&poll(&server, &sid).await);
    assert!(body.starts_with("2\x1e4x\x1e4x"), "{body}");
    post(&server, &sid, "3").await;
    fill();
    let queued = handle.queued_messages();
    let mut client = probed(&server, &sid).await;
    send(&mut client, "5").await;
    for _ in 0..queued {
        assert_eq!(receive_text(&mut client).await, "4x");
    }
    assert!(leaving.try_recv().is_err());
}

// B5
#[tokio::test(start_paused = true)]
async fn polls_are_paced_during_an_upgrade_and_data_is_not_withheld() {
    let server = echo().build();
    let (sid, _) = open(&server).await;
    let mut client = websocket(&server, &upgrade_query(&sid)).await;
    // Before the probe a poll waits as always.
    let waiting = parked(&server, &sid).await;
    assert!(!waiting.is_finished());
    post(&server, &sid, "4data").await;
    assert_eq!(text(&waiting.await.unwrap()), "4data");
    send(&mut client, "2probe").await;
    assert_eq!(receive_text(&mut client).await, "3probe");
    let start = Instant::now();
    let mut polls = 0;
    while start.elapsed() < Duration::from_secs(1) {
        assert_eq!(text(&poll(&server, &sid).await), "6");
        polls += 1;
    }
    // The first is answered at once, the others one in a tenth of a second.
    assert_eq!(polls, 11);
    post(&server, &sid, "4more").await;
    assert_eq!(text(&poll(&server, &sid).await), "4more");
}

// B6
#[tokio::test]
async fn a_close_keeps_what_was_sent_for_the_next_poll() {
    let (server, mut leaving) = watched(echo());
    let (sid, _) = open(&server).await;
    let handle = socket(&server, &sid);
    handle.try_send("bye").unwrap();
    handle.close();
    assert_eq!(text(&poll(&server, &sid).await), "4bye\x1e1");
    assert_eq!(leaving.recv().await, Some(DisconnectReason::Server));
}

// B7
#[tokio::test]
async fn a_second_websocket_of_a_session_is_accepted_and_closed_and_the_first_goes_on() {
    let (server, mut leaving) = watched(echo());
    let (sid, _) = open(&server).await;
    let mut first = websocket(&server, &upgrade_query(&sid)).await;
    let mut second = websocket(&server, &upgrade_query(&sid)).await;
    assert_eq!(receive(&mut second).await, None);
    send(&mut first, "2probe").await;
    assert_eq!(receive_text(&mut first).await, "3probe");
    send(&mut first, "5").await;
    send(&mut first, "4first").await;
    assert_eq!(receive_text(&mut first).await, "4first");
    let mut third = websocket(&server, &upgrade_query(&sid)).await;
    send(&mut third, "4not mine").await;
    assert_eq!(receive(&mut third).await, None);
    send(&mut first, "4still").await;
    assert_eq!(receive_text(&mut first).await, "4still");
    assert!(leaving.try_recv().is_err());
}

// B8
#[tokio::test]
async fn a_socket_can_be_closed_from_a_thread_without_a_runtime() {
    let (server, mut leaving) = watched(echo());
    let (sid, _) = open(&server).await;
    let mut client = open_websocket(&server).await;
    let sockets = server.sockets();
    let closing = std::thread::spawn(move || {
        for socket in sockets {
            socket.try_send("last").unwrap();
            socket.close();
        }
    });
    closing.join().unwrap();
    assert_eq!(text(&poll(&server, &sid).await), "4last\x1e1");
    assert_eq!(receive_text(&mut client).await, "4last");
    for _ in 0..2 {
        assert_eq!(leaving.recv().await, Some(DisconnectReason::Server));
    }
}

// B9
#[tokio::test(start_paused = true)]
async fn the_first_ping_comes_after_one_interval() {
    let server = echo().build();
    let start = Instant::now();
    let (sid, packets) = open(&server).await;
    assert!(packets.is_empty());
    let mut client = open_websocket(&server).await;
    assert_eq!(text(&poll(&server, &sid).await), "2");
    assert_eq!(start.elapsed(), Duration::from_secs(25));
    assert_eq!(receive_text(&mut client).await, "2");
    assert_eq!(start.elapsed(), Duration::from_secs(25));
}

// B10
#[tokio::test]
async fn a_websocket_handshake_is_checked_before_the_101() {
    let server = echo().build();
    let refused = try_websocket(&server, &upgrade_query("unknown")).await;
    assert_eq!(
        seen(&refused.unwrap_err()),
        (400, r#"{"code":1,"message":"Session ID unknown"}"#.into())
    );
    for (header, value, status) in [
        ("upgrade", None, 400),
        ("connection", None, 400),
        ("connection", Some("keep-alive"), 400),
        ("sec-websocket-key", None, 400),
        ("sec-websocket-key", Some("short"), 400),
        ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZ§=="), 400),
        ("sec-websocket-version", None, 400),
        ("sec-websocket-version", Some("8"), 426),
    ] {
        let mut request = websocket_request(WEBSOCKET);
        match value {
            Some(value) => {
                let value = http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
                request.headers_mut().insert(header, value);
            }
            None => {
                request.headers_mut().remove(header);
            }
        }
        let refused = call(&server, request).await;
        assert_eq!(refused.status(), status, "{header}: {value:?}");
        assert_eq!(code(&refused), 3, "{header}: {value:?}");
        let version = refused.headers().get("sec-websocket-version");
        assert_eq!(version.is_some(), status == 426);
    }
    assert!(server.is_empty());
}

// B11
#[tokio::test]
async fn every_refusal_has_a_number_and_a_text() {
    let server = echo().transports([Transport::Polling]).build();
    let disabled = try_websocket(&server, WEBSOCKET).await.unwrap_err();
    assert_eq!(
        disabled.body(),
        r#"{"code":0,"message":"Transport unknown"}"#
    );
    let (sid, _) = open(&server).await;
    let patch = call(
        &server,
        by("PATCH", get_request(&format!("{HANDSHAKE}&sid={sid}"))),
    )
    .await;
    assert_eq!(
        seen(&patch),
        (405, r#"{"code":3,"message":"Method not allowed"}"#.into())
    );
    let first = parked(&server, &sid).await;
    let second = poll(&server, &sid).await;
    assert_eq!(
        seen(&second),
        (400, r#"{"code":3,"message":"Bad request"}"#.into())
    );
    assert_eq!(text(&first.await.unwrap()), "1");
}

// B12
#[tokio::test]
async fn only_what_would_be_accepted_is_offered() {
    let server = echo().transports([Transport::Polling]).build();
    let body = text(&get(&server, HANDSHAKE).await);
    assert!(body.contains(r#""upgrades":[]"#), "{body}");
}

// B13
#[tokio::test]
async fn a_client_that_wants_base64_on_a_websocket_sends_and_gets_it() {
    let server = echo().build();
    let mut client = websocket(&server, &format!("{WEBSOCKET}&b64=1")).await;
    receive(&mut client).await;
    send(&mut client, "bAQIDBA==").await;
    assert_eq!(receive_text(&mut client).await, "bAQIDBA==");
    let binary = Message::binary(&[0xff][..]);
    client.send(binary).await.unwrap();
    assert_eq!(receive_text(&mut client).await, "b/w==");
}

// B14
#[tokio::test(start_paused = true)]
async fn only_a_pong_to_this_ping_is_an_answer() {
    let (server, mut leaving) = watched(half_second());
    let mut client = open_websocket(&server).await;
    assert_eq!(receive_text(&mut client).await, "2");
    send(&mut client, "2").await;
    assert_eq!(leaving.recv().await, Some(DisconnectReason::TransportError));

    let start = Instant::now();
    let mut client = open_websocket(&server).await;
    assert_eq!(receive_text(&mut client).await, "2");
    // The second of these is nobody's answer, and no credit for the next ping.
    send(&mut client, "3").await;
    send(&mut client, "3").await;
    assert_eq!(receive_text(&mut client).await, "2");
    assert_eq!(leaving.recv().await, Some(DisconnectReason::PingTimeout));
    assert_eq!(start.elapsed(), Duration::from_millis(1_500));
}

// B15
#[tokio::test]
async fn of_two_posts_the_later_is_refused_and_nothing_interleaves() {
    let (server, mut leaving) = watched(echo());
    let (sid, _) = open(&server).await;
    let slow = http::Request::post(format!("/engine.io/?{HANDSHAKE}&sid={sid}"))
        .body(http_body_util::StreamBody::new(
            futures_util::stream::pending::<Result<http_body::Frame<bytes::Bytes>, std::io::Error>>(
            ),
        ))
        .unwrap();
    let first = tokio::spawn(EngineIoService::new(server.clone()).oneshot(slow));
    tokio::task::yield_now().await;
    let second = post(&server, &sid, "4b1\x1e4b2").await;
    assert_eq!(code(&second), 3);
    assert_eq!(first.await.unwrap().unwrap().status(), 400);
    assert_eq!(leaving.recv().await, Some(DisconnectReason::TransportError));
    assert_eq!(code(&poll(&server, &sid).await), 1);
}

// B16
#[tokio::test]
async fn the_limit_that_is_announced_holds_on_a_websocket_too() {
    let (server, mut leaving) = watched(echo().max_payload(100_000));
    let mut client = open_websocket(&server).await;
    let size = 300_000;
    let large = tokio::spawn(async move {
        // It fails when the server closes; what counts is that it is never accepted.
        let _ = client.send(Message::binary(vec![0; size])).await;
        client
    });
    assert_eq!(
        leaving.recv().await,
        Some(DisconnectReason::PayloadTooLarge)
    );
    drop(large.await.unwrap());
}

// B17
#[tokio::test(start_paused = true)]
async fn an_aborted_poll_is_noticed_at_once() {
    let (server, mut leaving) = watched(echo());
    let (sid, _) = open(&server).await;
    let start = Instant::now();
    parked(&server, &sid).await.abort();
    assert_eq!(leaving.recv().await, Some(DisconnectReason::TransportError));
    assert_eq!(start.elapsed(), Duration::ZERO);
}
