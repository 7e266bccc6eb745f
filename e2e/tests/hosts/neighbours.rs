//! The host's own routes, which the server must not touch.

use engineio_e2e::frame::{self, Frame};
use engineio_e2e::host::{Host, NEIGHBOUR, NOT_FOUND, PAGE};

use crate::support::scene;

pub(crate) async fn host_page<H: Host>() {
    let scene = scene::<H>().await;
    let mut client = scene.connect().await;
    let page = client.get("/").await;
    assert_eq!((page.status, page.text()), (200, PAGE));
}

pub(crate) async fn host_post<H: Host>() {
    let scene = scene::<H>().await;
    let mut client = scene.connect().await;
    let body: Vec<u8> = (0..150_000_u32).map(|byte| (byte % 253) as u8).collect();
    let echoed = client.post("/host/echo", &body).await;
    assert_eq!(echoed.status, 200);
    assert!(echoed.body == body, "the body came back changed");
    client
        .send_post("/host/echo", "transfer-encoding: chunked\r\n")
        .await;
    client
        .write("5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n")
        .await;
    assert_eq!(client.response().await.text(), "hello, world");
}

pub(crate) async fn host_websocket<H: Host>() {
    let scene = scene::<H>().await;
    let mut client = scene.connect().await;
    client.upgrade("/host/ws").await;
    // A probe, in the eyes of an Engine.IO server.
    client.say("2probe").await;
    assert_eq!(client.hear().await, "2probe");
    let bytes: Vec<u8> = (0..=255).collect();
    client.write(frame::binary(&bytes)).await;
    assert_eq!(client.frame().await, Some(Frame::Binary(bytes.into())));
}

pub(crate) async fn host_not_found<H: Host>() {
    let scene = scene::<H>().await;
    let mut client = scene.connect().await;
    for target in ["/nothing", "/engine.i", "/engine", "/below/engine.io/"] {
        let answer = client.get(target).await;
        assert_eq!((answer.status, answer.text()), (404, NOT_FOUND), "{target}");
    }
}

/// Its path begins as the server's does.
pub(crate) async fn host_neighbour<H: Host>() {
    let scene = scene::<H>().await;
    let mut client = scene.connect().await;
    let answer = client.get("/engine.iox?EIO=4&transport=polling").await;
    assert_eq!((answer.status, answer.text()), (200, NEIGHBOUR));
}
