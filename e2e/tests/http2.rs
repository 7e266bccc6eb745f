//! HTTP/2 without TLS: polling origins everywhere, WebSockets (RFC 8441) where the host can.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engineio_e2e::app::{self, Event};
use engineio_e2e::frame::{self, Frame};
use engineio_e2e::host::{Host, Running};
use engineio_e2e::http2::Http2;
use engineio_tower::{ConnectRequest, DisconnectReason, Message, Sid, Socket};
use http::StatusCode;

const POLLING: &str = "/engine.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/engine.io/?EIO=4&transport=websocket";

fn sid(open: &str) -> &str {
    let rest = open.split_once("\"sid\":\"").unwrap().1;
    rest.split_once('"').unwrap().0
}

async fn connect(host: &Running) -> Http2 {
    let mut client = Http2::connect(host.address).await;
    // The settings are there with the first response.
    assert_eq!(client.get("/").await.0, StatusCode::OK);
    client
}

async fn polling<H: Host>() {
    let (server, _events) = app::echo(|builder| builder);
    let host = H::start(server).await;
    let mut client = connect(&host).await;
    let (status, open) = client.get(POLLING).await;
    assert_eq!(status, StatusCode::OK);
    let target = format!("{POLLING}&sid={}", sid(&open));
    assert_eq!(client.post(&target, "4hello").await.1, "ok");
    assert_eq!(client.get(&target).await.1, "4hello");
    let large = "4".repeat(app::MAX_PAYLOAD + 1);
    assert_eq!(
        client.post(&target, &large).await.0,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(
        client.get("/engine.iox").await.1,
        engineio_e2e::host::NEIGHBOUR
    );
}

/// The host is in another place than in HTTP/1.
async fn origins<H: Host>() {
    let (server, _events) = app::echo(|builder| builder);
    let host = H::start(server).await;
    let mut client = connect(&host).await;
    let own = format!("http://{}", host.address);
    assert_eq!(client.get_from(POLLING, &own).await, StatusCode::OK);
    let foreign = "http://elsewhere.example";
    assert_eq!(
        client.get_from(POLLING, foreign).await,
        StatusCode::FORBIDDEN
    );
}

/// The message that is sent afterwards is lost with the session, or not accepted; the session does not go on without it.
async fn reset_poll<H: Host>() {
    let (server, mut events) = app::echo(|builder| builder);
    let host = H::start(server.clone()).await;
    let mut client = connect(&host).await;
    let (_, open) = client.get(POLLING).await;
    let sid = sid(&open);
    let answered = client
        .get_and_reset(&format!("{POLLING}&sid={sid}"), 1)
        .await;
    assert!(answered.is_empty());
    assert_eq!(client.get("/").await.0, StatusCode::OK);
    if let Some(socket) = server.socket(&sid.parse::<Sid>().unwrap()) {
        let _ = socket.try_send("to nobody");
    }
    let reason = events.disconnected().await;
    assert_eq!(reason, DisconnectReason::TransportError);
}

/// A part of a body is not taken for the whole.
async fn reset_post<H: Host>() {
    let (server, mut events) = app::echo(|builder| builder);
    let host = H::start(server).await;
    let mut client = connect(&host).await;
    for announced in [Some(10), None] {
        let (_, open) = client.get(POLLING).await;
        let target = format!("{POLLING}&sid={}", sid(&open));
        client.post_and_reset(&target, announced, "4ab").await;
        assert_eq!(
            events.disconnected().await,
            DisconnectReason::TransportError,
            "{announced:?}"
        );
        // Nothing of it came to a handler, and from there back.
        assert_eq!(client.get(&target).await.0, StatusCode::BAD_REQUEST);
    }
}

async fn websocket<H: Host>() {
    let (server, mut events) = app::echo(|builder| builder);
    let host = H::start(server).await;
    let mut client = connect(&host).await;
    assert!(client.offers_websockets());
    let mut socket = client.websocket(WEBSOCKET).await.unwrap();
    assert!(socket.hear().await.starts_with("0{"));
    socket.say("4hello");
    assert_eq!(socket.hear().await, "4hello");
    let large: Vec<u8> = (0..200_000_u32).map(|byte| (byte % 251) as u8).collect();
    socket.send(frame::binary(&large));
    assert_eq!(socket.frame().await, Some(Frame::Binary(large.into())));
    socket.send(frame::close(1000));
    assert_eq!(socket.frame().await, Some(Frame::Close(Some(1000))));
    assert_eq!(socket.frame().await, None);
    assert_eq!(
        events.disconnected().await,
        DisconnectReason::TransportClose
    );
    // The connection goes on.
    assert_eq!(client.get("/").await.0, StatusCode::OK);
}

async fn upgrade<H: Host>() {
    let (server, mut events) = app::echo(|builder| builder);
    let host = H::start(server).await;
    let mut client = connect(&host).await;
    let (_, open) = client.get(POLLING).await;
    let sid = sid(&open);
    let target = format!("{POLLING}&sid={sid}");
    let mut socket = client
        .websocket(&format!("{WEBSOCKET}&sid={sid}"))
        .await
        .unwrap();
    socket.say("2probe");
    assert_eq!(socket.hear().await, "3probe");
    assert_eq!(client.get(&target).await.1, "6");
    socket.say("5");
    socket.say("4over it");
    assert_eq!(socket.hear().await, "4over it");
    assert!(matches!(events.next().await, Event::Connected(..)));
    assert!(matches!(events.next().await, Event::Upgraded(_)));
}

async fn compression<H: Host>() {
    let (server, _events) = app::echo(|builder| builder.websocket_compression_threshold(1_024));
    let host = H::start(server).await;
    let mut client = connect(&host).await;
    let offered = client.websocket_with(WEBSOCKET, "permessage-deflate").await;
    let (mut socket, agreed) = offered.unwrap();
    assert_eq!(
        agreed,
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    );
    assert!(socket.hear().await.starts_with("0{"));
    let text = format!("4{}", "ha".repeat(10_000));
    socket.send(frame::packed(1, text.as_bytes()));
    match socket.frame().await {
        Some(Frame::PackedText(echo, len)) => assert!(echo == text && len < 1_000, "{len}"),
        other => panic!("{other:?}"),
    }
    assert!(client.websocket(WEBSOCKET).await.is_ok());
}

async fn refused<H: Host>() {
    let (server, _events) = app::echo(|builder| builder);
    let host = H::start(server).await;
    let mut client = connect(&host).await;
    for (query, expected) in [("&reject=1", 401), ("&sid=nobody", 400)] {
        let status = client
            .websocket(&format!("{WEBSOCKET}{query}"))
            .await
            .unwrap_err();
        assert_eq!(status, expected);
    }
    assert_eq!(client.get("/").await.0, StatusCode::OK);
}

async fn reset<H: Host>() {
    let (server, mut events) = app::echo(|builder| builder);
    let host = H::start(server).await;
    let mut client = connect(&host).await;
    let mut socket = client.websocket(WEBSOCKET).await.unwrap();
    assert!(socket.hear().await.starts_with("0{"));
    socket.reset();
    assert_eq!(
        events.disconnected().await,
        DisconnectReason::TransportClose
    );
    assert_eq!(client.get("/").await.0, StatusCode::OK);
}

/// A reset stream frees its place on the connection, but its connect handler goes on.
async fn reset_handshakes<H: Host>() {
    let running = Arc::new(AtomicUsize::new(0));
    let started = Arc::clone(&running);
    let (server, _events) = app::echo(|builder| {
        builder.on_connect(move |_: Socket, _: ConnectRequest| {
            started.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<()>()
        })
    });
    let host = H::start(server).await;
    let mut client = connect(&host).await;
    for _ in 0..10 {
        let answers = client.get_and_reset(POLLING, 100).await;
        // Those that run have no answer.
        let refused = |&status: &StatusCode| status == StatusCode::TOO_MANY_REQUESTS;
        assert!(answers.iter().all(refused));
    }
    assert_eq!(running.load(Ordering::Relaxed), 200);
}

/// One connection may carry the clients of a whole proxy.
async fn neighbour<H: Host>() {
    let (server, _events) = app::echo(|builder| {
        builder.on_message(|socket: Socket, message: Message| async move {
            if message.is_binary() {
                std::future::pending::<()>().await;
            }
            let _ = socket.send(message).await;
        })
    });
    let host = H::start(server).await;
    let mut client = connect(&host).await;
    let mut stuck = Vec::new();
    for _ in 0..4 {
        stuck.push(client.websocket(WEBSOCKET).await.unwrap());
    }
    let mut socket = client.websocket(WEBSOCKET).await.unwrap();
    assert!(socket.hear().await.starts_with("0{"));
    // More than their inboxes and the windows of HTTP/2 hold.
    for number in 0..20 {
        for stuck in &mut stuck {
            stuck.send(frame::binary(&vec![0; app::MAX_PAYLOAD]));
        }
        let text = format!("4{number}");
        socket.say(&text);
        assert_eq!(socket.hear().await, text);
    }
}

/// Not offered: browsers open WebSockets over HTTP/1 then.
async fn not_offered<H: Host>() {
    let (server, _events) = app::echo(|builder| builder);
    let host = H::start(server).await;
    assert!(!connect(&host).await.offers_websockets());
}

macro_rules! hosts {
    ($($name:ident: $host:ident: $($scenario:ident)*;)*) => {
        $(mod $name {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                super::$scenario::<engineio_e2e::host::$host>().await;
            })*
        })*
    };
}

hosts! {
    axum: Axum: polling origins reset_poll reset_post websocket compression upgrade refused reset reset_handshakes;
    axum_routes: AxumRoutes: polling origins reset_poll reset_post websocket compression upgrade refused reset;
    axum_wrap: AxumWrap: polling origins reset_poll reset_post websocket compression upgrade refused reset;
    hyper: Hyper: polling origins reset_poll reset_post websocket compression upgrade refused reset neighbour reset_handshakes;
    warp_layer: WarpLayer: polling origins reset_poll reset_post websocket compression upgrade refused reset neighbour reset_handshakes;
    warp_filter: WarpFilter: polling origins reset_poll reset_post not_offered reset_handshakes;
    actix: ActixHttp2: polling origins reset_poll reset_post not_offered reset_handshakes;
}
