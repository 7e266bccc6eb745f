//! Behaviours of the reference server that no other test shows; all are listed in `docs/CONFORMANCE.md`.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use engineio_tower::{
    ConnectRequest, DisconnectReason, Driver, EngineIoService, PeerAddr, SendOptions, Server, Sid,
    Socket, Transport,
};
use futures_util::{SinkExt, StreamExt};
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tower::ServiceExt;

use crate::support::{
    HANDSHAKE, WEBSOCKET, call, code, echo, get, get_request, open, open_websocket, parked, pass,
    poll, post, post_request, probed, receive, receive_text, seen, send, socket, text,
    try_websocket, upgrade_query, watched, websocket, websocket_request, with,
};

/// Opens a session by WebSocket; gives the bare stream behind the open packet.
async fn open_stream(server: &Server) -> DuplexStream {
    let service = EngineIoService::new(server.clone());
    let mut response = service.oneshot(websocket_request(WEBSOCKET)).await.unwrap();
    let driver = Driver::take(&mut response).unwrap();
    let (mut ours, theirs) = tokio::io::duplex(4_096);
    tokio::spawn(driver.run(theirs));
    let mut head = [0; 2];
    ours.read_exact(&mut head).await.unwrap();
    let mut open = vec![0; usize::from(head[1])];
    ours.read_exact(&mut open).await.unwrap();
    assert!(open.starts_with(b"0{"));
    ours
}

/// The code of the close frame that comes next.
async fn close_frame(stream: &mut DuplexStream) -> u16 {
    let mut frame = [0; 4];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[0], 0x88, "{frame:02x?}");
    u16::from_be_bytes([frame[2], frame[3]])
}

#[tokio::test]
async fn frames_that_break_the_rules_of_websockets_close_with_the_code_for_it() {
    let (server, mut leaving) = watched(echo().max_payload(1_000));
    for (name, frame, code, reason) in [
        (
            "reserved bits",
            &[0xf1, 0x80, 0, 0, 0, 0][..],
            1002,
            DisconnectReason::TransportError,
        ),
        (
            "no mask",
            &[0x81, 0x02, b'4', b'a'],
            1002,
            DisconnectReason::TransportError,
        ),
        (
            "not UTF-8",
            &[0x81, 0x82, 0, 0, 0, 0, b'4', 0xff],
            1007,
            DisconnectReason::TransportError,
        ),
        (
            "a length beyond the limit, before what it is the length of",
            &[0x82, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0],
            1009,
            DisconnectReason::PayloadTooLarge,
        ),
    ] {
        let mut stream = open_stream(&server).await;
        stream.write_all(frame).await.unwrap();
        assert_eq!(close_frame(&mut stream).await, code, "{name}");
        assert_eq!(leaving.recv().await, Some(reason), "{name}");
    }
}

#[tokio::test]
async fn a_message_in_fragments_is_one_message() {
    let server = echo().build();
    let mut stream = open_stream(&server).await;
    let fragments = [
        &[0x01, 0x82, 0, 0, 0, 0, b'4', b'a'][..],
        // A ping of the WebSocket layer may come between.
        &[0x89, 0x80, 0, 0, 0, 0],
        &[0x80, 0x81, 0, 0, 0, 0, b'b'],
    ];
    stream.write_all(&fragments.concat()).await.unwrap();
    let mut answers = [0; 7];
    stream.read_exact(&mut answers).await.unwrap();
    assert_eq!(answers, [0x8a, 0, 0x81, 3, b'4', b'a', b'b']);
}

#[tokio::test]
async fn a_post_of_bytes_is_refused_and_ends_the_session() {
    let (server, mut leaving) = watched(echo());
    let (sid, _) = open(&server).await;
    let bytes = with(
        "content-type",
        "application/octet-stream",
        post_request(&sid, "4a"),
    );
    assert_eq!(code(&call(&server, bytes).await), 3);
    assert_eq!(leaving.recv().await, Some(DisconnectReason::TransportError));
    let (sid, _) = open(&server).await;
    for kind in ["text/plain;charset=UTF-8", "text/html", "application/json"] {
        let other = with("content-type", kind, post_request(&sid, "4a"));
        assert_eq!(call(&server, other).await.status(), 200, "{kind}");
    }
}

type Pieces = Vec<Result<Frame<Bytes>, std::io::Error>>;

