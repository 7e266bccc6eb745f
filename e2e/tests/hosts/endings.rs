//! Connections that end, by a FIN or an RST, in every state of a session.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use engineio_e2e::frame::{self, Frame};
use engineio_e2e::host::Host;
use engineio_e2e::puppet::Puppet;
use engineio_e2e::within;
use engineio_tower::DisconnectReason::{PingTimeout, TransportClose, TransportError};
use engineio_tower::{Message, Socket};
use http::HeaderMap;
use http::request::Parts;
use tokio::sync::mpsc::unbounded_channel;

use crate::support::{Scene, scene, scene_with, upgrade_target};

/// A GET that waits for packets, in a session whose heart beats fast where only the heartbeat can end it.
async fn waiting_poll<H: Host>(body: &str, length: usize) -> (Scene, Puppet) {
    let (tell, mut asked) = unbounded_channel();
    let mut scene = scene_with::<H>(move |builder| {
        let tell = tell.clone();
        let builder = builder.headers(move |head: &Parts, _: &mut HeaderMap| {
            let _ = tell.send(head.uri.clone());
        });
        match H::FIN_ENDS_POLL {
            true => builder,
            false => builder
                .ping_interval(Duration::from_millis(100))
                .ping_timeout(Duration::from_millis(100)),
        }
    })
    .await;
    let (target, _) = scene.poller().await;
    let mut poll = scene.connect().await;
    match length {
        0 => poll.send_get(&target).await,
        length => {
            let head = format!("GET {target} HTTP/1.1\r\nhost: a\r\n");
            poll.write(format!("{head}content-length: {length}\r\n\r\n{body}"))
                .await;
        }
    }
    // The hook runs in the same breath in which the session takes the GET.
    within("the handshake", asked.recv()).await;
    within("the GET", asked.recv()).await;
    (scene, poll)
}

pub(crate) async fn poll_fin<H: Host>() {
    let (mut scene, mut poll) = waiting_poll::<H>("", 0).await;
    poll.finish().await;
    let reason = scene.events.disconnected().await;
    let expected = if H::FIN_ENDS_POLL {
        TransportError
    } else {
        PingTimeout
    };
    assert_eq!(reason, expected);
}

pub(crate) async fn poll_reset<H: Host>() {
    let (mut scene, poll) = waiting_poll::<H>("", 0).await;
    poll.reset();
    assert_eq!(scene.events.disconnected().await, TransportError);
}

/// A body, which no GET has, hides the end of the connection from nobody if it is small.
pub(crate) async fn poll_with_a_body_reset<H: Host>() {
    let (mut scene, poll) = waiting_poll::<H>("abc", 3).await;
    poll.reset();
    assert_eq!(scene.events.disconnected().await, TransportError);
}

pub(crate) async fn poll_with_half_a_body_reset<H: Host>() {
    let (mut scene, poll) = waiting_poll::<H>("abc", 10).await;
    poll.reset();
    assert_eq!(scene.events.disconnected().await, TransportError);
}

/// What the host has not written of a response is lost with its connection, and the session does not go on without it.
pub(crate) async fn half_a_response_reset<H: Host>() {
    let mut scene = scene::<H>().await;
    let (sid, target, _) = scene.site.poller().await;
    let socket = scene.site.socket(&sid).unwrap();
    // More than the buffers on the way hold.
    socket.try_send("x".repeat(12_000_000)).unwrap();
    let mut poll = scene.site.connect_narrow().await;
    poll.send_get(&target).await;
    assert_eq!(poll.status().await, 200);
    poll.reset();
    assert_eq!(scene.events.disconnected().await, TransportError);
}

/// A client that polls is not its connection: between two requests it may close it.
pub(crate) async fn idle_poller_lives<H: Host>() {
    let mut scene = scene::<H>().await;
    let (target, mut first) = scene.poller().await;
    first.finish().await;
    first.ended().await;
    let mut second = scene.connect().await;
    assert_eq!(second.post(&target, "4still here").await.text(), "ok");
    second.reset();
    let mut third = scene.connect().await;
    assert_eq!(third.get(&target).await.text(), "4still here");
    assert!(scene.events.is_empty());
}

