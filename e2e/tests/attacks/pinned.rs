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

/// Each message counts its overhead of 64 bytes, so that this many fit into an inbox or an outbox.
const MESSAGES: usize = 1_200;

/// Runs the clients at once, each of which stays connected until all are done.
async fn stays_within_limits<F>(host: &str, attack: impl Fn(Puppet) -> F)
where
    F: Future<Output = Puppet> + Send + 'static,
{
    let mut process = Process::start(host, Duration::from_secs(25)).await;
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

async fn opened(client: &mut Puppet) -> String {
    let open = client.get(POLLING).await;
    format!("{POLLING}&sid={}", sid(open.text()))
}

/// One message at the end of each large body. Their echoes wait for a poll that never comes.
pub(crate) async fn large_bodies(host: &str) {
    stays_within_limits(host, |mut client| async move {
        let target = opened(&mut client).await;
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
        let target = opened(&mut client).await;
        for _ in 0..MESSAGES {
            assert_eq!(client.post(&target, "4x").await.text(), "ok");
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
