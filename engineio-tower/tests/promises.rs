//! What the documentation promises, where it is easily broken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use engineio_tower::{
    DisconnectReason, EngineIoService, SendManyError, Server, SidCookie, Socket, WhenFull,
};
use http::{HeaderValue, StatusCode};
use support::{
    HANDSHAKE, WEBSOCKET, get, get_request, open, post, watched, websocket_request, with,
};
use tokio::time::timeout;
use tower_service::Service;

mod support;

#[tokio::test]
async fn a_cookie_of_the_application_and_that_of_the_server_are_both_set() {
    let server = Server::builder()
        .cookie(SidCookie::new("io"))
        .initial_headers(|_, headers| {
            headers.append("set-cookie", HeaderValue::from_static("app=1"));
        })
        .build();
    let response = get(&server, HANDSHAKE).await;
    let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies.len(), 2, "{cookies:?}");
    assert_eq!(cookies[0], "app=1");
    assert!(cookies[1].to_str().unwrap().starts_with("io="));
}

#[tokio::test]
async fn the_hook_for_headers_is_for_posts_too() {
    let server = Server::builder()
        .headers(|_, headers| {
            headers.insert("x-node", HeaderValue::from_static("a"));
        })
        .build();
    let (sid, _) = open(&server).await;
    assert_eq!(post(&server, &sid, "4x").await.headers()["x-node"], "a");
}

#[tokio::test]
async fn a_handshake_of_another_version_is_told_what_to_upgrade_to() {
    let server = Server::builder().build();
    let request = with("sec-websocket-version", "8", websocket_request(WEBSOCKET));
    let response = support::call(&server, request).await;
    assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
    // RFC 9110 § 15.5.22 and § 7.8.
    assert_eq!(response.headers()["upgrade"], "websocket");
    assert_eq!(response.headers()["connection"], "Upgrade");
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_request_is_dropped_at_once_is_still_told_to_disconnect() {
    let came = Arc::new(AtomicUsize::new(0));
    let coming = Arc::clone(&came);
    let (server, mut leaving) = watched(Server::builder().on_connect(move |socket: Socket, _| {
        coming.fetch_add(1, Ordering::Relaxed);
        socket.try_send("welcome").unwrap();
    }));
    // A layer in front that gives up before it has polled.
    drop(EngineIoService::new(server.clone()).call(get_request(HANDSHAKE)));
    assert_eq!(came.load(Ordering::Relaxed), 1);
    let left = timeout(Duration::from_secs(60), leaving.recv()).await;
    assert_eq!(left, Ok(Some(DisconnectReason::TransportClose)));
    assert!(server.is_empty());
}

#[tokio::test]
async fn a_client_that_is_too_slow_for_many_messages_is_disconnected_as_for_one() {
    let (server, mut leaving) = watched(
        Server::builder()
            .outbox_limit(100)
            .when_full(WhenFull::Disconnect),
    );
    let (sid, _) = open(&server).await;
    let socket = support::socket(&server, &sid);
    socket.send_many(["one"]).unwrap();
    let error = socket.send_many(["two", "three"]).unwrap_err();
    assert!(matches!(error, SendManyError::Closed(messages) if messages.len() == 2));
    assert_eq!(leaving.recv().await, Some(DisconnectReason::SlowConsumer));
}
