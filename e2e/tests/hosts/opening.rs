//! Sessions begin, echo and upgrade.

use engineio_e2e::app::Event;
use engineio_e2e::frame::{self, Frame};
use engineio_e2e::host::Host;

use crate::support::{POLLING, Scene, WEBSOCKET, scene, scene_with, sid, upgrade_target};

pub(crate) async fn handshake<H: Host>() {
    let Scene { site, mut events } = scene::<H>().await;
    let mut client = site.connect().await;
    let slashless = POLLING.replace("/?", "?");
    let below = POLLING.replace("/?", "/below/it/?");
    for target in [POLLING, &slashless, &below] {
        let open = client.get(target).await;
        assert_eq!(open.status, 200, "{target}: {open:?}");
        assert!(open.text().starts_with("0{\"sid\":\""), "{open:?}");
        assert!(
            open.text().contains("\"upgrades\":[\"websocket\"]"),
            "{open:?}"
        );
        assert_eq!(open.header("content-type"), "text/plain; charset=UTF-8");
        // Of known length: a proxy may pass it on at once.
        assert_eq!(open.header("content-length"), open.body.len().to_string());
        let Event::Connected(connected, _) = events.next().await else {
            panic!("not connected");
        };
        assert_eq!(connected.as_str(), sid(open.text()));
    }
    assert_eq!(site.len(), 3);
    let unknown = client.get(&format!("{POLLING}&sid=nobody")).await;
    assert_eq!(unknown.status, 400);
    assert_eq!(unknown.header("content-type"), "application/json");
    assert!(unknown.text().contains("\"code\":1"), "{unknown:?}");
    let refused = client.get(&format!("{POLLING}&reject=1")).await;
    assert_eq!((refused.status, refused.text()), (401, "\"rejected\""));
}

pub(crate) async fn early_frame<H: Host>() {
    let scene = scene::<H>().await;
    let mut client = scene.connect().await;
    let mut bytes = client.handshake(WEBSOCKET);
    bytes.extend(frame::text("4early"));
    client.write(bytes).await;
    client.accepted().await;
    assert!(client.hear().await.starts_with("0{"));
    assert_eq!(client.hear().await, "4early");
}

pub(crate) async fn refused_websocket<H: Host>() {
    let scene = scene::<H>().await;
    let mut client = scene.connect().await;
    let handshake = client.handshake(&format!("{WEBSOCKET}&reject=1"));
    client.write(handshake).await;
    let refused = client.response().await;
    assert_eq!((refused.status, refused.text()), (401, "\"rejected\""));
    let mut client = scene.connect().await;
    let handshake = client.handshake(&format!("{WEBSOCKET}&sid=nobody"));
    client.write(handshake).await;
    assert_eq!(client.response().await.status, 400);
}

/// No host becomes a WebSocket if one of them would not hand over the bytes that follow: after a body, or where `websocket` is
/// not alone in its line.
pub(crate) async fn unusual_handshakes<H: Host>() {
    let scene = scene::<H>().await;
    for (line, accepted) in [
        ("upgrade: h2c\r\nupgrade: WebSocket\r\n", true),
        ("upgrade: websocket\r\ncontent-length: 0\r\n", true),
        ("upgrade: h2c, websocket\r\n", false),
        ("upgrade: websocket, h2c\r\n", false),
        ("upgrade: websocket\r\ncontent-length: 5\r\n", false),
        (
            "upgrade: websocket\r\ntransfer-encoding: chunked\r\n",
            false,
        ),
    ] {
        let mut client = scene.connect().await;
        let handshake = String::from_utf8(client.handshake(WEBSOCKET)).unwrap();
        client
            .write(handshake.replacen("upgrade: websocket\r\n", line, 1))
            .await;
        if accepted {
            client.accepted().await;
            assert!(client.hear().await.starts_with("0{"), "{line:?}");
            client.say("4hello").await;
            assert_eq!(client.hear().await, "4hello", "{line:?}");
        } else {
            client.write("0\r\n\r\n").await;
            assert_eq!(client.response().await.status, 400, "{line:?}");
        }
    }
}

/// Proxies with a constant `Connection: upgrade`, and clients that offer h2c, ask for no WebSocket. The answer repeats
/// nothing of it, and the connection goes on, or the answer says that it does not.
pub(crate) async fn connection_option<H: Host>() {
    let scene = scene::<H>().await;
    for headers in [
        "connection: upgrade\r\n",
        "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n",
    ] {
        let mut client = scene.connect().await;
        for _ in 0..3 {
            let open = client.request("GET", POLLING, headers).await;
            assert_eq!(open.status, 200, "{headers:?}: {open:?}");
            assert!(open.text().starts_with("0{"), "{headers:?}: {open:?}");
            match open.header("connection") {
                "" | "keep-alive" => {}
                "close" => {
                    client.ended().await;
                    client = scene.connect().await;
                }
                other => panic!("{headers:?}: connection: {other}"),
            }
        }
    }
}

pub(crate) async fn peer_address<H: Host>() {
    let mut scene = scene::<H>().await;
    let mut client = scene.connect().await;
    client.get(POLLING).await;
    let Event::Connected(_, peer) = scene.events.next().await else {
        panic!("not connected");
    };
    assert_eq!(peer, Some(client.local_addr()));
}

