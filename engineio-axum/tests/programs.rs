//! The programs that users write, as they write them.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use axum::{Router, routing::get};
use engineio_axum::{
    ConnectRequest, DisconnectReason, EngineIoLayer, Handler, Message, Origins, Rejection,
    SameSite, Server, Sid, SidCookie, Socket, Transport,
};
use http_body_util::BodyExt;
use serde_json::json;
use tower::ServiceExt;

async fn answer(app: &Router, request: Request<Body>) -> (u16, String) {
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn at(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

fn post(sid: &str, body: &'static str) -> Request<Body> {
    let path = format!("/engine.io/?EIO=4&transport=polling&sid={sid}");
    Request::post(path).body(Body::from(body)).unwrap()
}

const HANDSHAKE: &str = "/engine.io/?EIO=4&transport=polling";

async fn open(app: &Router) -> (String, String) {
    let (status, body) = answer(app, at(HANDSHAKE)).await;
    assert_eq!(status, 200, "{body}");
    (body[9..29].to_owned(), body)
}

#[tokio::test]
async fn an_echo_beside_an_existing_app() {
    let server = Server::builder()
        .on_message(|socket: Socket, message: Message| async move {
            let _ = socket.send(message).await; // waits while the client is slow; Err gives the message back
        })
        .build();

    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(EngineIoLayer::new(server));

    assert_eq!(answer(&app, at("/")).await, (200, "hello".into()));
    assert_eq!(answer(&app, at("/engine.iox")).await.0, 404);
    let (sid, _) = open(&app).await;
    assert_eq!(answer(&app, post(&sid, "4hi")).await, (200, "ok".into()));
    let poll = at(&format!("{HANDSHAKE}&sid={sid}"));
    assert_eq!(answer(&app, poll).await, (200, "4hi".into()));
}

struct User {
    name: String,
}

async fn authenticate(headers: &HeaderMap) -> Option<User> {
    let name = headers.get("x-user")?.to_str().ok()?.to_owned();
    Some(User { name })
}

#[tokio::test]
async fn authentication_user_data_and_reasons() {
    let (left, mut leaving) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::builder()
        .on_connect(|socket: Socket, request: ConnectRequest| async move {
            let user = authenticate(request.headers()).await.ok_or_else(|| {
                Rejection::unauthorized().json(json!({ "reason": "token expired" }))
            })?;
            socket.set(user); // any type; gone when the client is gone
            socket.send("welcome").await?; // rides in the handshake response
            Ok(())
        })
        .on_disconnect(move |socket: Socket, reason: DisconnectReason| {
            let left = left.clone();
            async move {
                if let Some(user) = socket.get::<User>() {
                    left.send(format!("{} left: {reason}", user.name)).unwrap();
                }
            }
        })
        .build();
    let app = Router::new().layer(EngineIoLayer::new(server));

    let refused = (401, r#"{"reason":"token expired"}"#.to_owned());
    assert_eq!(answer(&app, at(HANDSHAKE)).await, refused);
    let mut request = at(HANDSHAKE);
    request
        .headers_mut()
        .insert("x-user", "ada".parse().unwrap());
    let (_, body) = answer(&app, request).await;
    assert!(body.ends_with("\x1e4welcome"), "{body}");
    answer(&app, post(&body[9..29], "1")).await;
    let said = leaving.recv().await.unwrap();
    assert_eq!(said, "ada left: client disconnect");
}

#[tokio::test]
async fn from_anywhere() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder().build();
    let app = Router::new().layer(EngineIoLayer::new(server.clone()));
    let (sid, _) = open(&app).await;
    let sid: Sid = sid.parse()?;
    let update = HashMap::from([("temperature", 21)]);
    let frame = vec![1_u8, 2, 3];

    server.send(&sid, Message::json(&update)?).await?; // one client
    server.broadcast(Message::binary(frame)); // all of them, encoded once
    for socket in server.sockets() {
        socket.try_send("tick").ok();
    }
    let socket = server.socket(&sid).unwrap();
    let thread = std::thread::spawn(move || socket.blocking_send("from a thread"));
    thread.join().unwrap()?;
    let task = server.spawn(async { 42 }); // a background task that ends with the server
    assert_eq!(task.await?, 42);

    let (_, body) = answer(&app, at(&format!("{HANDSHAKE}&sid={sid}"))).await;
    let packets: Vec<_> = body.split('\x1e').collect();
    let expected = [r#"4{"temperature":21}"#, "bAQID", "4tick", "4from a thread"];
    assert_eq!(packets, expected);

    let poll = tokio::spawn({
        let app = app.clone();
        async move { answer(&app, at(&format!("{HANDSHAKE}&sid={sid}"))).await }
    });
    assert!(server.disconnect(&sid).await);
    assert_eq!(poll.await?.1, "1");
    assert!(!server.disconnect(&sid).await);
    Ok(())
}

#[derive(Default)]
struct Chat {
    rooms: Mutex<HashMap<String, Vec<Socket>>>,
}

impl Handler for Chat {
    async fn connect(&self, socket: &Socket, request: &ConnectRequest) -> Result<(), Rejection> {
        let room = request.query("room").ok_or_else(Rejection::unauthorized)?;
        let mut rooms = self.rooms.lock().unwrap();
        rooms.entry(room).or_default().push(socket.clone());
        Ok(())
    }

    async fn message(&self, socket: &Socket, message: Message) {
        let members: Vec<_> = {
            let rooms = self.rooms.lock().unwrap();
            let room = rooms.values().find(|members| members.contains(socket));
            room.cloned().unwrap_or_default()
        };
        for member in members {
            let _ = member.send(message.clone()).await;
        }
    }

    async fn disconnect(&self, socket: &Socket, _: DisconnectReason) {
        for members in self.rooms.lock().unwrap().values_mut() {
            members.retain(|member| member != socket);
        }
    }
}

#[tokio::test]
async fn the_same_as_one_type() {
    let server = Server::with_handler(Chat::default());
    let app = Router::new().layer(EngineIoLayer::new(server));
    let mut sids = Vec::new();
    for room in ["a", "a", "b"] {
        let (_, body) = answer(&app, at(&format!("{HANDSHAKE}&room={room}"))).await;
        sids.push(body[9..29].to_owned());
    }
    answer(&app, post(&sids[0], "4hi")).await;
    let poll = async |sid: &str| answer(&app, at(&format!("{HANDSHAKE}&sid={sid}"))).await;
    for member in &sids[..2] {
        assert_eq!(poll(member).await.1, "4hi");
    }
    let stranger = tokio::time::timeout(Duration::ZERO, poll(&sids[2])).await;
    assert!(stranger.is_err(), "another room hears nothing");
}

#[test]
fn everything_a_deployment_sets() {
    let server = Server::builder()
        .path("/realtime")
        .ping_interval(Duration::from_secs(25))
        .ping_timeout(Duration::from_secs(20))
        .max_payload(1_000_000)
        .origins(Origins::list(["https://app.example.com"])) // same origin by default
        .cookie(
            SidCookie::new("io")
                .http_only(true)
                .same_site(SameSite::Lax),
        )
        .transports([Transport::WebSocket])
        .allow_eio3(true)
        .outbox_limit(1 << 20)
        .when_full(engineio_axum::WhenFull::Disconnect)
        .max_sockets(100_000)
        .build();
    assert!(server.claims("/realtime/"));
    assert!(!server.claims("/engine.io/"));
}
