//! Small messages beside much else: what a client makes the process keep is bounded by its limits, and not by what its
//! messages came with. Linux reports the memory of the process.

use std::time::Duration;

use engineio_e2e::app::MAX_PAYLOAD;
use engineio_e2e::frame;
use engineio_e2e::puppet::Puppet;

use crate::process::Process;
use crate::siege::{POLLING, WEBSOCKET, sid};

/// The limit of the outbox and of the inbox of a client of the process, in bytes.
const LIMIT: usize = 100_000;

/// What a host may have read and not handed on: hyper's largest read buffer, and as much on the way out.
const READ: usize = 1024 * 1024;

/// Memory that the allocator and the threads of a debug build take, however little is sent.
const SLACK: usize = 6 * 1024 * 1024;

const CLIENTS: usize = 4;

const REVISION_3: &str = "/engine.io/?EIO=3&transport=polling";

/// Each message counts its overhead of 64 bytes, so that this many fit into an inbox or an outbox.
const MESSAGES: usize = 1_200;

/// Runs the clients at once, each of which stays connected until all are done.
async fn stays_within_limits<F>(host: &str, attack: impl Fn(Puppet) -> F)
where
    F: Future<Output = Puppet> + Send + 'static,
{
    let process = Process::start(host, Duration::from_secs(25)).await;
    attacked_stays_within_limits(process, attack).await;
}

async fn attacked_stays_within_limits<F>(mut process: Process, attack: impl Fn(Puppet) -> F)
where
    F: Future<Output = Puppet> + Send + 'static,
{
    // The first requests warm the host up.
    let mut first = Puppet::connect(process.address).await;
    assert_eq!(first.get(POLLING).await.status, 200);
    let memory = process.peak_kib();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let client = Puppet::connect(process.address).await;
        clients.spawn(attack(client));
    }
    let clients = clients.join_all().await;
    assert_eq!(process.clients().await, CLIENTS + 1);
    let most = process.peak_kib();
    let each = 2 * (LIMIT + LIMIT) + MAX_PAYLOAD + READ;
    let limit = (CLIENTS * each + SLACK) / 1024;
    println!("{} KiB more, of {limit} KiB", most - memory);
    assert!(most < memory + limit, "{memory} KiB, then {most}");
    drop(clients);
}

async fn opened(client: &mut Puppet, handshake: &str) -> String {
    let open = client.get(handshake).await;
    format!("{handshake}&sid={}", sid(open.text()))
}

/// One message at the end of each large body. Their echoes wait for a poll that never comes.
pub(crate) async fn large_bodies(host: &str) {
    stays_within_limits(host, |mut client| async move {
        let target = opened(&mut client, POLLING).await;
        let noop = "6".repeat(100_000);
        for _ in 0..MESSAGES / 4 {
            let body = format!("{noop}\u{1e}4x");
            assert_eq!(client.post(&target, body).await.text(), "ok");
        }
        client
    })
    .await;
}

/// Each message in a body of its own, beside whatever else the host reads with it.
pub(crate) async fn many_bodies(host: &str) {
    stays_within_limits(host, |mut client| async move {
        let target = opened(&mut client, POLLING).await;
        for _ in 0..MESSAGES {
            assert_eq!(client.post(&target, "4x").await.text(), "ok");
        }
        client
    })
    .await;
}

/// The same in chunks, whose sizes the host learns one by one.
pub(crate) async fn chunked_bodies(host: &str) {
    stays_within_limits(host, |mut client| async move {
        let target = opened(&mut client, POLLING).await;
        let chunk = format!("2710\r\n{}\r\n", "6".repeat(10_000)).repeat(10);
        let body = format!("{chunk}3\r\n\u{1e}4x\r\n0\r\n\r\n");
        for _ in 0..MESSAGES / 4 {
            client
                .send_post(&target, "transfer-encoding: chunked\r\n")
                .await;
            client.write(&body).await;
            assert_eq!(client.response().await.text(), "ok");
        }
        client
    })
    .await;
}

/// The same in the payloads of revision 3, text and binary in turn.
pub(crate) async fn bodies_of_revision_3(host: &str) {
    stays_within_limits(host, |mut client| async move {
        let target = opened(&mut client, REVISION_3).await;
        let noop = "6".repeat(100_000);
        let text = format!("100000:{noop}2:4x").into_bytes();
        // Each packet is binary (1) and has the digits of its length before 255.
        let noop = [&[1, 1, 0, 0, 0, 0, 0, 255, 6], &noop.as_bytes()[1..]].concat();
        let binary = [&noop, &[1, 2, 255, 4, b'x'][..]].concat();
        for _ in 0..MESSAGES / 8 {
            assert_eq!(client.post(&target, &text).await.text(), "ok");
            let kind = "content-type: application/octet-stream";
            let headers = format!("{kind}\r\ncontent-length: {}\r\n", binary.len());
            client.send_post(&target, &headers).await;
            client.write(&binary).await;
            assert_eq!(client.response().await.text(), "ok");
        }
        client
    })
    .await;
}

/// Messages in fragments beside large ones in fragments, faster than the handler takes them.
pub(crate) async fn fragments(host: &str) {
    stays_within_limits(host, |mut client| async move {
        client.upgrade(WEBSOCKET).await;
        let part = vec![b'6'; 5_000];
        let of = frame::of_head;
        let noop = [of(0x01, &part), of(0x00, &part).repeat(3), of(0x80, &part)].concat();
        let message = [of(0x01, b"4tw"), of(0x80, b"ice")].concat();
        let pair = [noop, message].concat();
        for _ in 0..MESSAGES {
            client.write(&pair).await;
        }
        client
    })
    .await;
}

/// Messages beside large frames, faster than the handler takes them.
pub(crate) async fn large_frames(host: &str) {
    stays_within_limits(host, |mut client| async move {
        client.upgrade(WEBSOCKET).await;
        let noop = frame::text(&format!("6{}", "x".repeat(20_000)));
        // Its handler takes a millisecond.
        let pair = [noop, frame::text("4twice")].concat();
        for _ in 0..MESSAGES {
            client.write(&pair).await;
        }
        client
    })
    .await;
}

/// Large messages to handlers that run concurrently, and wait because nobody reads their echoes.
pub(crate) async fn concurrent_handlers(host: &str) {
    let process = Process::start_concurrent(host, Duration::from_secs(25)).await;
    attacked_stays_within_limits(process, |mut client| async move {
        client.upgrade(WEBSOCKET).await;
        let message = frame::of_head(0x82, &vec![0; MAX_PAYLOAD]);
        // The host takes as much as it has room for, and no more.
        let writing = client.try_write(message.repeat(100));
        let taken = tokio::time::timeout(Duration::from_secs(3), writing).await;
        assert!(taken.is_err(), "it takes everything");
        client
    })
    .await;
}
