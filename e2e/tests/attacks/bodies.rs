//! Bodies of POSTs that are too large, too many, or no packets at all.

use std::fmt::Write;
use std::time::{Duration, Instant};

use engineio_e2e::app::MAX_PAYLOAD;
use engineio_e2e::puppet::Puppet;
use engineio_tower::DisconnectReason::{ParseError, PayloadTooLarge, TransportError};
use engineio_tower::ServerBuilder;

use crate::siege::Siege;

/// The limit of a client's outbox in these tests.
const OUTBOX: usize = 50_000;

pub(crate) fn rules(builder: ServerBuilder) -> ServerBuilder {
    builder.outbox_limit(OUTBOX).inbox_limit(OUTBOX)
}

/// A host may go on reading for a moment, so that the client sees the answer, but no longer.
const LINGER: Duration = Duration::from_secs(3);

/// The most that a host may read and discard, so that a client that writes first sees the answer, and what the buffers in
/// between may hold.
const DISCARDED: usize = (64 << 20) + (16 << 20);

/// Writes until the host takes no more, which must be soon: it does not read on.
async fn is_not_read(client: &mut Puppet) {
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    let begun = Instant::now();
    while client.try_write("1\r\n4\r\n").await {
        assert!(begun.elapsed() < LINGER, "the host reads on and on");
        pace.tick().await;
    }
}

/// Writes chunks until the host takes no more: it discards so much and not more, or for a moment only (actix-web).
async fn is_not_read_for_ever(client: &mut Puppet) {
    let chunk = [b"10000\r\n", &[b'4'; 0x1_0000][..], b"\r\n"].concat();
    let mut written = 0;
    let begun = Instant::now();
    // The end of the reading is tested here, not how much of the machine a flood of bytes takes.
    let mut pace = tokio::time::interval(Duration::from_millis(1));
    while client.try_write(&chunk).await {
        pace.tick().await;
        written += chunk.len();
        let much = written > DISCARDED && begun.elapsed() > LINGER;
        assert!(!much, "the host reads on and on");
    }
}

/// It is refused by its length, and none of it is read.
pub(crate) async fn ten_gigabytes_announced(siege: &mut Siege) {
    for _ in 0..2 {
        let (sid, target, _poll) = siege.poller().await;
        let mut post = siege.connect().await;
        post.send_post(&target, "content-length: 10000000000\r\n")
            .await;
        assert_eq!(post.response().await.status, 413);
        assert_eq!(siege.ended(sid).await, PayloadTooLarge);
        is_not_read(&mut post).await;
    }
    // The same without a session.
    let mut post = siege.connect().await;
    let target = format!("{}&sid=nobody", crate::siege::POLLING);
    post.send_post(&target, "content-length: 10000000000\r\n")
        .await;
    assert_eq!(post.response().await.status, 400);
    is_not_read(&mut post).await;
}

/// In one chunk that is announced, and in many that are not.
pub(crate) async fn endless_chunks(siege: &mut Siege) {
    let piece = vec![b'4'; 10_000];
    for chunk in ["2540be400", "2710"] {
        let (sid, target, _poll) = siege.poller().await;
        let mut post = siege.connect().await;
        post.send_post(&target, "transfer-encoding: chunked\r\n")
            .await;
        let mut sent = 0;
        while sent <= MAX_PAYLOAD {
            if sent == 0 || chunk == "2710" {
                post.write(format!("{chunk}\r\n")).await;
            }
            post.write(&piece).await;
            if chunk == "2710" {
                post.write("\r\n").await;
            }
            sent += piece.len();
        }
        assert_eq!(post.response().await.status, 413);
        assert_eq!(siege.ended(sid).await, PayloadTooLarge);
        is_not_read_for_ever(&mut post).await;
    }
}

/// Chunks of one byte: nobody pays for each of them more than a byte.
pub(crate) async fn tiny_chunks(siege: &mut Siege) {
    let (_, target, mut poll) = siege.poller().await;
    let mut post = siege.connect().await;
    post.send_post(&target, "transfer-encoding: chunked\r\n")
        .await;
    let message = format!("4{}", "x".repeat(20_000));
    let mut body = String::new();
    for byte in message.chars() {
        write!(body, "1\r\n{byte}\r\n").unwrap();
    }
    post.write(body + "0\r\n\r\n").await;
    assert_eq!(post.response().await.text(), "ok");
    assert_eq!(poll.get(&target).await.text(), message);
}

