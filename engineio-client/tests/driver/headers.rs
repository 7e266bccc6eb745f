//! The headers of the application: which of them are sent, and which are refused.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{OPEN_POLLING, Reply, Server, in_time, ok};
use engineio_client::{Client, ErrorKind, Reconnect, Renewal, Transport};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Those that decide where a message ends, or belong to one connection.
const REFUSED: [(&str, &str); 17] = [
    ("Content-Length", "1"),
    ("transfer-encoding", "identity"),
    ("transfer-encoding", "chunked"),
    ("content-encoding", "gzip"),
    ("connection", "close"),
    ("keep-alive", "timeout=1"),
    ("Proxy-Connection", "keep-alive"),
    ("upgrade", "h2c"),
    ("http2-settings", "AAMAAABkAAQAAP__"),
    ("te", "trailers"),
    ("trailer", "x"),
    ("expect", "100-continue"),
    ("range", "bytes=0-1"),
    ("proxy-authorization", "Basic SECRET"),
    ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ("Sec-WebSocket-Extensions", "permessage-deflate"),
    ("sec-websocket-version", "8"),
];

fn map(name: &str, value: &str) -> HeaderMap {
    let name = HeaderName::try_from(name).unwrap();
    HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
}

#[tokio::test]
async fn headers_that_frame_requests_are_refused_before_anything_is_sent() {
    let server = Server::start(|_, _| Reply::Body(500, Vec::new())).await;
    let builder = || Client::builder(&server.url());
    for (name, value) in REFUSED {
        for builder in [
            builder().header(name, value),
            builder().headers(map(name, value)),
        ] {
            let error = in_time(builder.connect()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{name}: {error}");
            let text = error.to_string();
            let quoted = format!("`{}`", name.to_ascii_lowercase());
            assert!(text.contains(&quoted) && !text.contains("SECRET"), "{text}");
        }
    }
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn headers_that_frame_requests_are_refused_when_they_are_renewed() {
    let server = Server::start(|_, request| match request.is_handshake() {
        true => ok(OPEN_POLLING),
        false => ok("1"),
    })
    .await;
    for (name, value) in REFUSED {
        let failed = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&failed);
        let policy = Reconnect::new()
            .initial_delay(Duration::from_millis(1))
            .renew(
                move || async move { Ok::<_, std::io::Error>(Renewal::new().header(name, value)) },
            )
            .on_failed_attempt(move |attempt| {
                hears.lock().unwrap().push(attempt.error.clone().unwrap());
            });
        let builder = Client::builder(&server.url()).reconnect(policy);
        let client = in_time(builder.connect()).await.unwrap();
        in_time(client.wait()).await;
        let failed = failed.lock().unwrap();
        assert_eq!(failed.len(), 1, "{name}: {failed:?}");
        assert_eq!(failed[0].kind(), ErrorKind::Invalid);
    }
    let handshakes = server
        .seen()
        .into_iter()
        .filter(|request| request.is_handshake());
    assert_eq!(handshakes.count(), REFUSED.len());
}

#[tokio::test]
async fn other_headers_are_sent_as_they_are_by_both_transports() {
    let server = Server::start(|_, _| Reply::Body(500, Vec::new())).await;
    for transport in [Transport::Polling, Transport::WebSocket] {
        let builder = Client::builder(&server.url())
            .transports([transport])
            .header("host", "first.example")
            .header("host", "engine.example")
            .header("origin", "https://first.example")
            .header("origin", "https://page.example")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("sec-websocket-protocol", "chat")
            .header("accept-language", "de")
            .header("x-twice", "1")
            .header("x-twice", "2");
        in_time(builder.connect()).await.unwrap_err();
        let request = server.requests.lock().unwrap().pop().unwrap();
        for (name, expected) in [
            ("host", "engine.example"),
            ("origin", "https://page.example"),
            ("cookie", "a=1; b=2"),
            ("sec-websocket-protocol", "chat"),
            ("accept-language", "de"),
        ] {
            let values = request.headers.iter().filter(|(known, _)| known == name);
            let values: Vec<&str> = values.map(|(_, value)| &**value).collect();
            assert_eq!(values, [expected], "{name}");
        }
        let twice = request.headers.iter().filter(|(name, _)| name == "x-twice");
        assert_eq!(twice.count(), 2);
    }
}
