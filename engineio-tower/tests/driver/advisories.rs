//! The classes of the field's public advisories that no other test has for its subject; `SECURITY.md` has the list.

use std::time::Duration;

use engineio_tower::{DisconnectReason, Driver, EngineIoService, Server};
use http::{HeaderName, HeaderValue, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tower::ServiceExt;

use crate::support::{WEBSOCKET, code, echo, get, open, seen, watched, websocket_request, with};

/// Opens a session by WebSocket; gives the bare stream behind the open packet.
async fn open_stream(server: &Server, buffer: usize) -> DuplexStream {
    let service = EngineIoService::new(server.clone());
    let mut response = service.oneshot(websocket_request(WEBSOCKET)).await.unwrap();
    let driver = Driver::take(&mut response).unwrap();
    let (mut ours, theirs) = tokio::io::duplex(buffer);
    tokio::spawn(driver.run(theirs));
    let mut head = [0; 2];
    ours.read_exact(&mut head).await.unwrap();
    let mut open = vec![0; usize::from(head[1])];
    ours.read_exact(&mut open).await.unwrap();
    assert!(open.starts_with(b"0{"));
    ours
}

/// A frame with a mask of zeroes, which leaves the payload as it is.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    let length = 0x80 | u8::try_from(payload.len()).unwrap();
    [&[first, length, 0, 0, 0, 0], payload].concat()
}

// CVE-2023-31125, and the advisories of engine.io's WebTransport.
#[tokio::test]
async fn names_that_a_language_gives_a_meaning_to_are_names_like_others() {
    let server = echo().build();
    for name in [
        "constructor",
        "__proto__",
        "toString",
        "hasOwnProperty",
        "__class__",
        "on",
    ] {
        let transport = get(&server, &format!("EIO=4&transport={name}")).await;
        assert_eq!(code(&transport), 0, "{name}");
        let sid = get(&server, &format!("EIO=4&transport=polling&sid={name}")).await;
        assert_eq!(code(&sid), 1, "{name}");
        let revision = get(&server, &format!("EIO={name}&transport=polling")).await;
        assert_eq!(code(&revision), 5, "{name}");
    }
    assert!(server.is_empty());
}

// CVE-2024-37890, CVE-2023-43669, CVE-2021-32640 and GHSA-5v72-xg48-5rpm.
#[tokio::test]
async fn a_websocket_handshake_is_found_among_endless_headers_and_their_values_are_not_walked() {
    let (server, mut leaving) = watched(echo());
    let mut request = websocket_request(WEBSOCKET);
    let upgrade = std::mem::take(request.headers_mut());
    for n in 0..3_000 {
        let name = HeaderName::try_from(format!("x-{n}")).unwrap();
        request.headers_mut().insert(name, "1".parse().unwrap());
    }
    request.headers_mut().extend(upgrade);
    let mut request = with(
        "sec-websocket-extensions",
        "constructor; x=__proto__",
        request,
    );
    let blanks = HeaderValue::try_from(format!("b{}x", " ".repeat(500_000))).unwrap();
    let headers = request.headers_mut();
    headers.insert("sec-websocket-protocol", blanks);
    let commas = format!("upgrade{}", ", ".repeat(200_000));
    headers.insert("connection", commas.parse().unwrap());
    let service = EngineIoService::new(server.clone());
    let mut response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    // Nothing is agreed to that was not understood.
    assert!(!response.headers().contains_key("sec-websocket-extensions"));
    assert!(!response.headers().contains_key("sec-websocket-protocol"));
    drop(Driver::take(&mut response));
    leaving.recv().await.unwrap();
}

// CVE-2026-48779.
#[tokio::test]
async fn a_message_in_thousands_of_fragments_is_measured_as_one() {
    let (server, mut leaving) = watched(echo().max_payload(1_000));
    let mut stream = open_stream(&server, 4_096).await;
    let mut frames = frame(0x01, b"4");
    for _ in 0..900 {
        frames.extend(frame(0x00, b"a"));
        frames.extend(frame(0x00, b"").repeat(20));
    }
    frames.extend(frame(0x80, b""));
    stream.write_all(&frames).await.unwrap();
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head, [0x81, 126, 3, 133]);
    let mut echoed = vec![0; 901];
    stream.read_exact(&mut echoed).await.unwrap();
    assert!(echoed[1..].iter().all(|byte| *byte == b'a'));

    stream.write_all(&frame(0x01, b"4")).await.unwrap();
    for _ in 0..999 {
        stream.write_all(&frame(0x00, b"a")).await.unwrap();
    }
    stream
        .write_all(&frame(0x00, b"one too many"))
        .await
        .unwrap();
    let mut close = [0; 4];
    stream.read_exact(&mut close).await.unwrap();
    assert_eq!(close, [0x88, 2, 3, 241]);
    assert_eq!(
        leaving.recv().await,
        Some(DisconnectReason::PayloadTooLarge)
    );
}

// ws 8.23.0.
#[tokio::test(start_paused = true)]
async fn a_flood_of_pings_is_answered_with_few_pongs_when_nobody_reads_them() {
    let (server, mut leaving) = watched(echo());
    let mut stream = open_stream(&server, 1_024).await;
    let ping = frame(0x89, &[b'x'; 100]);
    let mut sent = 0;
    // Either the server goes on reading, or it has stopped because it cannot write; it may not collect.
    while sent < 20_000 {
        let write = tokio::time::timeout(Duration::from_secs(1), stream.write_all(&ping));
        match write.await {
            Ok(written) => written.unwrap(),
            Err(_) => break,
        }
        sent += 1;
    }
    assert!(sent > 10);
    let mut pongs = Vec::new();
    let patience = Duration::from_secs(1);
    while let Ok(read) = tokio::time::timeout(patience, stream.read_buf(&mut pongs)).await {
        assert!(read.unwrap() > 0);
    }
    let pongs = pongs.len() / 102;
    assert!(pongs < 50, "{pongs} pongs for {sent} pings");
    drop(stream);
    leaving.recv().await.unwrap();
}

// CVE-2026-48802.
#[tokio::test(start_paused = true)]
async fn pongs_start_no_second_heartbeat() {
    let server = echo().ping_interval(Duration::from_secs(10)).build();
    let (sid, _) = open(&server).await;
    for _ in 0..50 {
        let pongs = ["3"; 20].join("\x1e");
        assert_eq!(
            crate::support::post(&server, &sid, pongs).await.status(),
            StatusCode::OK
        );
    }
    let begun = tokio::time::Instant::now();
    assert_eq!(
        seen(&crate::support::poll(&server, &sid).await),
        (200, "2".to_owned())
    );
    let waited = begun.elapsed();
    assert!(waited > Duration::from_secs(9), "{waited:?}");
    // The one that was asked for, among others that were not.
    crate::support::post(&server, &sid, ["3"; 20].join("\x1e")).await;
    assert_eq!(
        seen(&crate::support::poll(&server, &sid).await),
        (200, "2".to_owned())
    );
    assert!(begun.elapsed() > waited + Duration::from_secs(9));
}