/// A POST whose body has begun.
async fn half_posted(scene: &mut Scene) -> Puppet {
    let (target, _) = scene.poller().await;
    let mut post = scene.connect().await;
    // The answer to `expect` tells that the body is being read.
    let headers = "content-length: 100\r\nexpect: 100-continue\r\n";
    post.send_post(&target, headers).await;
    assert_eq!(post.response().await.status, 100);
    post.write("4half").await;
    post
}

pub(crate) async fn post_fin<H: Host>() {
    let mut scene = scene::<H>().await;
    let mut post = half_posted(&mut scene).await;
    post.finish().await;
    assert_eq!(scene.events.disconnected().await, TransportError);
}

pub(crate) async fn post_reset<H: Host>() {
    let mut scene = scene::<H>().await;
    let post = half_posted(&mut scene).await;
    post.reset();
    assert_eq!(scene.events.disconnected().await, TransportError);
}

pub(crate) async fn websocket_fin<H: Host>() {
    let mut scene = scene::<H>().await;
    let mut client = scene.websocket().await;
    client.finish().await;
    assert_eq!(scene.events.disconnected().await, TransportClose);
    client.ended().await;
}

/// What has arrived before the end is handled, although the answers may find nobody.
pub(crate) async fn websocket_fin_after_messages<H: Host>() {
    const COUNT: usize = 300;
    let handled = Arc::new(AtomicUsize::new(0));
    let mut scene = scene_with::<H>(|builder| {
        let handled = Arc::clone(&handled);
        builder.on_message(move |socket: Socket, message: Message| {
            handled.fetch_add(1, Ordering::Relaxed);
            async move {
                let _ = socket.send(message).await;
            }
        })
    })
    .await;
    let mut client = scene.websocket().await;
    client.write(frame::text("4some text").repeat(COUNT)).await;
    client.finish().await;
    assert_eq!(scene.events.disconnected().await, TransportClose);
    assert_eq!(handled.load(Ordering::Relaxed), COUNT);
    client.ended().await;
}

pub(crate) async fn websocket_reset<H: Host>() {
    let mut scene = scene::<H>().await;
    let client = scene.websocket().await;
    client.reset();
    assert_eq!(scene.events.disconnected().await, TransportClose);
}

pub(crate) async fn websocket_close<H: Host>() {
    let mut scene = scene::<H>().await;
    let mut client = scene.websocket().await;
    client.say("4last words").await;
    assert_eq!(client.hear().await, "4last words");
    client.write(frame::close(1001)).await;
    assert!(matches!(client.frame().await, Some(Frame::Close(_))));
    assert_eq!(client.frame().await, None);
    assert_eq!(scene.events.disconnected().await, TransportClose);
}

/// An upgrade that comes to nothing.
async fn probing(scene: &mut Scene) -> (String, Puppet) {
    let (target, _) = scene.poller().await;
    let mut socket = scene.connect().await;
    socket.upgrade(&upgrade_target(&target)).await;
    socket.say("2probe").await;
    assert_eq!(socket.hear().await, "3probe");
    (target, socket)
}

/// The session goes on by polling, and another upgrade may come.
async fn goes_on(scene: &Scene, target: &str) {
    let mut poll = scene.connect().await;
    let mut post = scene.connect().await;
    assert_eq!(post.post(target, "4still here").await.text(), "ok");
    // The poll that the probe may have released brings nothing but a noop.
    let mut payload = poll.get(target).await;
    while payload.text() == "6" {
        payload = poll.get(target).await;
    }
    assert_eq!(payload.text(), "4still here");
    assert!(scene.events.is_empty());
}

pub(crate) async fn probe_fin<H: Host>() {
    let mut scene = scene::<H>().await;
    let (target, mut socket) = probing(&mut scene).await;
    socket.finish().await;
    socket.ended().await;
    goes_on(&scene, &target).await;
}

pub(crate) async fn probe_reset<H: Host>() {
    let mut scene = scene::<H>().await;
    let (target, socket) = probing(&mut scene).await;
    socket.reset();
    goes_on(&scene, &target).await;
}
