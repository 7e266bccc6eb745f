//! What the application asks of the cluster.

use std::time::Duration;

use engineio_cluster::{Cluster, ClusterSendError, Drain, Peers};
use engineio_e2e::frame::{self, Frame};
use engineio_e2e::puppet::Puppet;
use engineio_e2e::within;
use engineio_tower::{DisconnectReason, Message, Sid};

use crate::support::{Node, SECRET, WEBSOCKET, nodes, sid, upgrade_target};

/// The session id in the target of a request.
fn sid_of(target: &str) -> Sid {
    target.rsplit_once('=').unwrap().1.parse().unwrap()
}

#[tokio::test]
async fn messages_to_clients_of_other_nodes_arrive_in_order() {
    let [mut a, b] = nodes().await;
    let target = a.poller().await;
    let sid = sid_of(&target);
    b.cluster.send(&sid, "first").await.unwrap();
    b.cluster.send(&sid, vec![1, 2, 3]).await.unwrap();
    a.cluster.send(&sid, "third").await.unwrap();
    let polled = b.connect().await.get(&target).await;
    assert_eq!(polled.text(), "4first\u{1e}bAQID\u{1e}4third");
}

#[tokio::test]
async fn a_message_to_nobody_comes_back() {
    let [mut a, b] = nodes().await;
    let _ = a.poller().await;
    for nobody in [
        "AAAAAAAAAAAAAAAAAAAA.a",
        "AAAAAAAAAAAAAAAAAAAA.b",
        "AAAA.zzz",
    ] {
        let sent = b.cluster.send(&nobody.parse().unwrap(), "lost").await;
        assert_eq!(sent, Err(ClusterSendError::Closed(Message::from("lost"))));
        let disconnected = b.cluster.disconnect(&nobody.parse().unwrap()).await;
        assert_eq!(disconnected, Ok(false));
    }
}

#[tokio::test]
async fn a_text_that_polling_cannot_carry_comes_back_from_another_node() {
    let [mut a, b] = nodes().await;
    let sid = sid_of(&a.poller().await);
    let sent = b.cluster.send(&sid, "two\u{1e}packets").await;
    assert!(
        matches!(sent, Err(ClusterSendError::Separator(_))),
        "{sent:?}"
    );
}

#[tokio::test]
async fn a_client_of_another_node_is_disconnected_in_good_order() {
    let [mut a, b] = nodes().await;
    let target = a.poller().await;
    assert_eq!(b.cluster.disconnect(&sid_of(&target)).await, Ok(true));
    assert_eq!(a.connect().await.get(&target).await.text(), "1");
    assert_eq!(a.events.disconnected().await, DisconnectReason::Server);
}

#[tokio::test]
async fn a_broadcast_reaches_every_client_of_every_node_exactly_once() {
    let [mut a, mut b, mut c] = nodes().await;
    let targets = [a.poller().await, b.poller().await, c.poller().await];
    // The second is larger than a bus would take.
    for message in ["to all".to_owned(), "x".repeat(2_000_000)] {
        assert_eq!(b.cluster.broadcast(message.clone()).await, Ok(1));
        for target in &targets {
            let polled = a.connect().await.get(target).await;
            assert_eq!(polled.text(), format!("4{message}"));
            let mut poll = a.connect().await;
            poll.send_get(target).await;
            assert_eq!(a.connect().await.post(target, "4behind").await.status, 200);
            assert_eq!(poll.response().await.text(), "4behind");
        }
    }
}

#[tokio::test]
async fn a_message_above_the_limit_of_other_nodes_comes_back_with_both_sizes() {
    let [mut a, b] = nodes().await;
    let sid = sid_of(&a.poller().await);
    let limit = 64 * 1024 * 1024;
    let largest = "x".repeat(limit);
    assert_eq!(b.cluster.broadcast(largest).await, Ok(0));
    let larger = vec![0; limit + 1];
    let sent = b.cluster.send(&sid, larger.clone()).await;
    let broadcast = b.cluster.broadcast(larger).await;
    for said in [
        sent.unwrap_err().to_string(),
        broadcast.unwrap_err().to_string(),
    ] {
        let is_told = said.contains("67108865 bytes") && said.contains("67108864 at most");
        assert!(is_told && !said.contains("did not answer"), "{said}");
    }
}

#[tokio::test]
async fn the_ids_of_all_clients_are_those_of_all_nodes() {
    let [mut a, mut b, c] = nodes().await;
    let mut expected = vec![sid_of(&a.poller().await), sid_of(&b.poller().await)];
    expected.push(sid_of(&a.poller().await));
    expected.sort_unstable();
    let (mut sids, unreachable) = c.cluster.sids().await;
    sids.sort_unstable();
    assert_eq!((sids, unreachable), (expected, vec![]));
}

