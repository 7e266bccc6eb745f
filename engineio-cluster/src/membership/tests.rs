//! The membership over a bus in memory, with the clock of the tests.

use std::sync::Arc;
use std::time::Duration;

use engineio_tower::{Message, Server};
use tokio::time::{Instant, sleep_until};

use super::scenarios::id;
use super::{JoinError, Local, Membership};
use crate::bus::{Bus, BusEvent, MemoryBroker, MemoryBus, PublishError};
use crate::members::Members;
use crate::{Member, MemberState};

struct Node {
    membership: Membership,
    members: Members,
    bus: Arc<MemoryBus>,
}

impl Node {
    fn knows(&self, name: &str) -> bool {
        self.members.get(&id(name)).is_some()
    }
}

async fn try_join(broker: &MemoryBroker, name: &str, incarnation: u64) -> Result<Node, JoinError> {
    let bus = Arc::new(broker.connect());
    let members = Members::new();
    let local = Local {
        id: id(name),
        incarnation,
        address: format!("{name}:7000").into(),
    };
    let server = Server::builder().build();
    let shared: Arc<dyn Bus> = bus.clone();
    let membership = Membership::join(shared, local, members.clone(), server).await?;
    Ok(Node {
        membership,
        members,
        bus,
    })
}

async fn join(broker: &MemoryBroker, name: &str) -> Node {
    let incarnation = u64::from(name.as_bytes()[0]);
    try_join(broker, name, incarnation).await.unwrap()
}

/// Lets time pass on the clock of the test, which stands still otherwise.
async fn pass(time: Duration) {
    sleep_until(Instant::now() + time).await;
}

async fn seconds(count: u64) {
    pass(Duration::from_secs(count)).await;
}

