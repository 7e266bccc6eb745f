//! Sessions that move from polling to WebTransport.

use engineio_tower::{DisconnectReason, Transport};
use serde_json::json;

use crate::support::{Harness, Peer, echo, start, within};

/// Opens a session by polling, and a stream that names it.
async fn candidate(harness: &Harness) -> (Peer, String) {
    let open = harness.poll_open().await;
    let sid = open["sid"].as_str().unwrap().to_owned();
    let mut peer = harness.stream().await;
    peer.send_frame(engineio_core::Frame::text(format!(r#"0{{"sid":"{sid}"}}"#)))
        .await;
    (peer, sid)
}

#[tokio::test]
async fn a_session_moves_without_losing_a_message() {
    let mut harness = start(echo()).await;
    let open = harness.poll_open().await;
    assert_eq!(open["upgrades"], json!(["websocket", "webtransport"]));
    let (mut peer, sid) = candidate(&harness).await;
    let query = format!("&sid={sid}");
    harness.http(&query, Some("4before")).await;
    peer.send(b"\x062probe").await;
    assert_eq!(peer.read().await.unwrap(), (0x06, b"3probe".to_vec()));
    // The poll brings what was sent before the move, or the noop that ends it.
    let polled = harness.http(&query, None).await;
    assert!(["4before", "6"].contains(&std::str::from_utf8(polled.body()).unwrap()));
    peer.send(b"\x015").await;
    peer.send(b"\x064after").await;
    let mut messages = vec![peer.text().await];
    if polled.body() == "6" {
        messages.push(peer.text().await);
        assert_eq!(messages, ["4before", "4after"]);
    } else {
        assert_eq!(messages, ["4after"]);
    }
    let socket = harness.server.socket(&sid.parse().unwrap()).unwrap();
    assert_eq!(socket.transport(), Transport::WebTransport);
    socket.close();
    assert_eq!(peer.rest().await, ["1"]);
    let end = (DisconnectReason::Server, Transport::WebTransport);
    assert_eq!(harness.end().await, end);
}

#[tokio::test]
async fn a_session_is_told_of_the_transport_only_while_somebody_listens() {
    let harness = start(echo()).await;
    let upgrades = harness.poll_open().await["upgrades"].clone();
    assert_eq!(upgrades, json!(["websocket", "webtransport"]));
    harness.serving.abort();
    // It has ended when its handle says so.
    let server = harness.server.clone();
    assert!(harness.serving.await.unwrap_err().is_cancelled());
    let request = http::Request::get("/engine.io/?EIO=4&transport=polling");
    let body = http_body_util::Full::<bytes::Bytes>::default();
    let response = within(server.respond(request.body(body).unwrap())).await;
    let open: serde_json::Value = serde_json::from_slice(&response.body()[1..]).unwrap();
    assert_eq!(open["upgrades"], json!(["websocket"]));
}

#[tokio::test]
async fn a_first_packet_that_names_no_session_by_polling_closes_the_connection() {
    let harness = start(echo()).await;
    let (mut first, direct) = harness.open().await;
    let error = (1002, "transport error".to_owned());
    for packet in [
        // No open packet.
        "1".to_owned(),
        "2probe".to_owned(),
        "x".to_owned(),
        // No session.
        r#"0{"sid":"abc"}"#.to_owned(),
        r#"0{"sid":"__proto__"}"#.to_owned(),
        r#"0{"sid":5}"#.to_owned(),
        "0{}".to_owned(),
        "0{".to_owned(),
        // A session that is reached by WebTransport already: it cannot be taken over.
        format!(r#"0{{"sid":"{direct}"}}"#),
        // Longer than a packet with a session id can be.
        "0".repeat(257),
    ] {
        let mut peer = harness.stream().await;
        peer.send_frame(engineio_core::Frame::text(packet.clone()))
            .await;
        assert_eq!(peer.closed().await, error, "{packet}");
    }
    for bytes in [&b"\x81\x02"[..], b"\x00", b"\x80"] {
        let mut peer = harness.stream().await;
        peer.send(bytes).await;
        assert_eq!(peer.closed().await, error, "{bytes:?}");
    }
    // The session that was named goes on.
    first.send(b"\x064still").await;
    assert_eq!(first.text().await, "4still");
}

#[tokio::test]
async fn a_failed_upgrade_leaves_the_session_at_polling() {
    let harness = start(echo()).await;
    let (mut peer, sid) = candidate(&harness).await;
    peer.send(b"\x034no").await;
    peer.closed().await;
    let query = format!("&sid={sid}");
    harness.http(&query, Some("4hello")).await;
    assert_eq!(harness.http(&query, None).await.body(), "4hello");
    // And it may try again.
    let mut again = harness.stream().await;
    again
        .send_frame(engineio_core::Frame::text(format!(r#"0{{"sid":"{sid}"}}"#)))
        .await;
    again.send(b"\x062probe").await;
    assert_eq!(again.text().await, "3probe");
}

#[tokio::test]
async fn a_second_stream_for_one_session_is_closed_and_the_first_goes_on() {
    let harness = start(echo()).await;
    let (mut peer, sid) = candidate(&harness).await;
    peer.send(b"\x062probe").await;
    assert_eq!(peer.text().await, "3probe");
    let mut second = harness.stream().await;
    second
        .send_frame(engineio_core::Frame::text(format!(r#"0{{"sid":"{sid}"}}"#)))
        .await;
    assert_eq!(second.closed().await.0, 1002);
    peer.send(b"\x015\x064after").await;
    assert_eq!(peer.text().await, "4after");
}