#[tokio::test]
async fn every_node_counts_the_clients_of_all() {
    let [mut a, mut b, c] = nodes().await;
    let _ = (a.poller().await, a.poller().await, b.poller().await);
    within("the count", async {
        while c.cluster.len() != 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let sessions: Vec<_> = c.cluster.nodes().iter().map(|node| node.sessions).collect();
    assert_eq!(sessions, [2, 1, 0]);
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_named() {
    let [mut a, b] = nodes().await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peers = [
        ("a", a.cluster.local_addr().to_string()),
        ("gone", silent.local_addr().unwrap().to_string()),
    ];
    drop(silent);
    let (server, _) = engineio_e2e::app::echo(|builder| builder);
    let cluster = Cluster::builder()
        .name("c")
        .secret(SECRET)
        .peers(Peers::fixed(peers).unwrap());
    let cluster = cluster.start(&server).await.unwrap();
    let here = sid_of(&a.poller().await);
    let (sids, unreachable) = cluster.sids().await;
    assert_eq!(sids, [here]);
    assert_eq!(unreachable.len(), 1);
    assert_eq!(unreachable[0].node.as_str(), "gone");
    assert!(!unreachable[0].may_have_arrived);
    let error = cluster.broadcast("to all").await.unwrap_err();
    assert_eq!((error.here, error.unreachable.len()), (0, 1));
    assert_eq!(b.connect().await.get("/").await.status, 200);
}

#[tokio::test]
async fn a_node_that_drains_refuses_new_clients_and_closes_what_enters_it() {
    let [mut a, mut b] = nodes().await;
    let target = a.poller().await;
    let mut entering = b.connect().await;
    entering.upgrade(&upgrade_target(&target)).await;
    entering.say("2probe").await;
    assert_eq!(entering.hear().await, "3probe");
    entering.say("5").await;
    let mut own = b.connect().await;
    own.upgrade(WEBSOCKET).await;
    assert!(sid(&own.hear().await).ends_with(".b"));
    assert!(b.cluster.status().is_ready());
    let pace = Drain::new()
        .announce(Duration::ZERO)
        .spread(Duration::from_millis(50))
        .grace(Duration::from_secs(5));
    within("the drain", b.cluster.drain(pace)).await;
    assert!(!b.cluster.status().is_ready());
    assert_eq!(b.connect().await.get(WEBSOCKET).await.status, 400);
    let polling = WEBSOCKET.replace("websocket", "polling");
    assert_eq!(b.connect().await.get(&polling).await.status, 503);
    assert_eq!(own.hear().await, "1");
    assert_eq!(b.events.disconnected().await, DisconnectReason::Server);
    assert_eq!(entering.hear().await, "1");
    assert_eq!(a.events.disconnected().await, DisconnectReason::Server);
}

/// A WebSocket at one node of a session of another.
async fn entering(entry: &Node, target: &str) -> Puppet {
    let mut socket = entry.connect().await;
    socket.upgrade(&upgrade_target(target)).await;
    socket.say("2probe").await;
    assert_eq!(socket.hear().await, "3probe");
    socket.say("5").await;
    socket.say("4there").await;
    assert_eq!(socket.hear().await, "4there");
    socket
}

#[tokio::test]
async fn a_node_has_not_drained_before_the_owners_have_closed_what_enters_it() {
    let [mut a, b] = nodes().await;
    let target = a.poller().await;
    let mut socket = entering(&b, &target).await;
    let client = tokio::spawn(async move {
        assert_eq!(socket.hear().await, "1");
        assert!(matches!(socket.frame().await, Some(Frame::Close(_))));
        socket.try_write(frame::close(1000)).await;
        socket.ended().await;
    });
    let pace = Drain::new().announce(Duration::ZERO).spread(Duration::ZERO);
    within("the drain", b.cluster.drain(pace)).await;
    // The process may end now.
    assert!(a.server.is_empty());
    client.await.unwrap();
}

#[tokio::test]
async fn a_poll_that_waits_at_a_node_that_goes_away_is_answered_and_its_session_goes_on() {
    let [mut owner, draining, ending] = nodes().await;
    let target = owner.poller().await;
    let pace = Drain::new().announce(Duration::ZERO).spread(Duration::ZERO);
    for (entry, drains) in [(&draining, true), (&ending, false)] {
        let mut poll = entry.connect().await;
        poll.send_get(&target).await;
        // A pong, which nothing answers, goes the same way behind the poll.
        assert_eq!(entry.connect().await.post(&target, "3").await.status, 200);
        if drains {
            within("the drain", entry.cluster.drain(pace)).await;
        } else {
            entry.server.shutdown(Duration::from_secs(10)).await;
        }
        assert_eq!(poll.response().await.text(), "6");
        // As does the next one, if the host goes on serving.
        assert_eq!(poll.get(&target).await.text(), "6");
    }
    let mut client = owner.connect().await;
    assert_eq!(client.post(&target, "4still here").await.text(), "ok");
    assert_eq!(client.get(&target).await.text(), "4still here");
    assert!(owner.events.is_empty());
}

#[tokio::test]
async fn a_session_that_would_upgrade_at_a_node_that_drains_goes_on_by_polling() {
    let [mut a, b] = nodes().await;
    let target = a.poller().await;
    // Its WebSocket does not end until the grace is over.
    let _silent = entering(&b, &a.poller().await).await;
    let pace = Drain::new().announce(Duration::ZERO).spread(Duration::ZERO);
    let draining = {
        let cluster = b.cluster.clone();
        tokio::spawn(async move { cluster.drain(pace).await })
    };
    let polling = WEBSOCKET.replace("websocket", "polling");
    let refusing = async { while b.connect().await.get(&polling).await.status == 200 {} };
    within("the refusal of new clients", refusing).await;
    let mut late = b.connect().await;
    let handshake = late.handshake(&upgrade_target(&target));
    late.write(handshake).await;
    assert_eq!(late.response().await.status, 503);
    assert_eq!(b.connect().await.post(&target, "4on").await.status, 200);
    assert_eq!(b.connect().await.get(&target).await.text(), "4on");
    draining.abort();
}
