//! Clients in memory: requests that go straight to the service, and WebSockets over a duplex pipe.

#![allow(dead_code)]

#[path = "../../../engineio-core/tests/support/panics.rs"]
pub(crate) mod panics;

use std::time::Duration;

use bytes::Bytes;
use engineio_tower::{
    DisconnectReason, Driver, EngineIoService, HostUpgrade, Message as EngineMessage, Server,
    ServerBuilder, Socket,
};
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
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

/// The query of a handshake by polling.
pub(crate) const HANDSHAKE: &str = "EIO=4&transport=polling";

/// The query of a handshake by WebSocket.
pub(crate) const WEBSOCKET: &str = "EIO=4&transport=websocket";

/// The query that moves a session to a WebSocket.
pub(crate) fn upgrade_query(sid: &str) -> String {
    format!("{WEBSOCKET}&sid={sid}")
}

/// A server that sends every message back, and does more when a message asks for it.
pub(crate) fn echo() -> ServerBuilder {
    Server::builder().on_message(|socket: Socket, message: EngineMessage| async move {
        match message.as_text() {
            Some("kick") => socket.close(),
            Some("twenty") => {
                for n in 0..20 {
                    let _ = socket.send(n.to_string()).await;
                }
            }
            Some("panic") => panic!("asked for"),
            _ => {
                let _ = socket.send(message).await;
            }
        }
    })
}

/// A server, and how its clients leave.
pub(crate) fn watched(
    builder: ServerBuilder,
) -> (Server, mpsc::UnboundedReceiver<DisconnectReason>) {
    let (left, leaving) = mpsc::unbounded_channel();
    let server = builder.on_disconnect(move |_: Socket, reason| {
        let _ = left.send(reason);
    });
    (server.build(), leaving)
}

/// Opens a session by WebSocket.
pub(crate) async fn open_websocket(server: &Server) -> Client {
    let mut client = websocket(server, WEBSOCKET).await;
    assert!(receive_text(&mut client).await.starts_with('0'));
    client
}

/// Begins an upgrade, up to and including the answer to the probe.
pub(crate) async fn probed(server: &Server, sid: &str) -> Client {
    let mut client = websocket(server, &upgrade_query(sid)).await;
    send(&mut client, "2probe").await;
    assert_eq!(receive_text(&mut client).await, "3probe");
    client
}

/// A poll that waits at the server when this returns.
pub(crate) async fn parked(server: &Server, sid: &str) -> JoinHandle<Response<Bytes>> {
    let (server, sid) = (server.clone(), sid.to_owned());
    let waiting = tokio::spawn(async move { poll(&server, &sid).await });
    tokio::task::yield_now().await;
    waiting
}

/// The code of a refusal.
pub(crate) fn code(response: &Response<Bytes>) -> u64 {
    assert_eq!(response.headers()["content-type"], "application/json");
    let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    body["code"].as_u64().unwrap()
}

/// Status and body.
pub(crate) fn seen(response: &Response<Bytes>) -> (u16, String) {
    (response.status().as_u16(), text(response))
}

/// The same request by another method.
pub(crate) fn by(method: &str, mut request: Request<Body>) -> Request<Body> {
    *request.method_mut() = method.parse().unwrap();
    request
}

/// The same request with one header more.
pub(crate) fn with(name: &'static str, value: &str, mut request: Request<Body>) -> Request<Body> {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

/// The handle of the client with this id.
pub(crate) fn socket(server: &Server, sid: &str) -> Socket {
    server.socket(&sid.parse().unwrap()).unwrap()
}

/// Lets time pass, with everything that is due in between.
pub(crate) async fn pass(millis: u64) {
    tokio::time::sleep_until(Instant::now() + Duration::from_millis(millis)).await;
}