#[tokio::test(start_paused = true)]
async fn nodes_find_each_other_and_a_joining_node_knows_the_others_when_it_has_joined() {
    let broker = MemoryBroker::new();
    let a = join(&broker, "a").await;
    assert_eq!(a.membership.status().others, 0);
    assert!(a.membership.status().is_alone());
    let b = join(&broker, "b").await;
    let expected = Member {
        id: id("a"),
        incarnation: u64::from(b'a'),
        address: "a:7000".into(),
        state: MemberState::Up,
        sessions: 0,
    };
    assert_eq!(*b.members.get(&id("a")).unwrap(), expected);
    seconds(1).await;
    assert!(a.knows("b"));
    assert!(a.membership.status().is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_is_gone_at_once_and_one_that_is_killed_within_five_seconds() {
    let broker = MemoryBroker::new();
    let a = join(&broker, "a").await;
    let b = join(&broker, "b").await;
    let c = join(&broker, "c").await;
    seconds(1).await;
    b.membership.leave().await;
    pass(Duration::from_millis(1)).await;
    assert!(!a.knows("b") && a.knows("c"));
    drop(c);
    seconds(5).await;
    assert!(!a.knows("c"));
}

#[tokio::test(start_paused = true)]
async fn a_killed_node_is_gone_200_ms_after_its_address_refused_a_connection() {
    let broker = MemoryBroker::new();
    let a = join(&broker, "a").await;
    let b = join(&broker, "b").await;
    seconds(1).await;
    drop(b);
    a.membership.report_refused_connection(id("b"));
    pass(Duration::from_millis(210)).await;
    assert!(!a.knows("b"));
}

#[tokio::test(start_paused = true)]
async fn a_live_node_whose_address_refuses_connections_stays() {
    let broker = MemoryBroker::new();
    let a = join(&broker, "a").await;
    let _b = join(&broker, "b").await;
    seconds(1).await;
    for _ in 0..100 {
        a.membership.report_refused_connection(id("b"));
        pass(Duration::from_millis(50)).await;
        assert!(a.knows("b"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_node_with_one_id_is_told_to_take_another_name() {
    let broker = MemoryBroker::new();
    let _a = join(&broker, "a").await;
    let Err(error) = try_join(&broker, "a", 1).await else {
        panic!("two nodes with one id");
    };
    let expected = "a running node at a:7000 has the id a: stop it, or give this node another name, or none for a random one";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_bus_is_deaf_from_the_start_does_not_start() {
    let broker = MemoryBroker::new();
    broker.stop();
    let start = Instant::now();
    let Err(error) = try_join(&broker, "a", 1).await else {
        panic!("started without a bus");
    };
    assert_eq!(error, JoinError::BusDeaf);
    assert!(start.elapsed() <= Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_broker_costs_broadcasts_and_nothing_else() {
    let broker = MemoryBroker::new();
    let a = join(&broker, "a").await;
    let _b = join(&broker, "b").await;
    seconds(1).await;
    broker.stop();
    let lost = Instant::now();
    seconds(600).await;
    assert!(a.knows("b"), "the table stands still");
    let status = a.membership.status();
    assert_eq!(status.bus_lost_since, Some(lost.into_std()));
    assert!(status.is_ready());
    let outcome = a.membership.broadcast(Message::from("lost")).await;
    assert_eq!(outcome, Err(PublishError::Disconnected));
    broker.start();
    seconds(10).await;
    assert!(a.knows("b"));
    assert_eq!(a.membership.status().bus_lost_since, None);
    assert_eq!(
        a.membership.broadcast(Message::from("arrives")).await,
        Ok(vec![])
    );
}

#[tokio::test(start_paused = true)]
async fn a_deaf_node_reports_it_reconnects_and_tells_the_caller_of_a_broadcast() {
    let broker = MemoryBroker::new();
    let a = join(&broker, "a").await;
    let _b = join(&broker, "b").await;
    seconds(1).await;
    a.bus.set_deaf(true);
    seconds(5).await;
    assert!(a.membership.status().bus_lost_since.is_some());
    assert!(a.bus.reconnects() >= 1);
    let outcome = a.membership.broadcast(Message::from("perhaps")).await;
    assert_eq!(outcome, Err(PublishError::Unconfirmed));
    seconds(60).await;
    assert!(a.knows("b"));
    a.bus.set_deaf(false);
    seconds(2).await;
    assert_eq!(a.membership.status().bus_lost_since, None);
}

#[tokio::test(start_paused = true)]
async fn garbage_and_other_versions_on_the_channel_change_nothing() {
    let broker = MemoryBroker::new();
    let a = join(&broker, "a").await;
    let _b = join(&broker, "b").await;
    for garbage in [
        &b""[..],
        b"hello",
        b"eio",
        b"eio\x01",
        b"eio\x02\x01xyz",
        &[0xff; 2000],
    ] {
        broker.inject(garbage.to_vec());
    }
    broker.inject(vec![0; 33 * 1024 * 1024]);
    seconds(10).await;
    assert!(a.knows("b"));
    assert_eq!(a.membership.status().bus_lost_since, None);
}

#[tokio::test(start_paused = true)]
async fn a_draining_node_is_shown_as_draining_and_is_not_ready() {
    let broker = MemoryBroker::new();
    let a = join(&broker, "a").await;
    let b = join(&broker, "b").await;
    b.membership.drain().await;
    seconds(1).await;
    assert_eq!(
        a.members.get(&id("b")).unwrap().state,
        MemberState::Draining
    );
    assert!(!b.membership.status().is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_above_the_limit_of_the_bus_is_handed_back_unpublished() {
    let broker = MemoryBroker::new();
    let a = join(&broker, "a").await;
    let listener = broker.connect();
    let large = Message::binary(vec![0; crate::MAX_MESSAGE]);
    let outcome = a.membership.broadcast(large).await;
    assert!(matches!(outcome, Err(PublishError::TooLarge { .. })));
    let largest = crate::MAX_MESSAGE - crate::bus::wire::BROADCAST_OVERHEAD;
    let largest = Message::binary(vec![0; largest]);
    assert_eq!(a.membership.broadcast(largest).await, Ok(vec![]));
    let BusEvent::Message(published) = listener.next_event().await else {
        panic!("nothing was published");
    };
    assert_eq!(published.len(), crate::MAX_MESSAGE);
}

#[tokio::test(start_paused = true)]
async fn two_running_nodes_with_one_id_show_it_in_their_status() {
    let broker = MemoryBroker::new();
    let a = join(&broker, "a").await;
    // The elder was deaf while the younger checked.
    a.bus.set_deaf(true);
    a.bus.set_loses_published(true);
    let second = try_join(&broker, "a", 1).await.unwrap();
    a.bus.set_deaf(false);
    a.bus.set_loses_published(false);
    seconds(2).await;
    assert!(a.membership.status().id_conflict);
    assert!(second.membership.status().id_conflict);
    drop(second);
    seconds(6).await;
    assert!(!a.membership.status().id_conflict);
}

#[tokio::test(start_paused = true)]
async fn broadcasts_that_the_broker_swallows_are_unconfirmed_after_three_seconds_all_at_the_same_time()
 {
    let broker = MemoryBroker::new();
    let a = join(&broker, "a").await;
    let _b = join(&broker, "b").await;
    a.bus.set_loses_published(true);
    let began = Instant::now();
    let broadcast = |text| a.membership.broadcast(Message::from(text));
    let outcomes = tokio::join!(broadcast("one"), broadcast("two"), broadcast("three"));
    let unconfirmed = Err(PublishError::Unconfirmed);
    let expected = (unconfirmed.clone(), unconfirmed.clone(), unconfirmed);
    assert_eq!(outcomes, expected);
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    a.bus.set_loses_published(false);
    let began = Instant::now();
    assert_eq!(a.membership.broadcast("four".into()).await, Ok(vec![]));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_that_waits_for_the_broker_fails_at_once_when_the_bus_is_lost() {
    let broker = MemoryBroker::new();
    let a = join(&broker, "a").await;
    a.bus.set_loses_published(true);
    let began = Instant::now();
    let stop = async {
        pass(Duration::from_millis(300)).await;
        broker.stop();
    };
    let (outcome, ()) = tokio::join!(a.membership.broadcast("lost".into()), stop);
    assert_eq!(outcome, Err(PublishError::Unconfirmed));
    assert_eq!(began.elapsed(), Duration::from_millis(300));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_not_been_heard_since_the_bus_came_back_may_have_missed_a_broadcast() {
    let broker = MemoryBroker::new();
    let a = join(&broker, "a").await;
    let b = join(&broker, "b").await;
    let c = join(&broker, "c").await;
    seconds(1).await;
    // Neither is connected again when `a` is.
    b.bus.set_loses_published(true);
    c.bus.set_loses_published(true);
    broker.stop();
    broker.start();
    pass(Duration::from_millis(10)).await;
    let broadcast = async || a.membership.broadcast(Message::from("news")).await;
    assert_eq!(broadcast().await, Ok(vec![id("b"), id("c")]));
    b.bus.set_loses_published(false);
    seconds(1).await;
    assert_eq!(broadcast().await, Ok(vec![id("c")]));
    drop(c);
    seconds(6).await;
    assert!(!a.knows("c"));
    assert_eq!(broadcast().await, Ok(vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_of_a_node_that_has_left_is_unconfirmed_at_once() {
    let broker = MemoryBroker::new();
    let a = join(&broker, "a").await;
    a.membership.leave().await;
    let began = Instant::now();
    let outcome = a.membership.broadcast("late".into()).await;
    assert_eq!(outcome, Err(PublishError::Unconfirmed));
    assert_eq!(began.elapsed(), Duration::ZERO);
}
