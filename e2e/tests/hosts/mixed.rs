//! Timing, back pressure, and the end of the host.

use std::time::{Duration, Instant};

use engineio_e2e::frame::{self, Frame};
use engineio_e2e::host::Host;
use engineio_e2e::{PATIENCE, within};
use engineio_tower::DisconnectReason;

use crate::support::{scene, scene_with};

/// Two frames pushed 1 ms apart arrive within 10 ms of each other. With Nagle's algorithm it would be some 40 ms.
pub(crate) async fn pushed_without_delay<H: Host>() {
    let mut scene = scene::<H>().await;
    let mut client = scene.websocket().await;
    let mut gaps = Vec::new();
    for _ in 0..15 {
        client.say("4twice").await;
        assert_eq!(client.hear().await, "4first");
        let first = Instant::now();
        assert_eq!(client.hear().await, "4second");
        gaps.push(first.elapsed());
    }
    gaps.sort();
    // The middle one: the machine may be busy now and then.
    let gap = gaps[gaps.len() / 2];
    println!("the second frame came {gap:?} after the first");
    assert!(gap < Duration::from_millis(10), "{gaps:?}");
}

/// A client that reads nothing holds its own messages up, and gets all of them when it reads on.
pub(crate) async fn slow_reader<H: Host>() {
    const LEN: usize = 100_000;
    const COUNT: usize = 200;
    let mut scene = scene::<H>().await;
    let mut slow = scene.websocket().await;
    // Far more than the buffers on the way hold: an echo that does not wait would fail or lose some.
    let (mut reader, mut writer) = slow.split();
    let write = async {
        for number in 0..COUNT {
            writer.write(&frame::binary(&vec![number as u8; LEN])).await;
        }
    };
    let read = async {
        // Another client is served meanwhile.
        let mut other = scene.websocket().await;
        other.say("4other").await;
        assert_eq!(other.hear().await, "4other");
        for number in 0..COUNT {
            match reader.frame().await {
                Some(Frame::Binary(bytes)) => {
                    assert!(bytes.len() == LEN && bytes[0] == number as u8);
                }
                other => panic!("expected message {number}, got {other:?}"),
            }
        }
    };
    tokio::join!(write, read);
}

/// A message that is being written when its client times out arrives whole.
pub(crate) async fn given_up_while_reading<H: Host>() {
    // More than the buffers on the way hold.
    let message = "x".repeat(12_000_000);
    let mut scene = scene_with::<H>(|builder| {
        // Long enough to send the message before the first ping.
        let builder = builder.ping_interval(Duration::from_secs(1));
        builder.ping_timeout(Duration::from_millis(200))
    })
    .await;

    let (sid, target, mut poll) = scene.site.poller().await;
    let socket = scene.site.socket(&sid).unwrap();
    socket.try_send(message.clone()).unwrap();
    poll.send_get(&target).await;
    assert_eq!(
        scene.events.disconnected().await,
        DisconnectReason::PingTimeout
    );
    let payload = poll.response().await;
    assert_eq!(payload.status, 200);
    assert!(payload.text()[1..] == message, "{}", payload.body.len());

    let mut client = scene.connect().await;
    let (sid, _) = scene.site.open_websocket(&mut client, "").await;
    let socket = scene.site.socket(&sid).unwrap();
    socket.try_send(message.clone()).unwrap();
    within("the message to be on its way", async {
        while socket.queued_messages() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Whether the ping has left before the way was full decides on the reason.
    let reason = scene.events.disconnected().await;
    assert!(
        matches!(
            reason,
            DisconnectReason::SlowConsumer | DisconnectReason::PingTimeout
        ),
        "{reason}"
    );
    let arrived = client.hear().await;
    assert!(arrived[1..] == message, "{}", arrived.len());
    client.ended().await;
}

/// What waits in the system for a client whose session is closed arrives, although the client reads it late, and sends
/// meanwhile.
pub(crate) async fn closed_while_the_client_sends<H: Host>() {
    const COUNT: usize = 100;
    // Longer than a client may take for its close frame if nothing is known of it.
    const LATE: Duration = Duration::from_millis(2_500);
    let scene = scene::<H>().await;
    let mut client = scene.site.connect_narrow().await;
    let (sid, _) = scene.site.open_websocket(&mut client, "").await;
    let socket = scene.site.socket(&sid).unwrap();
    let message = "x".repeat(3_000);
    for _ in 0..COUNT {
        socket.try_send(message.clone()).unwrap();
    }
    socket.close();
    let begun = Instant::now();
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    while begun.elapsed() < LATE {
        assert!(
            client.try_write(frame::text("4x")).await,
            "the host is gone"
        );
        pace.tick().await;
    }
    for number in 0..COUNT {
        assert!(client.hear().await[1..] == message, "{number}");
    }
    assert_eq!(client.hear().await, "1");
    assert!(matches!(client.frame().await, Some(Frame::Close(_))));
    client.write(frame::close(1000)).await;
    assert_eq!(client.frame().await, None);
}

/// The clients are told, nothing that is queued is lost, and the host ends soon after.
pub(crate) async fn shutdown<H: Host>() {
    let mut scene = scene::<H>().await;
    let (waiting, mut poll) = scene.poller().await;
    poll.send_get(&waiting).await;
    let (queued, mut late) = scene.poller().await;
    let mut post = scene.connect().await;
    assert_eq!(post.post(&queued, "4queued").await.text(), "ok");
    let mut socket = scene.websocket().await;
    let open = scene.connect().await;

    let disconnecting = tokio::spawn(scene.site.shutdown(PATIENCE));
    assert_eq!(poll.response().await.text(), "1");
    // It may arrive just before its session is asked to close, and then once more.
    let mut payload = late.get(&queued).await.text().to_owned();
    if payload == "4queued" {
        payload += "\x1e";
        payload += late.get(&queued).await.text();
    }
    assert_eq!(payload, "4queued\x1e1");
    assert_eq!(socket.hear().await, "1");
    let Some(Frame::Close(Some(code))) = socket.frame().await else {
        panic!("no close frame");
    };
    // Going away.
    assert_eq!(code, 1001);
    socket.write(frame::close(1000)).await;
    assert_eq!(socket.frame().await, None);
    within("the disconnect", disconnecting).await.unwrap();
    for _ in 0..3 {
        assert_eq!(
            scene.events.disconnected().await,
            DisconnectReason::Shutdown
        );
    }
    let address = open.host();
    drop(open);
    within("the host's shutdown", scene.site.stop()).await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
