//! Clients that do not read what they asked for.

use std::time::Duration;

use engineio_e2e::frame;
use engineio_e2e::puppet::Puppet;
use engineio_tower::DisconnectReason::{PingTimeout, SlowConsumer};
use engineio_tower::{Config, ServerBuilder, Sid};

use crate::siege::{Siege, WEBSOCKET};

/// The limit of a client's outbox in these tests.
const OUTBOX: usize = 100_000;
const MESSAGE: usize = 10_000;
/// Large enough that a few dozen fill the buffers of a connection.
const NEWS: usize = 60_000;
const BEAT: Duration = Duration::from_millis(400);

pub(crate) fn rules(builder: ServerBuilder) -> ServerBuilder {
    builder
        .outbox_limit(OUTBOX)
        .inbox_limit(OUTBOX)
        .ping_interval(BEAT)
        .ping_timeout(BEAT)
}

/// A WebSocket whose way back is soon full.
async fn narrow(siege: &Siege) -> (Sid, Puppet) {
    let mut socket = siege.site.connect_narrow().await;
    let (sid, _) = siege.site.open_websocket(&mut socket, "").await;
    (sid, socket)
}

/// Its own echo fills the way back, then the outbox, then the inbox; then it is read no more, and the heartbeat ends it.
pub(crate) async fn echo_over_websocket(siege: &mut Siege) {
    let (sid, mut client) = narrow(siege).await;
    let socket = siege.site.socket(&sid).unwrap();
    let flood = async {
        let message = frame::binary(&[0; MESSAGE]);
        let mut sent = 0_usize;
        while client.try_write(&message).await {
            sent += message.len();
            let queued = socket.queued_bytes();
            assert!(queued <= OUTBOX, "{queued} after {sent}");
        }
    };
    tokio::select! {
        () = flood => {}
        _ = socket.closed() => {}
    }
    let reason = siege.ended(sid).await;
    // Between two nodes, it may not have filled all buffers before its heartbeat is due.
    let expected = reason == SlowConsumer || siege.site.is_cluster() && reason == PingTimeout;
    assert!(expected, "{reason}");
    siege.all_gone().await;
}

/// The same by POSTs, and no GET.
pub(crate) async fn echo_over_polling(siege: &mut Siege) {
    let (sid, target, mut client) = siege.poller().await;
    let socket = siege.site.socket(&sid).unwrap();
    let body = vec![[b"4".as_slice(), &[b'x'; MESSAGE]].concat(); 25].join(&0x1e);
    while client.post(&target, &body).await.status == 200 {
        let queued = socket.queued_bytes();
        assert!(queued <= OUTBOX, "{queued}");
    }
    assert_eq!(siege.ended(sid).await, PingTimeout);
    siege.all_gone().await;
}

/// News for everybody. It misses what does not fit, and everybody else misses nothing.
pub(crate) async fn broadcast_over_websocket(siege: &mut Siege) {
    let (sid, client) = narrow(siege).await;
    broadcast_until_gone(siege, sid).await;
    // Whether it has taken a ping before the buffers on the way were full is chance.
    let reason = siege.ended(sid).await;
    assert!(matches!(reason, SlowConsumer | PingTimeout), "{reason}");
    drop(client);
}

pub(crate) async fn broadcast_over_polling(siege: &mut Siege) {
    let (sid, _, client) = siege.poller().await;
    broadcast_until_gone(siege, sid).await;
    assert_eq!(siege.ended(sid).await, PingTimeout);
    drop(client);
}

async fn broadcast_until_gone(siege: &mut Siege, sid: Sid) {
    let socket = siege.site.socket(&sid).unwrap();
    let mut missed = false;
    while socket.is_connected() {
        missed |= siege.broadcast(NEWS).await < 3 && socket.is_connected();
        let queued = socket.queued_bytes();
        assert!(queued <= OUTBOX + Config::PACKET_OVERHEAD, "{queued}");
    }
    // The same here: two nodes hold more on the way.
    assert!(
        missed || siege.site.is_cluster(),
        "it was never left out, so its outbox was never full"
    );
    siege.all_gone().await;
}

/// It asks for the largest answer, again and again over new connections, and reads none. The last is fetched by nobody.
pub(crate) async fn answers(siege: &mut Siege) {
    let mut clients = Vec::new();
    let mut sids = Vec::new();
    for _ in 0..20 {
        let (sid, target, mut client) = siege.poller().await;
        let body = vec![[b"4".as_slice(), &[b'x'; MESSAGE]].concat(); 9].join(&0x1e);
        assert_eq!(client.post(&target, &body).await.status, 200);
        client.send_get(&target).await;
        clients.push(client);
        sids.push(sid);
    }
    for sid in sids {
        assert_eq!(siege.ended(sid).await, PingTimeout);
    }
    siege.all_gone().await;
}

/// It asks for WebSockets and does not even read the 101, nor answers the heartbeat.
pub(crate) async fn handshakes(siege: &mut Siege) {
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = siege.connect().await;
        let handshake = client.handshake(WEBSOCKET);
        client.write(handshake).await;
        clients.push(client);
    }
    let mut ended = 0;
    while ended < clients.len() {
        assert_eq!(siege.next_end().await, PingTimeout);
        ended += 1;
    }
    siege.all_gone().await;
}
