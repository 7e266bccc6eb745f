//! Bodies: within the limit, and beyond.

use engineio_e2e::app::MAX_PAYLOAD;
use engineio_e2e::host::Host;
use engineio_tower::DisconnectReason;

use crate::support::{POLLING, scene};

/// More than the buffers between the two ends hold.
const LARGE: usize = 12_000_000;

/// The length alone is enough: nothing of the body is sent.
pub(crate) async fn too_large_by_length<H: Host>() {
    let mut scene = scene::<H>().await;
    let (target, _poll) = scene.poller().await;
    let mut post = scene.connect().await;
    let length = format!("content-length: {}\r\n", MAX_PAYLOAD + 1);
    post.send_post(&target, &length).await;
    assert_eq!(post.response().await.status, 413);
    assert_eq!(
        scene.events.disconnected().await,
        DisconnectReason::PayloadTooLarge
    );
}

pub(crate) async fn too_large_chunked<H: Host>() {
    let mut scene = scene::<H>().await;
    let (target, _poll) = scene.poller().await;
    let mut post = scene.connect().await;
    post.send_post(&target, "transfer-encoding: chunked\r\n")
        .await;
    // One byte beyond the limit, and no end.
    post.write(format!("{MAX_PAYLOAD:x}\r\n")).await;
    post.write(vec![b'4'; MAX_PAYLOAD]).await;
    post.write("\r\n1\r\n4\r\n").await;
    assert_eq!(post.response().await.status, 413);
    assert_eq!(
        scene.events.disconnected().await,
        DisconnectReason::PayloadTooLarge
    );
}

/// As large as may be, and without a length.
pub(crate) async fn chunked_post<H: Host>() {
    let mut scene = scene::<H>().await;
    let (target, mut poll) = scene.poller().await;
    let mut post = scene.connect().await;
    let packet = format!("4{}", "x".repeat(MAX_PAYLOAD - 1));
    post.send_post(&target, "transfer-encoding: chunked\r\n")
        .await;
    for chunk in packet.as_bytes().chunks(70_000) {
        post.write(format!("{:x}\r\n", chunk.len())).await;
        post.write(chunk).await;
        post.write("\r\n").await;
    }
    post.write("0\r\n\r\n").await;
    assert_eq!(post.response().await.text(), "ok");
    assert_eq!(poll.get(&target).await.text(), packet);
    // And the same with a length, in many pieces.
    let length = format!("content-length: {}\r\n", packet.len());
    post.send_post(&target, &length).await;
    for piece in packet.as_bytes().chunks(50_000) {
        post.write(piece).await;
    }
    assert_eq!(post.response().await.text(), "ok");
    assert_eq!(poll.get(&target).await.text(), packet);
}

/// The client writes its whole request before it reads, as Node.js and proxies do. A reset would take the answer from it.
pub(crate) async fn refused_before_the_body<H: Host>() {
    let mut scene = scene::<H>().await;
    let unknown = format!("{POLLING}&sid=unknown");
    let rejected = format!("{POLLING}&reject=1");
    let foreign = "origin: https://elsewhere.example\r\n";
    let body = vec![b'4'; LARGE];
    for _ in 0..5 {
        let (target, _poll) = scene.poller().await;
        for (status, method, target, header) in [
            (413, "POST", &target, ""),
            (400, "POST", &unknown, ""),
            (403, "POST", &target, foreign),
            (401, "GET", &rejected, ""),
        ] {
            let mut client = scene.connect().await;
            let host = client.host();
            let head = format!(
                "{method} {target} HTTP/1.1\r\nhost: {host}\r\n{header}content-length: {LARGE}\r\n\r\n"
            );
            client.write(head).await;
            client.write(&body).await;
            assert_eq!(client.response().await.status, status);
        }
        scene.events.disconnected().await;
    }
}

/// A body that will not be read is not asked for, except by actix-web, which asks before the server sees the request, and by
/// a node that forwards the request.
pub(crate) async fn expect_continue<H: Host>() {
    let mut scene = scene::<H>().await;
    let expect = |length| format!("content-length: {length}\r\nexpect: 100-continue\r\n");
    let (target, mut poll) = scene.poller().await;
    let mut post = scene.connect().await;
    post.send_post(&target, &expect(2)).await;
    assert_eq!(post.response().await.status, 100);
    post.write("4x").await;
    assert_eq!(post.response().await.text(), "ok");
    assert_eq!(poll.get(&target).await.text(), "4x");
    let unknown = format!("{POLLING}&sid=unknown");
    for (target, length, status) in [(&unknown, 2, 400), (&target, MAX_PAYLOAD + 1, 413)] {
        let mut post = scene.connect().await;
        post.send_post(target, &expect(length)).await;
        let mut answer = post.response().await;
        if answer.status == 100 {
            assert!(H::ASKS_FOR_EVERY_BODY || H::NODES > 1);
            answer = post.response().await;
        }
        assert_eq!(answer.status, status);
    }
    assert_eq!(
        scene.events.disconnected().await,
        DisconnectReason::PayloadTooLarge
    );
}
