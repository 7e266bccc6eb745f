//! Faults of the application, while others are connected.

use std::future::pending;
use std::time::Duration;

use engineio_e2e::frame::Frame;
use engineio_tower::DisconnectReason::HandlerPanic;
use engineio_tower::{ConnectRequest, Message, ServerBuilder, Socket};

use crate::siege::{POLLING, Siege, upgrade_target};

/// Answers `panic` by a panic and `hang` by nothing, for ever, and anything else by itself.
pub(crate) fn rules(builder: ServerBuilder) -> ServerBuilder {
    builder
        .connect_timeout(Duration::from_millis(200))
        .on_connect(|socket: Socket, request: ConnectRequest| async move {
            match request.query("fault").as_deref() {
                Some("panic") => panic!("as the scenario wants it"),
                Some("hang") => pending().await,
                Some(fault) => drop(socket.set(fault.to_owned())),
                None => {}
            }
        })
        .on_message(|socket: Socket, message: Message| async move {
            match message.as_text() {
                Some("panic") => panic!("as the scenario wants it"),
                Some("hang") => pending().await,
                _ => drop(socket.send(message).await),
            }
        })
        .on_upgrade(|socket: Socket| {
            assert!(socket.get::<String>().is_none(), "as the scenario wants it");
        })
}

pub(crate) async fn message_handler_panics(siege: &mut Siege) {
    let (sid, target, mut poll) = siege.poller().await;
    poll.send_get(&target).await;
    let mut post = siege.connect().await;
    // Messages before it are answered, those after it are not.
    post.post(&target, "4panic\x1e4behind").await;
    assert_eq!(siege.ended(sid).await, HandlerPanic);
    // It may have come too late to be told.
    let told = poll.response().await;
    assert!(told.text() == "1" || told.status == 400, "{told:?}");

    let (sid, mut socket) = siege.websocket().await;
    socket.say("4before").await;
    assert_eq!(socket.hear().await, "4before");
    socket.say("4panic").await;
    assert_eq!(socket.frame().await, Some(Frame::Close(Some(1011))));
    assert_eq!(siege.ended(sid).await, HandlerPanic);
}

pub(crate) async fn connect_handler_panics(siege: &mut Siege) {
    let target = format!("{POLLING}&fault=panic");
    let mut client = siege.connect().await;
    assert_eq!(client.get(&target).await.status, 500);
    let handshake = client.handshake(&upgrade_target(&target));
    client.write(handshake).await;
    assert_eq!(client.response().await.status, 500);
    assert_eq!(siege.strangers(), 0);
}

pub(crate) async fn connect_handler_hangs(siege: &mut Siege) {
    let target = format!("{POLLING}&fault=hang");
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = siege.connect().await;
        client.send_get(&target).await;
        clients.push(client);
    }
    for mut client in clients {
        assert_eq!(client.response().await.status, 503);
    }
    assert_eq!(siege.strangers(), 0);
}

pub(crate) async fn upgrade_handler_panics(siege: &mut Siege) {
    let mut poll = siege.connect().await;
    let open = poll.get(&format!("{POLLING}&fault=upgrade")).await;
    let sid = crate::siege::sid(open.text()).parse().unwrap();
    let mut socket = siege.connect().await;
    let target = format!("{POLLING}&sid={sid}");
    socket.upgrade(&upgrade_target(&target)).await;
    socket.say("2probe").await;
    assert_eq!(socket.hear().await, "3probe");
    socket.say("5").await;
    assert_eq!(siege.ended(sid).await, HandlerPanic);
    assert_eq!(socket.frame().await, Some(Frame::Close(Some(1011))));
}

/// The session ends all the same, and the shutdown that follows every scenario does not wait for the handlers.
pub(crate) async fn message_handler_hangs(siege: &mut Siege) {
    let (_, target, mut poll) = siege.poller().await;
    assert_eq!(poll.post(&target, "4hang\x1e4behind").await.text(), "ok");
    let (_, mut socket) = siege.websocket().await;
    socket.say("4hang").await;
    socket.say("1").await;
    assert!(matches!(socket.frame().await, Some(Frame::Close(_))));
    // The poller is there still.
    assert_eq!(siege.strangers(), 1);
}