/// They wait in the body until there is room, and all of them come back.
pub(crate) async fn tiny_packets(siege: &mut Siege) {
    const COUNT: usize = 20_000;
    let (sid, target, mut poll) = siege.poller().await;
    let socket = siege.site.socket(&sid).unwrap();
    let mut post = siege.connect().await;
    let body = ["4"; COUNT].join("\x1e");
    post.send_post(&target, &format!("content-length: {}\r\n", body.len()))
        .await;
    post.write(body).await;
    let mut echoed = 0;
    while echoed < COUNT {
        assert!(socket.queued_bytes() <= OUTBOX, "{}", socket.queued_bytes());
        let payload = poll.get(&target).await;
        for packet in payload.text().split('\x1e') {
            assert_eq!(packet, "4");
            echoed += 1;
        }
    }
    assert_eq!(post.response().await.text(), "ok");
    // Packets without meaning are accepted and ignored.
    let nothing = ["6"; 100_000].join("\x1e");
    assert_eq!(post.post(&target, nothing).await.text(), "ok");
    assert_eq!(post.post(&target, "4last").await.text(), "ok");
    assert_eq!(poll.get(&target).await.text(), "4last");
}

/// Each costs its session, and is answered.
pub(crate) async fn no_packets(siege: &mut Siege) {
    let bodies: [&[u8]; 12] = [
        b"",
        b"\x1e",
        b"4a\x1e",
        b"4a\x1e\x1e4b",
        b"x",
        b"7",
        b"9hello",
        b"4\xff",
        b"4\xed\xa0\x80",
        b"bA",
        b"b@@@@",
        b"4fine\x1eb====",
    ];
    for body in bodies {
        let (sid, target, mut client) = siege.poller().await;
        let answer = client.post(&target, body).await;
        assert_eq!(answer.status, 400, "{body:?}: {answer:?}");
        assert_eq!(siege.ended(sid).await, ParseError, "{body:?}");
    }
    let (sid, target, mut client) = siege.poller().await;
    // A heartbeat in the wrong direction.
    assert_eq!(client.post(&target, "2").await.status, 400);
    assert_eq!(siege.ended(sid).await, TransportError);
}

/// Request bodies are not decompressed, so a bomb has no effect: its bytes are not a valid packet.
pub(crate) async fn compressed(siege: &mut Siege) {
    // `4hello`.
    const GZIP: &[u8] =
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x33\xc9\x48\xcd\xc9\xc9\x07\x00\x83\xb5\x1b\xde\
\x06\x00\x00\x00";
    for encoding in ["gzip", "deflate", "br", "gzip, gzip"] {
        let (sid, target, mut client) = siege.poller().await;
        let headers = format!(
            "content-encoding: {encoding}\r\ncontent-length: {}\r\n",
            GZIP.len()
        );
        client.send_post(&target, &headers).await;
        client.write(GZIP).await;
        let answer = client.response().await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert_eq!(siege.ended(sid).await, ParseError, "{encoding}");
    }
}

/// A GET has none, or one that nobody wants. It is answered, and not read on: neither what is announced nor what comes
/// behind an upgrade that is refused.
pub(crate) async fn behind_a_get(siege: &mut Siege) {
    use crate::siege::{POLLING, WEBSOCKET};

    let nobody = format!("{POLLING}&sid=nobody");
    let upgrade = "connection: Upgrade\r\nupgrade: websocket\r\n";
    let other_version = format!("{upgrade}sec-websocket-version: 8\r\n");
    for (target, headers, status) in [
        (POLLING, "transfer-encoding: chunked\r\n", 200),
        (&nobody, "transfer-encoding: chunked\r\n", 400),
        (POLLING, "content-length: 10000000000\r\n", 200),
        (&nobody, "content-length: 10000000000\r\n", 400),
        (WEBSOCKET, &other_version, 426),
        (WEBSOCKET, upgrade, 400),
    ] {
        let mut get = siege.connect().await;
        let head = format!("GET {target} HTTP/1.1\r\nhost: a\r\n{headers}\r\n");
        get.write(head).await;
        let answer = get.response().await;
        assert_eq!(answer.status, status, "{target} {headers}: {answer:?}");
        is_not_read_for_ever(&mut get).await;
    }
}
