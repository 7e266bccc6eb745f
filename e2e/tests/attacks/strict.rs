//! A server that has no patience with clients whose outbox is full.

use engineio_tower::DisconnectReason::SlowConsumer;
use engineio_tower::{ServerBuilder, WhenFull};

use crate::siege::Siege;

pub(crate) fn rules(builder: ServerBuilder) -> ServerBuilder {
    builder
        .outbox_limit(100_000)
        .when_full(WhenFull::Disconnect)
}

/// They are dropped at once, with a reason of their own, long before their heartbeat.
pub(crate) async fn broadcast(siege: &mut Siege) {
    let (over_websocket, socket) = siege.websocket().await;
    let (over_polling, _, poll) = siege.poller().await;
    while siege.strangers() > 0 {
        siege.broadcast(50_000).await;
    }
    assert_eq!(siege.ended(over_websocket).await, SlowConsumer);
    assert_eq!(siege.ended(over_polling).await, SlowConsumer);
    drop((socket, poll));
}
