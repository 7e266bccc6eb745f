//! The table of failures: what each costs, and what the others see.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use engineio_cluster::{Cluster, Peers};
use engineio_e2e::app;
use engineio_e2e::host::{Host, Hyper};
use engineio_e2e::puppet::Puppet;
use tokio::net::TcpListener;

use crate::support::{Mortal, POLLING, SECRET, upgrade_target};

/// The answer to a request for a session that is over, or was never there.
const UNKNOWN: &str = r#"{"code":1,"message":"Session ID unknown"}"#;

/// A node that knows one other, named `x`, at this address.
async fn entry_to(address: SocketAddr) -> engineio_e2e::host::Running {
    let (server, _) = app::echo(|builder| builder);
    Cluster::builder()
        .name("entry")
        .secret(SECRET)
        .peers(Peers::fixed([("x", address.to_string())]).unwrap())
        .start(&server)
        .await
        .unwrap();
    Hyper::start(server).await
}

/// The target of a poll of a session that the node `x` would own.
fn poll_at_x() -> String {
    format!("{POLLING}&sid=AAAAAAAAAAAAAAAAAAAA.x")
}

#[tokio::test]
async fn owner_killed_its_sessions_are_unavailable_at_once_and_others_go_on() {
    let [a, b, c] = Mortal::start().await;
    let (lost, bystander) = (a.poller().await, c.poller().await);
    let mut waiting = b.connect().await;
    waiting.send_get(&lost).await;
    let mut living = b.connect().await;
    living.send_get(&bystander).await;
    assert_eq!(b.connect().await.post(&lost, "3").await.status, 200);
    a.kill();
    let killed = Instant::now();
    // Of a fixed list nobody is declared dead: it may be a firewall that rejects.
    assert_eq!(waiting.response().await.status, 503);
    assert_eq!(b.connect().await.post(&lost, "4lost").await.status, 503);
    assert!(killed.elapsed() < Duration::from_secs(1));
    assert_eq!(b.connect().await.post(&bystander, "4on").await.status, 200);
    assert_eq!(living.response().await.text(), "4on");
}

#[tokio::test]
async fn owner_killed_its_websockets_end() {
    let [a, b] = Mortal::start().await;
    let mut socket = b.connect().await;
    socket.upgrade(&upgrade_target(&a.poller().await)).await;
    a.kill();
    socket.ended().await;
}

#[tokio::test]
async fn entry_killed_the_sessions_of_others_that_do_not_enter_there_go_on() {
    let [a, b, c] = Mortal::start().await;
    let target = a.poller().await;
    assert_eq!(b.connect().await.post(&target, "4first").await.status, 200);
    b.kill();
    assert_eq!(c.connect().await.get(&target).await.text(), "4first");
    assert_eq!(c.connect().await.post(&target, "4second").await.status, 200);
    assert_eq!(a.connect().await.get(&target).await.text(), "4second");
}

#[tokio::test]
async fn entry_killed_what_entered_there_ends_at_its_owner() {
    let [a, b] = Mortal::start().await;
    let target = a.poller().await;
    let mut poll = b.connect().await;
    poll.send_get(&target).await;
    assert_eq!(b.connect().await.post(&target, "3").await.status, 200);
    b.kill();
    let over = async {
        while !a.cluster.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    engineio_e2e::within("the end of the session", over).await;
    let polled = a.connect().await.get(&target).await;
    assert_eq!((polled.status, polled.text()), (400, UNKNOWN));
}

#[tokio::test]
async fn owner_that_accepts_and_answers_nothing_is_unavailable_within_the_connect_limit() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let entry = entry_to(silent.local_addr().unwrap()).await;
    let begun = Instant::now();
    let mut puppet = Puppet::connect(entry.address).await;
    assert_eq!(puppet.get(&poll_at_x()).await.status, 503);
    assert!(begun.elapsed() < Duration::from_secs(2));
    // A session of the entry itself waits for nothing.
    assert_eq!(puppet.get(POLLING).await.status, 200);
}

/// Greets as a node does, and answers nothing any more.
async fn freeze(listener: TcpListener) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let (_, mut respond) = connection.accept().await.unwrap().unwrap();
    respond
        .send_response(http::Response::new(()), true)
        .unwrap();
    // Polled no more, the connection answers no ping.
    let (_request, _respond) = connection.accept().await.unwrap().unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn owner_frozen_for_longer_than_the_detector_waits_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let entry = entry_to(listener.local_addr().unwrap()).await;
    tokio::spawn(freeze(listener));
    let begun = Instant::now();
    let mut puppet = Puppet::connect(entry.address).await;
    assert_eq!(puppet.get(&poll_at_x()).await.status, 503);
    let waited = begun.elapsed();
    assert!(waited > Duration::from_secs(3), "{waited:?}");
    assert!(waited < Duration::from_secs(8), "{waited:?}");
}

#[tokio::test]
async fn another_secret_is_unavailable_and_tells_nothing() {
    let (server, _) = app::echo(|builder| builder);
    let x = Cluster::builder().name("x").secret("another secret");
    let x = x.start(&server).await.unwrap();
    let entry = entry_to(x.local_addr()).await;
    let mut puppet = Puppet::connect(entry.address).await;
    assert_eq!(puppet.get(&poll_at_x()).await.status, 503);
}

#[tokio::test]
async fn another_node_at_the_address_is_unavailable() {
    let (server, _) = app::echo(|builder| builder);
    let y = Cluster::builder().name("y").secret(SECRET);
    let y = y.start(&server).await.unwrap();
    let entry = entry_to(y.local_addr()).await;
    let mut puppet = Puppet::connect(entry.address).await;
    assert_eq!(puppet.get(&poll_at_x()).await.status, 503);
}
