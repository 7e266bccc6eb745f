//! Requests on a polling session.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use engineio_tower::{DisconnectReason, EngineIoService, Message, Server, Socket};
use http::Request;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::mpsc;
use tower::ServiceExt;

use crate::support::{
    HANDSHAKE, call, code, echo, get_request, open, parked, poll, post, post_request, seen, socket,
    text, watched,
};

const OK: (u16, &str) = (200, "ok");

fn is(response: &http::Response<Bytes>, expected: (u16, &str)) {
    assert_eq!(seen(response), (expected.0, expected.1.to_owned()));
}

/// A server that tells what its message handler gets.
fn recorder() -> (Server, mpsc::UnboundedReceiver<Message>) {
    let (told, messages) = mpsc::unbounded_channel();
    let server = Server::builder().on_message(move |_: Socket, message: Message| {
        let _ = told.send(message);
    });
    (server.allow_jsonp(true).build(), messages)
}

fn received(messages: &mut mpsc::UnboundedReceiver<Message>) -> Vec<Message> {
    std::iter::from_fn(|| messages.try_recv().ok()).collect()
}

// python row 27
// python row 28
// python row 30
#[tokio::test]
async fn text_comes_back_as_it_was_sent_whatever_it_looks_like() {
    let server = echo().build();
    let (sid, _) = open(&server).await;
    for body in [
        "4hello",
        "4{\"a\": 1, \"b\":\"é\"}",
        "4true",
        "4null",
        "4\"str\"",
        "4",
    ] {
        let posted = post(&server, &sid, body).await;
        is(&posted, OK);
        assert_eq!(posted.headers()["content-type"], "text/html");
        is(&poll(&server, &sid).await, (200, body));
    }
}

// python row 29
// python row 31
#[tokio::test]
async fn text_is_never_read_as_json_unasked() {
    let (server, mut messages) = recorder();
    let (sid, _) = open(&server).await;
    let long = format!("[{}]", "1".repeat(101));
    for sent in ["123", " 123", "-5", "1.5", "{\"a\":1}", &long] {
        post(&server, &sid, format!("4{sent}")).await;
        let message = messages.recv().await.unwrap();
        assert_eq!(message, Message::from(sent));
    }
    post(&server, &sid, "4-5").await;
    let asked = messages.recv().await.unwrap().parse_json::<i32>();
    assert_eq!(asked.unwrap(), -5);
}

// python row 32
#[tokio::test]
async fn base64_is_read_strictly() {
    let (server, mut messages) = recorder();
    let (sid, _) = open(&server).await;
    for (body, bytes) in [
        ("bAQID", &[1, 2, 3][..]),
        ("b", &[]),
        ("bAQI", &[1, 2]),
        ("bAQI=", &[1, 2]),
    ] {
        is(&post(&server, &sid, body).await, OK);
        assert_eq!(
            messages.recv().await.unwrap(),
            Message::from(bytes.to_vec()),
            "{body}"
        );
    }
    assert_eq!(code(&post(&server, &sid, "b!!!!").await), 3);
    assert_eq!(code(&poll(&server, &sid).await), 1);
}

// python row 33
#[tokio::test]
async fn a_payload_may_have_any_number_of_packets() {
    let (server, mut messages) = recorder();
    let (sid, _) = open(&server).await;
    for count in [16, 17, 5_000] {
        let body: Vec<_> = (0..count).map(|n| format!("4{n}")).collect();
        is(&post(&server, &sid, body.join("\x1e")).await, OK);
        // The POST is answered when there is room for all of them; the last ones are handled a little later.
        for packet in &body {
            let message = messages.recv().await.unwrap();
            assert_eq!(message.as_text(), Some(&packet[1..]));
        }
    }
}

