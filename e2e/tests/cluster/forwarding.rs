//! Requests that enter at a node which does not own their session.

use engineio_e2e::app::Event;
use engineio_tower::DisconnectReason;

use crate::support::{nodes, upgrade_target};

#[tokio::test]
async fn a_poll_and_a_post_at_another_node_reach_the_session() {
    let [mut a, b] = nodes().await;
    let target = a.poller().await;
    assert!(target.ends_with(".a"), "{target}");
    let mut poll = b.connect().await;
    poll.send_get(&target).await;
    let posted = b.connect().await.post(&target, "4hello").await;
    assert_eq!((posted.status, posted.text()), (200, "ok"));
    let polled = poll.response().await;
    assert_eq!((polled.status, polled.text()), (200, "4hello"));
    assert!(b.server.is_empty());
}

#[tokio::test]
async fn a_client_that_gives_up_its_poll_at_another_node_ends_its_session() {
    let [mut a, b] = nodes().await;
    let target = a.poller().await;
    let mut poll = b.connect().await;
    poll.send_get(&target).await;
    // A pong, which nothing answers, goes the same way behind the poll.
    assert_eq!(b.connect().await.post(&target, "3").await.status, 200);
    poll.reset();
    assert_eq!(
        a.events.disconnected().await,
        DisconnectReason::TransportError
    );
}

#[tokio::test]
async fn a_session_upgrades_through_another_node_and_closes_in_good_order() {
    let [mut a, b] = nodes().await;
    let target = a.poller().await;
    let mut socket = b.connect().await;
    socket.upgrade(&upgrade_target(&target)).await;
    socket.say("2probe").await;
    assert_eq!(socket.hear().await, "3probe");
    socket.say("5").await;
    assert!(matches!(a.events.next().await, Event::Upgraded(_)));
    socket.say("4over there").await;
    assert_eq!(socket.hear().await, "4over there");
    let large = format!("4{}", "x".repeat(200_000));
    socket.say(&large).await;
    assert_eq!(socket.hear().await, large);
    socket.say("1").await;
    a.events.disconnected().await;
}