fn piece(text: &'static str) -> Result<Frame<Bytes>, std::io::Error> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

#[tokio::test]
async fn a_post_that_breaks_off_ends_the_session_and_none_of_it_counts() {
    let (server, mut leaving) = watched(echo());
    let post_to = |sid: &str| Request::post(format!("/engine.io/?{HANDSHAKE}&sid={sid}"));
    // The host says that the body failed.
    let (sid, _) = open(&server).await;
    let pieces: Pieces = vec![
        piece("4a\x1e4"),
        Err(std::io::ErrorKind::ConnectionReset.into()),
    ];
    let body = StreamBody::new(futures_util::stream::iter(pieces));
    let service = EngineIoService::new(server.clone());
    let response = service.oneshot(post_to(&sid).body(body).unwrap()).await;
    assert_eq!(response.unwrap().status(), 400);
    assert_eq!(leaving.recv().await, Some(DisconnectReason::TransportError));
    // The host drops the future.
    let (sid, _) = open(&server).await;
    let pieces = futures_util::stream::iter([piece("4a")]).chain(futures_util::stream::pending());
    let service = EngineIoService::new(server.clone());
    let request = post_to(&sid).body(StreamBody::new(pieces)).unwrap();
    let posting = tokio::spawn(service.oneshot(request));
    tokio::task::yield_now().await;
    posting.abort();
    assert_eq!(leaving.recv().await, Some(DisconnectReason::TransportError));
}

#[tokio::test]
async fn a_limit_of_a_layer_in_front_is_answered_like_our_own() {
    let (server, mut leaving) = watched(echo());
    let (sid, _) = open(&server).await;
    let pieces: Pieces = vec![piece("4aaaa"), piece("aaaaaaaa")];
    let body = StreamBody::new(futures_util::stream::iter(pieces));
    let request = Request::post(format!("/engine.io/?{HANDSHAKE}&sid={sid}"));
    let service = EngineIoService::new(server.clone());
    let response = service
        .oneshot(request.body(Limited::new(body, 10)).unwrap())
        .await
        .unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(
        leaving.recv().await,
        Some(DisconnectReason::PayloadTooLarge)
    );
}

#[tokio::test]
async fn headers_are_added_to_the_101_as_to_polls() {
    let (told, mut calls) = mpsc::unbounded_channel();
    let server = echo()
        .headers(|_, headers| {
            headers.insert("x-every", "1".parse().unwrap());
        })
        .initial_headers(move |head, headers| {
            told.send(head.uri.query().unwrap().to_owned()).unwrap();
            headers.insert("x-first", "1".parse().unwrap());
        })
        .build();
    let accepted = call(&server, websocket_request(WEBSOCKET)).await;
    assert!(accepted.headers().contains_key("x-every"));
    assert!(accepted.headers().contains_key("x-first"));
    assert_eq!(calls.recv().await.unwrap(), WEBSOCKET);
    let (sid, _) = open(&server).await;
    calls.recv().await.unwrap();
    let upgrade = call(&server, websocket_request(&upgrade_query(&sid))).await;
    assert!(upgrade.headers().contains_key("x-every"));
    assert!(!upgrade.headers().contains_key("x-first"));
    assert!(calls.try_recv().is_err(), "once for each session");
}

#[tokio::test]
async fn the_address_of_the_peer_is_known_by_either_transport() {
    let (told, mut peers) = mpsc::unbounded_channel();
    let server = echo()
        .on_connect(move |socket: Socket, request: ConnectRequest| {
            assert_eq!(socket.peer_addr(), request.peer_addr());
            told.send((socket.peer_addr(), request.transport()))
                .unwrap();
        })
        .build();
    let peer = SocketAddr::from(([10, 0, 0, 1], 7));
    for (mut request, transport) in [
        (get_request(HANDSHAKE), Transport::Polling),
        (websocket_request(WEBSOCKET), Transport::WebSocket),
    ] {
        request.extensions_mut().insert(PeerAddr(peer));
        call(&server, request).await;
        assert_eq!(peers.recv().await, Some((Some(peer), transport)));
    }
    open(&server).await;
    assert_eq!(peers.recv().await, Some((None, Transport::Polling)));
}

#[tokio::test]
async fn a_connect_handler_sees_the_request_and_may_close_instead_of_refusing() {
    let server = echo()
        .on_connect(|socket: Socket, request: ConnectRequest| {
            assert_eq!(request.query("a").as_deref(), Some("é &"));
            assert_eq!(request.headers()["x-token"], "secret");
            if request.query("out").is_some() {
                socket.close();
            }
        })
        .build();
    for (query, status) in [("a=%C3%A9+%26", 200), ("a=%C3%A9+%26&out=1", 401)] {
        let request = get_request(&format!("{HANDSHAKE}&{query}"));
        let response = call(&server, with("x-token", "secret", request)).await;
        assert_eq!(response.status(), status);
    }
    assert_eq!(server.len(), 1);
}

#[tokio::test]
async fn a_source_of_ids_that_fails_refuses_the_client() {
    let server = echo()
        .generate_sid(|head| {
            let fail = head.uri.query().is_some_and(|query| query.contains("fail"));
            async move {
                assert!(!fail, "asked for");
                Sid::from_random([1; 15])
            }
        })
        .build();
    assert_eq!(
        get(&server, &format!("{HANDSHAKE}&fail")).await.status(),
        500
    );
    let refused = try_websocket(&server, &format!("{WEBSOCKET}&fail")).await;
    assert_eq!(refused.unwrap_err().status(), 500);
    assert_eq!(get(&server, HANDSHAKE).await.status(), 200);
}

#[tokio::test]
async fn a_close_in_the_middle_of_a_payload_drops_the_rest_of_it() {
    let server = echo().build();
    let (sid, _) = open(&server).await;
    assert_eq!(post(&server, &sid, "4a\x1e4kick\x1e4b").await.status(), 200);
    assert_eq!(text(&poll(&server, &sid).await), "4a\x1e1");
}

#[tokio::test]
async fn an_abort_drops_what_is_queued_and_releases_the_poll() {
    let (server, mut leaving) = watched(echo());
    let (sid, _) = open(&server).await;
    let handle = socket(&server, &sid);
    handle.try_send("dropped").unwrap();
    handle.abort();
    assert_eq!(code(&poll(&server, &sid).await), 1);
    assert_eq!(leaving.recv().await, Some(DisconnectReason::Server));
    let (sid, _) = open(&server).await;
    let waiting = parked(&server, &sid).await;
    socket(&server, &sid).abort();
    assert_eq!(text(&waiting.await.unwrap()), "1");
    let mut client = open_websocket(&server).await;
    server.sockets().remove(0).abort();
    assert_eq!(receive(&mut client).await, None);
    assert!(server.is_empty());
}

#[tokio::test]
async fn a_close_during_an_upgrade_leaves_by_the_poll() {
    let (server, mut leaving) = watched(echo());
    let (sid, _) = open(&server).await;
    let mut client = probed(&server, &sid).await;
    assert_eq!(text(&poll(&server, &sid).await), "6");
    let waiting = parked(&server, &sid).await;
    let handle = socket(&server, &sid);
    handle.try_send_many(["a", "last"]).unwrap();
    handle.close();
    assert_eq!(text(&waiting.await.unwrap()), "4a\x1e4last\x1e1");
    assert_eq!(receive(&mut client).await, None);
    assert_eq!(leaving.recv().await, Some(DisconnectReason::Server));
}

#[tokio::test(start_paused = true)]
async fn the_connection_that_ends_before_the_pong_is_due_is_not_a_ping_timeout() {
    let (server, mut leaving) = watched(echo());
    let mut client = open_websocket(&server).await;
    assert_eq!(receive_text(&mut client).await, "2");
    pass(1_000).await;
    drop(client);
    assert_eq!(leaving.recv().await, Some(DisconnectReason::TransportClose));
}

#[tokio::test(start_paused = true)]
async fn the_heartbeat_outlives_an_upgrade() {
    let (server, mut leaving) = watched(echo());
    let start = Instant::now();
    let (sid, _) = open(&server).await;
    let mut client = probed(&server, &sid).await;
    send(&mut client, "5").await;
    for round in 1..=3 {
        assert_eq!(receive_text(&mut client).await, "2");
        assert_eq!(start.elapsed(), Duration::from_secs(25 * round));
        send(&mut client, "3").await;
    }
    assert!(leaving.try_recv().is_err());
}

#[tokio::test]
async fn a_burst_right_after_the_open_packet_keeps_its_order() {
    let server = Server::builder()
        .on_connect(|socket: Socket, _: ConnectRequest| {
            for n in 0..300 {
                socket.try_send(n.to_string()).unwrap();
            }
        })
        .build();
    let (_, packets) = open(&server).await;
    let expected: Vec<_> = (0..300).map(|n| format!("4{n}")).collect();
    assert_eq!(packets, expected);
    let mut client = open_websocket(&server).await;
    for expected in expected {
        assert_eq!(receive_text(&mut client).await, expected);
    }
}

#[tokio::test]
async fn a_message_that_may_not_be_compressed_is_in_no_compressed_body() {
    let server = echo().compression_threshold(0).build();
    let (sid, _) = open(&server).await;
    let handle = socket(&server, &sid);
    for compress in [false, false, true, true, false] {
        let options = SendOptions::new().compress(compress);
        handle.send_with("x".repeat(100), options).await.unwrap();
    }
    // Those that may not say so to compressors outside of the server.
    let plain = ("identity", "no-store, no-transform");
    for (encoding, cache) in [plain, ("gzip", "no-store"), plain] {
        let request = get_request(&format!("{HANDSHAKE}&sid={sid}"));
        let response = call(&server, with("accept-encoding", "gzip", request)).await;
        assert_eq!(response.headers()["content-encoding"], encoding);
        assert_eq!(response.headers()["cache-control"], cache);
    }
    assert_eq!(handle.queued_messages(), 0);
    let plain = echo().no_compression().build();
    let (sid, _) = open(&plain).await;
    post(&plain, &sid, format!("4{}", "x".repeat(5_000))).await;
    let request = get_request(&format!("{HANDSHAKE}&sid={sid}"));
    let response = call(&plain, with("accept-encoding", "gzip", request)).await;
    assert!(!response.headers().contains_key("content-encoding"));
}

#[tokio::test]
async fn a_flush_waits_until_the_poll_has_taken_everything() {
    let server = echo().build();
    let (sid, _) = open(&server).await;
    let handle = socket(&server, &sid);
    handle.try_send_many(["a", "b"]).unwrap();
    assert_eq!(handle.queued_messages(), 2);
    let flushing = tokio::spawn({
        let handle = handle.clone();
        async move { handle.flush().await }
    });
    tokio::task::yield_now().await;
    assert!(!flushing.is_finished());
    poll(&server, &sid).await;
    flushing.await.unwrap();
    assert_eq!(handle.queued_messages(), 0);
}

#[tokio::test]
async fn a_request_must_speak_the_revision_of_its_session() {
    let server = echo().allow_eio3(true).build();
    let (sid, _) = open(&server).await;
    for query in [
        "EIO=3&transport=polling",
        "transport=polling",
        "EIO=5&transport=polling",
    ] {
        let refused = get(&server, &format!("{query}&sid={sid}")).await;
        assert_eq!(
            seen(&refused),
            (400, r#"{"code":3,"message":"Bad request"}"#.into()),
            "{query}"
        );
    }
    let mixed = try_websocket(&server, &format!("EIO=3&transport=websocket&sid={sid}")).await;
    assert_eq!(code(&mixed.unwrap_err()), 3);
    assert_eq!(server.len(), 1);
}

#[tokio::test]
async fn binary_data_of_every_size_is_the_same_on_both_transports() {
    let server = echo().build();
    let (sid, _) = open(&server).await;
    let mut client = open_websocket(&server).await;
    for size in [0_usize, 1, 2, 3, 125, 126, 127, 65_535, 65_536] {
        let bytes: Bytes = (0..size).map(|n| n as u8).collect();
        socket(&server, &sid).try_send(bytes.clone()).unwrap();
        let body = text(&poll(&server, &sid).await);
        post(&server, &sid, body.clone()).await;
        assert_eq!(text(&poll(&server, &sid).await), body);
        client.send(Message::binary(bytes.clone())).await.unwrap();
        assert_eq!(receive(&mut client).await, Some(Message::binary(bytes)));
    }
}

#[tokio::test]
async fn a_request_for_another_path_keeps_its_websocket_handshake() {
    let host = tower::service_fn(|request: Request<Full<Bytes>>| async move {
        let asked = request.headers()["upgrade"].clone();
        let body = Full::new(Bytes::copy_from_slice(asked.as_bytes()));
        Ok::<_, std::convert::Infallible>(http::Response::new(body))
    });
    let service = EngineIoService::with_inner(echo().build(), host);
    let mut request = websocket_request("");
    *request.uri_mut() = "/other".parse().unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.collect().await.unwrap().to_bytes(), "websocket");
}

#[tokio::test(start_paused = true)]
async fn a_client_may_try_the_upgrade_again() {
    let (told, mut upgrades) = mpsc::unbounded_channel();
    let server = echo()
        .on_upgrade(move |socket: Socket| told.send(socket.transport()).unwrap())
        .build();
    let (sid, _) = open(&server).await;
    let mut first = websocket(&server, &upgrade_query(&sid)).await;
    assert_eq!(receive(&mut first).await, None);
    assert!(upgrades.try_recv().is_err());
    let mut second = probed(&server, &sid).await;
    send(&mut second, "5").await;
    assert_eq!(upgrades.recv().await, Some(Transport::WebSocket));
    send(&mut second, "4there").await;
    assert_eq!(receive_text(&mut second).await, "4there");
}
