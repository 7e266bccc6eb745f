//! Headers in both directions: origins, cookies, compression of either transport.

use engineio_e2e::frame::{self, Frame};
use engineio_e2e::host::Host;
use engineio_tower::{ConnectRequest, Rejection, SidCookie, Socket};
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::support::{POLLING, WEBSOCKET, scene, scene_with, sid, upgrade_target};

pub(crate) async fn own_origin<H: Host>() {
    let scene = scene::<H>().await;
    let mut client = scene.connect().await;
    let origin = format!("http://{}", client.host());
    let headers = format!("origin: {origin}\r\n");
    let open = client.request("GET", POLLING, &headers).await;
    assert_eq!(open.status, 200, "{open:?}");
    assert_eq!(open.header("access-control-allow-origin"), origin);
    let handshake = String::from_utf8(client.handshake(WEBSOCKET)).unwrap();
    let handshake = handshake.replacen("\r\n", &format!("\r\n{headers}"), 1);
    client.write(handshake).await;
    client.accepted().await;
}

/// The authority of the URI counts, and not what `Host` says beside it (RFC 9112, section 3.2.2).
pub(crate) async fn absolute_form<H: Host>() {
    let scene = scene::<H>().await;
    let mut client = scene.connect().await;
    let host = client.host().to_string();
    let origin = format!("origin: http://{host}\r\n");
    for (authority, status) in [(&*host, 200), ("other.example", 403)] {
        let target = format!("http://{authority}{POLLING}");
        let response = client.request("GET", &target, &origin).await;
        assert_eq!(response.status, status, "{authority}");
    }
}

pub(crate) async fn foreign_origin<H: Host>() {
    let scene = scene::<H>().await;
    let mut client = scene.connect().await;
    let headers = "origin: https://elsewhere.example\r\n";
    let refused = client.request("GET", POLLING, headers).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.text().contains("\"code\":4"), "{refused:?}");
    assert_eq!(refused.header("access-control-allow-origin"), "");
    let handshake = String::from_utf8(client.handshake(WEBSOCKET)).unwrap();
    let handshake = handshake.replacen("\r\n", &format!("\r\n{headers}"), 1);
    client.write(handshake).await;
    assert_eq!(client.response().await.status, 403);
}