pub(crate) async fn polling_echo<H: Host>() {
    let mut scene = scene::<H>().await;
    let (target, mut poll) = scene.poller().await;
    // A connection of its own, which another worker may serve.
    let mut post = scene.connect().await;
    // Parked before there is anything.
    poll.send_get(&target).await;
    let posted = post.post(&target, "4hello").await;
    assert_eq!((posted.status, posted.text()), (200, "ok"));
    assert_eq!(posted.header("content-type"), "text/html");
    assert_eq!(poll.response().await.text(), "4hello");
    let large = format!("4{}", "ü".repeat(100_000));
    assert_eq!(post.post(&target, &large).await.text(), "ok");
    assert_eq!(poll.get(&target).await.text(), large);
    assert_eq!(post.post(&target, "4a\x1ebAQID").await.text(), "ok");
    assert_eq!(poll.get(&target).await.text(), "4a\x1ebAQID");
}

pub(crate) async fn websocket_echo<H: Host>() {
    let mut scene = scene::<H>().await;
    let mut client = scene.websocket().await;
    client.say("4hello").await;
    assert_eq!(client.hear().await, "4hello");
    let large: Vec<u8> = (0..200_000_u32).map(|byte| (byte % 251) as u8).collect();
    client.write(frame::binary(&large)).await;
    assert_eq!(client.frame().await, Some(Frame::Binary(large.into())));
}

pub(crate) async fn upgrade<H: Host>() {
    let mut scene = scene::<H>().await;
    let (target, mut poll) = scene.poller().await;
    poll.send_get(&target).await;
    let mut socket = scene.connect().await;
    socket.upgrade(&upgrade_target(&target)).await;
    socket.say("2probe").await;
    assert_eq!(socket.hear().await, "3probe");
    assert_eq!(poll.response().await.text(), "6");
    socket.say("5").await;
    socket.say("4over it").await;
    assert_eq!(socket.hear().await, "4over it");
    assert!(matches!(scene.events.next().await, Event::Upgraded(_)));
    assert_eq!(poll.get(&target).await.status, 400);
}

/// Messages flow from the server while the client upgrades: every one arrives, once, in order.
pub(crate) async fn upgrade_under_load<H: Host>() {
    let mut scene = scene::<H>().await;
    let (target, mut poll) = scene.poller().await;
    let mut post = scene.connect().await;
    assert_eq!(post.post(&target, "4flood").await.text(), "ok");

    let mut received = Vec::new();
    let mut take = |payload: &str| {
        for packet in payload.split('\x1e').filter(|packet| *packet != "6") {
            received.push(packet.strip_prefix('4').unwrap().to_owned());
        }
    };
    // The flood has begun.
    take(poll.get(&target).await.text());
    poll.send_get(&target).await;
    let mut socket = scene.connect().await;
    socket.upgrade(&upgrade_target(&target)).await;
    socket.say("2probe").await;
    assert_eq!(socket.hear().await, "3probe");
    loop {
        let payload = poll.response().await;
        take(payload.text());
        if payload.text().ends_with('6') {
            break;
        }
        poll.send_get(&target).await;
    }
    socket.say("5").await;
    loop {
        let packet = socket.hear().await;
        if packet == "4end" {
            break;
        }
        take(&packet);
    }
    let expected: Vec<_> = (0..received.len())
        .map(|number| number.to_string())
        .collect();
    assert_eq!(received, expected);
}

/// The client sends more than the inbox holds and upgrades before the answer. As the official client does, it starts no
/// poll after `3probe`, and waits for the answer to its POST before it sends `5`.
pub(crate) async fn upgrade_under_a_large_post<H: Host>() {
    const LIMIT: usize = 16_384;
    const COUNT: usize = 10_000;
    let mut scene = scene_with::<H>(|builder| {
        // The outbox too, so that the handler has to wait.
        builder.inbox_limit(LIMIT).outbox_limit(LIMIT)
    })
    .await;
    let (target, mut poll) = scene.poller().await;
    poll.send_get(&target).await;
    let packets: Vec<_> = (0..COUNT).map(|number| format!("4{number}")).collect();
    let body = packets.join("\x1e");
    let mut post = scene.connect().await;
    let length = format!("content-length: {}\r\n", body.len());
    post.send_post(&target, &length).await;
    post.write(&body).await;

    let mut socket = scene.connect().await;
    socket.upgrade(&upgrade_target(&target)).await;
    socket.say("2probe").await;
    assert_eq!(socket.hear().await, "3probe");
    let payload = poll.response().await;
    let posted = post.response().await;
    assert_eq!((posted.status, posted.text()), (200, "ok"));
    socket.say("5").await;

    let polled = payload.text().split('\x1e').filter(|packet| *packet != "6");
    let mut received: Vec<_> = polled.map(str::to_owned).collect();
    while received.len() < COUNT {
        received.push(socket.hear().await);
    }
    assert!(received == packets, "lost, repeated or out of order");
    // Nothing follows them.
    socket.say("4end").await;
    assert_eq!(socket.hear().await, "4end");
}
