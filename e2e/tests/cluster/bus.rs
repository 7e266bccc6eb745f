//! Nodes that find each other over a bus, here one in memory.

use std::sync::Arc;
use std::time::Duration;

use engineio_cluster::{
    Bus, BusEvent, BusFuture, Cluster, Drain, JoinError, MemoryBroker, MemoryBus, PublishError,
    StartError,
};
use engineio_e2e::host::Hyper;
use engineio_e2e::{app, within};
use tokio::net::TcpListener;

use crate::support::{Node, SECRET, node};

async fn joined(broker: &MemoryBroker, name: &str) -> Node {
    let builder = Cluster::builder().name(name).bus(broker.connect());
    node::<Hyper>(builder, app::echo(|builder| builder)).await
}

/// Two nodes that know each other.
async fn pair(broker: &MemoryBroker) -> [Node; 2] {
    let (a, b) = tokio::join!(joined(broker, "a"), joined(broker, "b"));
    known(&a, &b).await;
    [a, b]
}

async fn known(a: &Node, b: &Node) {
    let known = async {
        while a.cluster.nodes().len() < 2 || b.cluster.nodes().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    within("the announcements", known).await;
}

#[tokio::test]
async fn nodes_that_meet_on_a_bus_forward_and_broadcast_exactly_once() {
    let broker = MemoryBroker::new();
    let [mut a, mut b] = pair(&broker).await;
    let targets = [a.poller().await, b.poller().await];
    let posted = b.connect().await.post(&targets[0], "4across").await;
    assert_eq!(posted.status, 200);
    assert_eq!(b.connect().await.get(&targets[0]).await.text(), "4across");
    // The second is larger than the bus takes, and goes over HTTP/2.
    for message in ["to all".to_owned(), "x".repeat(1_100_000)] {
        assert_eq!(a.cluster.broadcast(message.clone()).await, Ok(1));
        for target in &targets {
            let polled = a.connect().await.get(target).await;
            assert_eq!(polled.text(), format!("4{message}"));
            assert_eq!(a.connect().await.post(target, "4next").await.status, 200);
            assert_eq!(a.connect().await.get(target).await.text(), "4next");
        }
    }
}

#[tokio::test]
async fn broker_gone_costs_broadcasts_and_no_session() {
    let broker = MemoryBroker::new();
    let [mut a, b] = pair(&broker).await;
    let target = a.poller().await;
    broker.stop();
    let error = a.cluster.broadcast("to all").await.unwrap_err();
    assert_eq!(error.here, 1);
    assert!(error.bus.is_some());
    assert_eq!(b.connect().await.get(&target).await.text(), "4to all");
    assert_eq!(b.connect().await.post(&target, "4on").await.status, 200);
    assert_eq!(b.connect().await.get(&target).await.text(), "4on");
}

#[tokio::test]
async fn a_node_whose_address_rejects_connections_is_unavailable_while_it_lives() {
    let broker = MemoryBroker::new();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rejecting = closed.local_addr().unwrap().to_string();
    drop(closed);
    let builder = Cluster::builder().name("b").bus(broker.connect());
    let behind_firewall = node::<Hyper>(builder.advertise(rejecting), app::echo(|builder| builder));
    let (a, mut b) = tokio::join!(joined(&broker, "a"), behind_firewall);
    known(&a, &b).await;
    let target = b.poller().await;
    assert_eq!(a.connect().await.get(&target).await.status, 503);
    assert_eq!(b.connect().await.post(&target, "4lives").await.status, 200);
    assert_eq!(a.cluster.nodes().len(), 2);
}

/// A bus whose faults the test controls.
#[derive(Debug)]
struct Shared(Arc<MemoryBus>);

impl Bus for Shared {
    fn publish(&self, message: bytes::Bytes) -> BusFuture<'_, Result<(), PublishError>> {
        self.0.publish(message)
    }

    fn next_event(&self) -> BusFuture<'_, BusEvent> {
        self.0.next_event()
    }

    fn reconnect(&self) {
        self.0.reconnect();
    }
}

/// The connections of a process that is being killed break, before its address refuses others.
#[tokio::test]
async fn a_killed_owner_whose_address_breaks_connections_is_declared_dead_as_one_that_refuses_them()
{
    let broker = MemoryBroker::new();
    let breaking = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = breaking.local_addr().unwrap().to_string();
    tokio::spawn(async move { while breaking.accept().await.is_ok() {} });
    let bus = Arc::new(broker.connect());
    let builder = Cluster::builder().name("b").bus(Shared(Arc::clone(&bus)));
    let killed = node::<Hyper>(builder.advertise(address), app::echo(|builder| builder));
    let (a, mut b) = tokio::join!(joined(&broker, "a"), killed);
    known(&a, &b).await;
    let target = b.poller().await;
    assert_eq!(a.connect().await.get(&target).await.status, 503);
    bus.set_loses_published(true);
    assert_eq!(a.connect().await.get(&target).await.status, 400);
    assert!(a.cluster.status().is_alone());
}

#[tokio::test]
async fn two_nodes_with_one_name_the_younger_does_not_start() {
    let broker = MemoryBroker::new();
    let _first = joined(&broker, "a").await;
    let (server, _) = app::echo(|builder| builder);
    let second = Cluster::builder().name("a").secret(SECRET);
    let second = second.bus(broker.connect()).start(&server).await;
    let taken = matches!(second, Err(StartError::Join(JoinError::IdInUse { .. })));
    assert!(taken, "{second:?}");
}

#[tokio::test]
async fn a_node_that_has_drained_is_forgotten_at_once() {
    let broker = MemoryBroker::new();
    let [mut a, b] = pair(&broker).await;
    let target = a.poller().await;
    let pace = Drain::new()
        .announce(Duration::ZERO)
        .spread(Duration::ZERO)
        .grace(Duration::from_millis(100));
    within("the drain", a.cluster.drain(pace)).await;
    forgets(&b, &target).await;
}

#[tokio::test]
async fn a_node_whose_server_has_shut_down_is_forgotten_at_once() {
    let broker = MemoryBroker::new();
    let [mut a, b] = pair(&broker).await;
    let target = a.poller().await;
    within("the shutdown", a.server.shutdown(Duration::ZERO)).await;
    forgets(&b, &target).await;
}

/// A node forgets the only other one, of which this was a session.
async fn forgets(node: &Node, target: &str) {
    let forgotten = async {
        while node.cluster.nodes().len() > 1 {
            tokio::task::yield_now().await;
        }
    };
    within("the farewell", forgotten).await;
    assert!(node.cluster.status().is_alone());
    let polled = node.connect().await.get(target).await;
    assert_eq!(
        (polled.status, polled.text()),
        (400, r#"{"code":1,"message":"Session ID unknown"}"#)
    );
}