pub(crate) async fn preflight<H: Host>() {
    let scene = scene::<H>().await;
    let mut client = scene.connect().await;
    let origin = format!("http://{}", client.host());
    let headers = format!("origin: {origin}\r\naccess-control-request-method: POST\r\n");
    let answer = client.request("OPTIONS", POLLING, &headers).await;
    assert!(matches!(answer.status, 200 | 204), "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), origin);
    assert!(
        answer
            .header("access-control-allow-methods")
            .contains("POST"),
        "{answer:?}"
    );
    // The connection is in order after it.
    assert_eq!(client.get(POLLING).await.status, 200);
}

pub(crate) async fn cookie<H: Host>() {
    let scene = scene_with::<H>(|builder| builder.cookie(SidCookie::new("io"))).await;
    let mut client = scene.connect().await;
    let open = client.get(POLLING).await;
    let cookie = open.header("set-cookie");
    assert!(
        cookie.starts_with(&format!("io={}", sid(open.text()))),
        "{open:?}"
    );
    let mut client = scene.connect().await;
    let handshake = client.handshake(WEBSOCKET);
    client.write(handshake).await;
    let accepted = client.response().await;
    assert_eq!(accepted.status, 101);
    let cookie = accepted.header("set-cookie").to_owned();
    let open = client.hear().await;
    assert!(
        cookie.starts_with(&format!("io={}", sid(&open))),
        "{accepted:?}"
    );
}

pub(crate) async fn compression<H: Host>() {
    let mut scene = scene::<H>().await;
    let (target, mut client) = scene.poller().await;
    let message = format!("4{}", "ha".repeat(10_000));
    assert_eq!(client.post(&target, &message).await.text(), "ok");
    let payload = client
        .request("GET", &target, "accept-encoding: gzip\r\n")
        .await;
    assert_eq!(payload.header("content-encoding"), "gzip");
    assert!(payload.body.starts_with(&[0x1f, 0x8b]) && payload.body.len() < 1000);
    assert!(
        payload
            .header("vary")
            .to_ascii_lowercase()
            .contains("accept-encoding")
    );
    // Whoever asks for none gets none.
    assert_eq!(client.post(&target, &message).await.text(), "ok");
    assert_eq!(client.get(&target).await.text(), message);
}

/// As Chromium offers it, for a session of its own and for one that upgrades.
pub(crate) async fn websocket_compression<H: Host>() {
    let mut scene = scene_with::<H>(|builder| builder.websocket_compression_threshold(1_024)).await;
    let (polling, _) = scene.poller().await;
    for target in [WEBSOCKET.to_owned(), upgrade_target(&polling)] {
        let mut client = scene.connect().await;
        let offer = "permessage-deflate; client_max_window_bits";
        let agreed = client.upgrade_with(&target, offer).await;
        assert_eq!(
            agreed,
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        );
        if target == WEBSOCKET {
            assert!(client.hear().await.starts_with("0{"));
        } else {
            client.write(frame::packed(1, b"2probe")).await;
            assert_eq!(client.hear().await, "3probe");
            client.say("5").await;
        }
        client.write(frame::packed(1, b"4hello")).await;
        assert_eq!(client.hear().await, "4hello");
        let text = format!("4{}", "Grüße ".repeat(10_000));
        client.write(frame::packed(1, text.as_bytes())).await;
        match client.frame().await {
            Some(Frame::PackedText(echo, len)) => assert!(echo == text && len < 1_000, "{len}"),
            other => panic!("{other:?}"),
        }
        let bytes: Vec<u8> = (0..200_000_u32).map(|byte| (byte % 251) as u8).collect();
        client.write(frame::binary(&bytes)).await;
        match client.frame().await {
            Some(Frame::PackedBinary(echo, len)) => assert!(echo == bytes && len < 10_000, "{len}"),
            other => panic!("{other:?}"),
        }
    }
    // Whoever offers nothing gets nothing.
    let mut client = scene.websocket().await;
    let text = format!("4{}", "x".repeat(2_000));
    client.say(&text).await;
    assert_eq!(client.hear().await, text);
}

/// The headers that say how a response travels are those of the host, whatever the application sets.
pub(crate) async fn headers_of_the_connection<H: Host>() {
    const HEADERS: [(&str, &str); 4] = [
        ("connection", "close"),
        ("content-length", "1"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
    ];
    fn set(headers: &mut HeaderMap) {
        for (name, value) in HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert("x-app", HeaderValue::from_static("1"));
    }
    let scene = scene_with::<H>(|builder| {
        let builder = builder
            .initial_headers(|_, headers| set(headers))
            .headers(|_, headers| set(headers));
        builder.on_connect(|_: Socket, request: ConnectRequest| {
            let mut rejection = Rejection::forbidden();
            for (name, value) in HEADERS {
                let (name, value) = (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                );
                rejection = rejection.header(name, value);
            }
            match request.query("reject") {
                Some(_) => Err(rejection),
                None => Ok(()),
            }
        })
    })
    .await;

    let mut client = scene.connect().await;
    let origin = format!("origin: http://{}\r\n", client.host());
    let preflight = format!("{origin}access-control-request-method: POST\r\n");
    let answer = client.request("OPTIONS", POLLING, &preflight).await;
    assert!(matches!(answer.status, 200 | 204), "{answer:?}");
    assert_eq!(answer.header("x-app"), "1");
    let refused = client.get(&format!("{POLLING}&reject=1")).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("Forbidden"), "{refused:?}");
    let open = client.get(POLLING).await;
    assert_eq!((open.status, open.header("x-app")), (200, "1"));
    let target = format!("{POLLING}&sid={}", sid(open.text()));
    let posted = client.post(&target, "4hello").await;
    assert_eq!((posted.text(), posted.header("x-app")), ("ok", "1"));
    let payload = client.get(&target).await;
    assert_eq!((payload.text(), payload.header("x-app")), ("4hello", "1"));

    let mut socket = scene.connect().await;
    let handshake = socket.handshake(WEBSOCKET);
    socket.write(handshake).await;
    assert_eq!(socket.accepted().await.header("x-app"), "1");
    assert!(socket.hear().await.starts_with("0{"));
}