// python row 34
#[tokio::test]
async fn a_malformed_payload_is_refused_and_ends_the_session() {
    let (server, mut leaving) = watched(echo());
    for body in [&b"x"[..], b"", b"4a\x1e", b"\x1e4a", b"4\xff", b"d="] {
        let (sid, _) = open(&server).await;
        let refused = post(&server, &sid, body).await;
        is(&refused, (400, r#"{"code":3,"message":"Bad request"}"#));
        assert_eq!(leaving.recv().await, Some(DisconnectReason::ParseError));
        assert_eq!(code(&poll(&server, &sid).await), 1);
    }
}

// python row 35
#[tokio::test]
async fn a_form_is_read_where_jsonp_was_asked_for_and_nowhere_else() {
    let (server, mut messages) = recorder();
    let (sid, _) = open(&server).await;
    let query = format!("{HANDSHAKE}&sid={sid}&j=0");
    for (body, expected) in [("d=4a%1E4b", &["a", "b"][..]), ("d=4a+b%2Bc", &["a b+c"])] {
        let form = Request::post(format!("/engine.io/?{query}")).body(body.into());
        is(&call(&server, form.unwrap()).await, OK);
        let received = received(&mut messages);
        let texts: Vec<_> = received.iter().filter_map(Message::as_text).collect();
        assert_eq!(texts, expected);
    }
    assert_eq!(post(&server, &sid, "d=4a").await.status(), 400);
}

// python row 36
#[tokio::test]
async fn packets_out_of_place_are_passed_over_and_a_ping_is_an_offence() {
    let (server, mut leaving) = watched(echo());
    let (sid, _) = open(&server).await;
    let waiting = parked(&server, &sid).await;
    for body in ["6", "0", "0{}"] {
        is(&post(&server, &sid, body).await, OK);
    }
    post(&server, &sid, "4still here").await;
    is(&waiting.await.unwrap(), (200, "4still here"));
    assert_eq!(server.len(), 1);
    for body in ["2", "2probe"] {
        let (sid, _) = open(&server).await;
        let waiting = parked(&server, &sid).await;
        assert_eq!(code(&post(&server, &sid, body).await), 3);
        is(&waiting.await.unwrap(), (200, "1"));
        assert_eq!(leaving.recv().await, Some(DisconnectReason::TransportError));
        assert_eq!(code(&poll(&server, &sid).await), 1);
    }
}

// python row 37
#[tokio::test]
async fn a_packet_of_no_known_type_is_malformed() {
    let (server, mut leaving) = watched(echo());
    for body in ["7", "8", "9", "9x", "٤x"] {
        let (sid, _) = open(&server).await;
        let waiting = parked(&server, &sid).await;
        assert_eq!(code(&post(&server, &sid, body).await), 3, "{body}");
        is(&waiting.await.unwrap(), (200, "1"));
        assert_eq!(leaving.recv().await, Some(DisconnectReason::ParseError));
    }
}

// python row 38
#[tokio::test]
async fn a_packet_out_of_place_does_not_cost_those_after_it() {
    let (server, mut messages) = recorder();
    let (sid, _) = open(&server).await;
    is(&post(&server, &sid, "4a\x1e6\x1e4b").await, OK);
    assert_eq!(received(&mut messages), ["a", "b"].map(Message::from));
}

// python row 39
#[tokio::test]
async fn an_upgrade_packet_by_post_is_passed_over() {
    let server = echo().build();
    let (sid, _) = open(&server).await;
    let waiting = parked(&server, &sid).await;
    is(&post(&server, &sid, "5").await, OK);
    assert!(!waiting.is_finished());
    post(&server, &sid, "4x").await;
    is(&waiting.await.unwrap(), (200, "4x"));
}

// python row 40
// python row 41
#[tokio::test]
async fn after_a_close_packet_the_poll_that_it_overtook_gets_a_noop_and_the_rest_nothing() {
    let (server, mut leaving) = watched(echo());
    let (sid, _) = open(&server).await;
    is(&post(&server, &sid, "1").await, OK);
    assert_eq!(leaving.recv().await, Some(DisconnectReason::Client));
    assert_eq!(code(&post(&server, &sid, "4x").await), 1);
    is(&poll(&server, &sid).await, (200, "6"));
    assert_eq!(code(&poll(&server, &sid).await), 1);
    // What comes behind a close packet is late.
    let (server, mut messages) = recorder();
    let (sid, _) = open(&server).await;
    is(&post(&server, &sid, "4a\x1e1\x1e4b").await, OK);
    assert_eq!(received(&mut messages), [Message::from("a")]);
}

// python row 42
#[tokio::test(start_paused = true)]
async fn a_close_packet_wakes_the_poll_that_waits() {
    let (server, mut leaving) = watched(echo());
    let (sid, _) = open(&server).await;
    let start = tokio::time::Instant::now();
    let waiting = parked(&server, &sid).await;
    is(&post(&server, &sid, "1").await, OK);
    is(&waiting.await.unwrap(), (200, "6"));
    assert_eq!(leaving.recv().await, Some(DisconnectReason::Client));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

// python row 43
#[tokio::test]
async fn a_body_may_be_as_large_as_announced_and_not_larger() {
    let (server, mut leaving) = watched(echo().max_payload(100));
    let (sid, _) = open(&server).await;
    let waiting = parked(&server, &sid).await;
    let exact = format!("4{}", "x".repeat(99));
    is(&post(&server, &sid, exact.clone()).await, OK);
    is(&waiting.await.unwrap(), (200, &exact));
    let waiting = parked(&server, &sid).await;
    let refused = post(&server, &sid, format!("{exact}x")).await;
    is(
        &refused,
        (413, r#"{"code":3,"message":"Payload too large"}"#),
    );
    is(&waiting.await.unwrap(), (200, "1"));
    assert_eq!(
        leaving.recv().await,
        Some(DisconnectReason::PayloadTooLarge)
    );
}

/// A POST in chunks, whose length nobody has announced.
async fn post_chunks(server: &Server, sid: &str, chunks: &[&'static str]) -> u16 {
    let frames: Vec<_> = chunks
        .iter()
        .map(|chunk| Ok::<_, Infallible>(Frame::data(Bytes::from_static(chunk.as_bytes()))))
        .collect();
    let request = Request::post(format!("/engine.io/?{HANDSHAKE}&sid={sid}"))
        .body(StreamBody::new(futures_util::stream::iter(frames)));
    let service = EngineIoService::new(server.clone());
    let response = service.oneshot(request.unwrap()).await.unwrap();
    response.status().as_u16()
}

// python row 44
#[tokio::test]
async fn a_body_without_a_length_is_read_in_pieces_and_within_the_same_limit() {
    let (server, mut leaving) = watched(echo().max_payload(100));
    let (sid, _) = open(&server).await;
    let chunks = ["4he", "ll", "o\x1e4€"];
    assert_eq!(post_chunks(&server, &sid, &chunks).await, 200);
    is(&poll(&server, &sid).await, (200, "4hello\x1e4€"));
    let sixty = "4xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    assert_eq!(post_chunks(&server, &sid, &[sixty, sixty]).await, 413);
    assert_eq!(
        leaving.recv().await,
        Some(DisconnectReason::PayloadTooLarge)
    );
}

// python row 45
#[tokio::test]
async fn of_two_polls_the_later_is_refused_and_the_session_ends() {
    let (server, mut leaving) = watched(echo());
    let (sid, _) = open(&server).await;
    let first = parked(&server, &sid).await;
    assert_eq!(code(&poll(&server, &sid).await), 3);
    is(&first.await.unwrap(), (200, "1"));
    assert_eq!(leaving.recv().await, Some(DisconnectReason::TransportError));
    assert_eq!(code(&post(&server, &sid, "4one").await), 1);
}

// python row 46
#[tokio::test]
async fn an_aborted_poll_takes_no_message_along_and_the_application_is_told_at_once() {
    let (server, mut leaving) = watched(echo());
    let (sid, _) = open(&server).await;
    let handle = socket(&server, &sid);
    let waiting = parked(&server, &sid).await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert_eq!(leaving.recv().await, Some(DisconnectReason::TransportError));
    let error = handle.try_send("not lost").unwrap_err();
    assert_eq!(error.into_message().as_text(), Some("not lost"));
    assert_eq!(code(&poll(&server, &sid).await), 1);
}

// python row 47
#[tokio::test]
async fn one_poll_takes_everything_unless_packets_are_limited() {
    let all: Vec<_> = (0..20).map(|n| format!("4{n}")).collect();
    let server = echo().build();
    let (sid, _) = open(&server).await;
    post(&server, &sid, "4twenty").await;
    is(&poll(&server, &sid).await, (200, &all.join("\x1e")));
    let server = echo().max_poll_packets(16).build();
    let (sid, _) = open(&server).await;
    post(&server, &sid, "4twenty").await;
    is(&poll(&server, &sid).await, (200, &all[..16].join("\x1e")));
    is(&poll(&server, &sid).await, (200, &all[16..].join("\x1e")));
}

// python row 48
#[tokio::test]
async fn a_client_that_is_disconnected_is_told_so_by_the_poll_that_waits() {
    let (server, mut leaving) = watched(echo());
    let (sid, _) = open(&server).await;
    let waiting = parked(&server, &sid).await;
    is(&post(&server, &sid, "4kick").await, OK);
    is(&waiting.await.unwrap(), (200, "1"));
    assert_eq!(code(&poll(&server, &sid).await), 1);
    assert_eq!(leaving.recv().await, Some(DisconnectReason::Server));
}

// python row 49
// python row 50
#[tokio::test]
async fn a_poll_is_compressed_from_the_threshold_on_as_the_client_prefers() {
    let server = echo().build();
    let (sid, _) = open(&server).await;
    for (size, accept, expected) in [
        (1_023, "gzip", None),
        (1_024, "gzip", Some("gzip")),
        (1_024, "br, deflate, gzip", Some("gzip")),
        (1_024, "deflate, gzip;q=0.5", Some("deflate")),
        (1_024, "gzip;q=0", None),
        (1_024, "GZIP", Some("gzip")),
        (1_024, "*", Some("gzip")),
    ] {
        post(&server, &sid, format!("4{}", "x".repeat(size - 1))).await;
        let mut request = get_request(&format!("{HANDSHAKE}&sid={sid}"));
        let headers = request.headers_mut();
        headers.insert("accept-encoding", accept.parse().unwrap());
        let response = call(&server, request).await;
        let used = response.headers().get("content-encoding");
        assert_eq!(
            used.map(|used| used.to_str().unwrap()),
            expected,
            "{size} {accept}"
        );
        if expected == Some("deflate") {
            assert_eq!(response.body()[0], 0x78, "deflate has the wrapper of zlib");
        }
    }
}

// python row 83
#[tokio::test]
async fn a_post_is_answered_before_a_slow_handler_is_done() {
    let gate = std::sync::Arc::new(tokio::sync::Notify::new());
    let server = Server::builder()
        .on_message({
            let gate = gate.clone();
            move |socket: Socket, message: Message| {
                let gate = gate.clone();
                async move {
                    gate.notified().await;
                    let _ = socket.send(message).await;
                }
            }
        })
        .build();
    let (sid, _) = open(&server).await;
    is(&post(&server, &sid, "4a").await, OK);
    let waiting = parked(&server, &sid).await;
    assert!(!waiting.is_finished());
    gate.notify_one();
    is(&waiting.await.unwrap(), (200, "4a"));
}

// python row 84
#[tokio::test]
async fn a_handler_that_panics_costs_its_client_the_connection() {
    let (server, mut leaving) = watched(echo());
    let (bystander, _) = open(&server).await;
    let (sid, _) = open(&server).await;
    let posted = post(&server, &sid, "4panic").await;
    assert_eq!(posted.status(), 200, "the packets themselves were in order");
    assert_eq!(leaving.recv().await, Some(DisconnectReason::HandlerPanic));
    assert_eq!(code(&poll(&server, &sid).await), 1);
    post(&server, &bystander, "4fine").await;
    is(&poll(&server, &bystander).await, (200, "4fine"));
}

// python row 90
// python row 99
#[tokio::test]
async fn mistakes_of_the_application_come_back_to_it() {
    let server = echo().build();
    let nobody = "nobody".parse().unwrap();
    let error = server.send(&nobody, "x").await.unwrap_err();
    assert_eq!(error.into_message().as_text(), Some("x"));
    assert!(!server.disconnect(&nobody).await);
    assert!(server.socket(&nobody).is_none());
    // A map whose keys are not text has no JSON; nothing is queued that could not be sent.
    let keys = std::collections::HashMap::from([(vec![1_u8], 1)]);
    assert!(Message::json(&keys).is_err());
    let (sid, _) = open(&server).await;
    let gone = socket(&server, &sid);
    call(&server, post_request(&sid, "1")).await;
    assert!(gone.try_send("x").is_err());
    assert!(gone.disconnect_reason().is_some());
    gone.close();
    assert!(text(&poll(&server, &sid).await) == "6");
}
