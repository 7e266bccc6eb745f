//! Requests that enter at a node which does not own their session.

use engineio_e2e::app::{Event, MAX_PAYLOAD};
use engineio_e2e::host::Host;
use engineio_e2e::puppet::Puppet;
use engineio_e2e::within;
use engineio_tower::{DisconnectReason, Socket};

use crate::support::{Node, nodes, nodes_with, upgrade_target};

/// The owner of the sessions, and the node at which their requests enter.
async fn owner_and_entry<H: Host>() -> [Node; 2] {
    nodes_with::<H, 2>(|builder| builder.websocket_compression_threshold(100)).await
}

pub(crate) async fn a_poll_and_a_post_at_another_node_reach_the_session<H: Host>() {
    let [mut owner, entry] = owner_and_entry::<H>().await;
    let target = owner.poller().await;
    assert!(target.ends_with(".a"), "{target}");
    let mut poll = entry.connect().await;
    poll.send_get(&target).await;
    let posted = entry.connect().await.post(&target, "4hello").await;
    assert_eq!((posted.status, posted.text()), (200, "ok"));
    let polled = poll.response().await;
    assert_eq!((polled.status, polled.text()), (200, "4hello"));
    assert!(entry.server.is_empty());
}

pub(crate) async fn a_session_upgrades_through_another_node_and_closes_in_good_order<H: Host>() {
    let [mut owner, entry] = owner_and_entry::<H>().await;
    let target = owner.poller().await;
    let mut socket = entry.connect().await;
    socket.upgrade(&upgrade_target(&target)).await;
    socket.say("2probe").await;
    assert_eq!(socket.hear().await, "3probe");
    socket.say("5").await;
    assert!(matches!(owner.events.next().await, Event::Upgraded(_)));
    socket.say("4over there").await;
    assert_eq!(socket.hear().await, "4over there");
    let large = format!("4{}", "x".repeat(200_000));
    socket.say(&large).await;
    assert_eq!(socket.hear().await, large);
    socket.say("1").await;
    owner.events.disconnected().await;
    socket.ended().await;
}

pub(crate) async fn a_large_post_at_another_node_arrives_and_one_that_is_too_large_is_refused<
    H: Host,
>() {
    let [mut owner, entry] = owner_and_entry::<H>().await;
    let target = owner.poller().await;
    let large = format!("4{}", "x".repeat(MAX_PAYLOAD - 1));
    let posted = entry.connect().await.post(&target, &large).await;
    assert_eq!(posted.status, 200, "{posted:?}");
    let polled = entry.connect().await.get(&target).await;
    assert_eq!(polled.text(), large);
    let mut poster = entry.connect().await;
    let length = format!("content-length: {}\r\n", MAX_PAYLOAD + 1);
    poster.send_post(&target, &length).await;
    assert_eq!(poster.response().await.status, 413);
}

pub(crate) async fn a_websocket_through_another_node_ends_when_its_client_goes<H: Host>() {
    let [mut owner, entry] = owner_and_entry::<H>().await;
    let target = owner.poller().await;
    let mut socket = entry.connect().await;
    socket.upgrade(&upgrade_target(&target)).await;
    socket.say("2probe").await;
    assert_eq!(socket.hear().await, "3probe");
    socket.say("5").await;
    assert!(matches!(owner.events.next().await, Event::Upgraded(_)));
    socket.reset();
    let reason = owner.events.disconnected().await;
    assert_eq!(reason, DisconnectReason::TransportClose);
}

pub(crate) async fn a_post_that_breaks_off_at_another_node_ends_its_session<H: Host>() {
    let [mut owner, entry] = owner_and_entry::<H>().await;
    let target = owner.poller().await;
    let mut poster = entry.connect().await;
    poster.send_post(&target, "content-length: 10000\r\n").await;
    poster.write("4begun").await;
    // Of one client two POSTs may not overlap: the answer shows that the first has arrived.
    let overlapping =
        async { while entry.connect().await.post(&target, "4x").await.status == 200 {} };
    within("the refusal", overlapping).await;
    poster.reset();
    owner.events.disconnected().await;
}

pub(crate) async fn compression_and_extensions_are_agreed_with_the_owner<H: Host>() {
    let [mut owner, entry] = owner_and_entry::<H>().await;
    let target = owner.poller().await;
    let large = format!("4{}", "x".repeat(20_000));
    assert_eq!(
        entry.connect().await.post(&target, &large).await.status,
        200
    );
    let headers = "accept-encoding: gzip\r\n";
    let polled = entry.connect().await.request("GET", &target, headers).await;
    assert_eq!(polled.header("content-encoding"), "gzip");
    assert!(polled.body.len() < 1_000, "{polled:?}");
    let mut socket = entry.connect().await;
    let agreed = socket
        .upgrade_with(&upgrade_target(&target), "permessage-deflate")
        .await;
    assert!(agreed.contains("permessage-deflate"), "{agreed}");
}

#[tokio::test]
async fn a_client_that_gives_up_its_poll_at_another_node_ends_its_session() {
    let [mut owner, entry] = nodes().await;
    let target = owner.poller().await;
    let mut poll = entry.connect().await;
    poll.send_get(&target).await;
    // A pong, which nothing answers, goes the same way behind the poll.
    assert_eq!(entry.connect().await.post(&target, "3").await.status, 200);
    poll.reset();
    assert_eq!(
        owner.events.disconnected().await,
        DisconnectReason::TransportError
    );
}

/// A client of the owner that has moved to a WebSocket at the entry.
async fn upgraded(owner: &mut Node, entry: &Node, target: &str) -> Puppet {
    let mut socket = entry.connect().await;
    socket.upgrade(&upgrade_target(target)).await;
    socket.say("2probe").await;
    assert_eq!(socket.hear().await, "3probe");
    socket.say("5").await;
    assert!(matches!(owner.events.next().await, Event::Upgraded(_)));
    socket
}

/// Such a client, which reads nothing of far more than all buffers on the way hold.
async fn stalled(owner: &mut Node, entry: &Node) -> (Puppet, Socket) {
    let target = owner.poller().await;
    let stalled = upgraded(owner, entry, &target).await;
    let sid = target.rsplit_once('=').unwrap().1.parse().unwrap();
    let flooded = owner.server.socket(&sid).unwrap();
    let chunk = "x".repeat(100_000);
    let flood = async {
        // Full for long: nothing on the way takes more.
        let mut refused = 0;
        while refused < 10_000 {
            refused = match flooded.try_send(chunk.clone()) {
                Ok(()) => 0,
                Err(_) => refused + 1,
            };
            tokio::task::yield_now().await;
        }
    };
    within("a full outbox", flood).await;
    (stalled, flooded)
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_dropped_after_its_session_at_another_node() {
    let [mut owner, entry] = nodes().await;
    let (mut stalled, flooded) = stalled(&mut owner, &entry).await;
    flooded.abort();
    owner.events.disconnected().await;
    // It does not read the end either, but cannot write any more.
    let dropped = async { while stalled.try_write([0]).await {} };
    within("the end of the connection", dropped).await;
}

#[tokio::test]
async fn a_websocket_that_is_not_read_holds_up_no_other_of_its_connection() {
    let [mut owner, entry] = nodes().await;
    let (mut stalled, _) = stalled(&mut owner, &entry).await;
    let target = owner.poller().await;
    let mut lively = upgraded(&mut owner, &entry, &target).await;
    lively.say("4there?").await;
    assert_eq!(lively.hear().await, "4there?");
    stalled.say("4there?").await;
    while stalled.hear().await != "4there?" {}
}
