//! Clients in memory: requests that go straight to the service, and WebSockets over a duplex pipe.

#![allow(dead_code)]

use bytes::Bytes;
use engineio_tower::{Driver, EngineIoService, HostUpgrade, Server};
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::io::DuplexStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message};
use tower::ServiceExt;

pub(crate) type Body = Full<Bytes>;
pub(crate) type Client = WebSocketStream<DuplexStream>;

pub(crate) async fn call(server: &Server, request: Request<Body>) -> Response<Bytes> {
    let service = EngineIoService::new(server.clone());
    let response = service.oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Response::from_parts(head, body)
}

pub(crate) fn get_request(query: &str) -> Request<Body> {
    Request::get(format!("/engine.io/?{query}"))
        .body(Body::default())
        .unwrap()
}

pub(crate) fn post_request(sid: &str, body: impl Into<Bytes>) -> Request<Body> {
    Request::post(format!("/engine.io/?EIO=4&transport=polling&sid={sid}"))
        .body(Full::new(body.into()))
        .unwrap()
}

pub(crate) fn websocket_request(query: &str) -> Request<Body> {
    let mut request = get_request(query);
    let headers = request.headers_mut();
    headers.insert("connection", "keep-alive, Upgrade".parse().unwrap());
    headers.insert("upgrade", "websocket".parse().unwrap());
    headers.insert("sec-websocket-version", "13".parse().unwrap());
    headers.insert(
        "sec-websocket-key",
        "dGhlIHNhbXBsZSBub25jZQ==".parse().unwrap(),
    );
    request.extensions_mut().insert(HostUpgrade);
    request
}

pub(crate) async fn get(server: &Server, query: &str) -> Response<Bytes> {
    call(server, get_request(query)).await
}

/// Opens a session by polling; gives its id and the rest of the handshake's payload.
pub(crate) async fn open(server: &Server) -> (String, Vec<String>) {
    let response = get(server, "EIO=4&transport=polling").await;
    assert_eq!(response.status(), StatusCode::OK);
    let body = text(&response);
    let mut packets = body.split('\x1e').map(str::to_owned);
    let open = packets.next().unwrap();
    let open: serde_json::Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
    (open["sid"].as_str().unwrap().to_owned(), packets.collect())
}

pub(crate) async fn poll(server: &Server, sid: &str) -> Response<Bytes> {
    get(server, &format!("EIO=4&transport=polling&sid={sid}")).await
}

pub(crate) async fn post(server: &Server, sid: &str, body: impl Into<Bytes>) -> Response<Bytes> {
    call(server, post_request(sid, body)).await
}

pub(crate) fn text(response: &Response<Bytes>) -> String {
    String::from_utf8(response.body().to_vec()).unwrap()
}

/// Opens a WebSocket; the driver runs in a task.
pub(crate) async fn websocket(server: &Server, query: &str) -> Client {
    try_websocket(server, query).await.unwrap()
}

pub(crate) async fn try_websocket(server: &Server, query: &str) -> Result<Client, Response<Bytes>> {
    let service = EngineIoService::new(server.clone());
    let mut response = service.oneshot(websocket_request(query)).await.unwrap();
    let Some(driver) = Driver::take(&mut response) else {
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        return Err(Response::from_parts(head, body));
    };
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(
        response.headers()["sec-websocket-accept"],
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    tokio::spawn(driver.run(theirs));
    Ok(WebSocketStream::from_raw_socket(ours, Role::Client, None).await)
}

/// The next text or binary message; `None` when the WebSocket is closed.
pub(crate) async fn receive(client: &mut Client) -> Option<Message> {
    loop {
        match client.next().await? {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => return Some(message),
            Ok(Message::Close(_)) | Err(Error::ConnectionClosed) => return None,
            Ok(_) => {}
            Err(error) => panic!("the WebSocket failed: {error}"),
        }
    }
}

pub(crate) async fn receive_text(client: &mut Client) -> String {
    match receive(client).await {
        Some(Message::Text(text)) => text.as_str().to_owned(),
        other => panic!("expected text, got {other:?}"),
    }
}

pub(crate) async fn send(client: &mut Client, text: &str) {
    client.send(Message::text(text)).await.unwrap();
}
