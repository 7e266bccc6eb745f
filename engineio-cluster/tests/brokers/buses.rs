//! The buses over brokers that are killed, stopped and flooded.

use std::time::{Duration, Instant};

use bytes::Bytes;
use engineio_cluster::{Bus, BusEvent, MAX_MESSAGE, Nats, PublishError, Redis};
use tokio::time::timeout;

use crate::broker::{Broker, Kind, LIMIT};
use crate::node::go_on;

async fn next(bus: &dyn Bus) -> BusEvent {
    timeout(LIMIT, bus.next_event())
        .await
        .expect("an event arrives in time")
}

async fn expect(bus: &dyn Bus, text: &'static str) {
    assert_eq!(
        next(bus).await,
        BusEvent::Message(Bytes::from_static(text.as_bytes()))
    );
}

/// Publishes when there is a connection again, and waits until the message arrives.
async fn expect_recovery(bus: &dyn Bus) {
    assert_eq!(next(bus).await, BusEvent::Lost);
    assert_eq!(next(bus).await, BusEvent::Back);
    bus.publish(Bytes::from_static(b"fresh")).await.unwrap();
    expect(bus, "fresh").await;
}

pub(crate) async fn delivers_to_everybody_in_order_up_to_the_limit(kind: Kind) {
    let broker = Broker::start(kind);
    let (a, b) = (broker.connect().await, broker.connect().await);
    let large = Bytes::from(vec![7; MAX_MESSAGE]);
    a.publish(large.clone()).await.unwrap();
    for bus in [&a, &b] {
        assert_eq!(next(&**bus).await, BusEvent::Message(large.clone()));
    }
    let error = a.publish(vec![0; MAX_MESSAGE + 1].into()).await;
    assert!(matches!(error, Err(PublishError::TooLarge { .. })));
    for number in 0..500_u32 {
        a.publish(number.to_be_bytes().to_vec().into())
            .await
            .unwrap();
    }
    for bus in [&a, &b] {
        for number in 0..500_u32 {
            let expected = Bytes::from(number.to_be_bytes().to_vec());
            assert_eq!(next(&**bus).await, BusEvent::Message(expected));
        }
    }
}

pub(crate) async fn survives_a_killed_broker_and_sends_nothing_stale(kind: Kind) {
    let mut broker = Broker::start(kind);
    let bus = broker.connect().await;
    broker.kill();
    // From before the loss is noticed until long after it.
    let mut refused = 0;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        let outcome = bus.publish(Bytes::from_static(b"stale")).await;
        refused += u32::from(outcome == Err(PublishError::Disconnected));
        tokio::task::yield_now().await;
    }
    assert!(refused > 0, "the caller is not told");
    broker.restart();
    expect_recovery(&*bus).await;
}

pub(crate) async fn gives_a_frozen_broker_up_and_comes_back(kind: Kind) {
    let broker = Broker::start(kind);
    let bus = broker.connect().await;
    broker.freeze();
    let began = Instant::now();
    let mut told = false;
    while began.elapsed() < Duration::from_secs(8) && !told {
        let outcome = timeout(
            Duration::from_secs(3),
            bus.publish(Bytes::from_static(b"lost")),
        )
        .await;
        told = outcome.expect("publishing is bounded").is_err();
        tokio::task::yield_now().await;
    }
    assert!(told, "the caller is not told");
    broker.thaw();
    // Redis is given up for publishing only.
    let began = Instant::now();
    while bus.publish(Bytes::from_static(b"fresh")).await.is_err() {
        assert!(began.elapsed() < LIMIT, "it comes back");
        tokio::task::yield_now().await;
    }
    // What the frozen broker had in its socket arrives, or not; what comes after the recovery is fresh.
    loop {
        match next(&*bus).await {
            BusEvent::Message(message) if message == "fresh" => break,
            BusEvent::Message(message) => assert_eq!(message, "lost"),
            BusEvent::Lost | BusEvent::Back if kind == Kind::Nats => {}
            other => panic!("{other:?}"),
        }
    }
}

/// A broker that is busy, or saves its data, stands still for a moment.
pub(crate) async fn a_broker_that_stands_still_for_a_moment_loses_nothing(kind: Kind) {
    let broker = Broker::start(kind);
    let (a, b) = (broker.connect().await, broker.connect().await);
    broker.freeze();
    let (published, ()) = tokio::join!(a.publish(Bytes::from_static(b"meanwhile")), async {
        go_on(Duration::from_millis(1500)).await;
        broker.thaw();
    });
    assert_eq!(published, Ok(()));
    expect(&*a, "meanwhile").await;
    expect(&*b, "meanwhile").await;
}

/// Messages of others go on arriving, and publishing goes on with another connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_to_redis_that_publishes_is_replaced_alone() {
    let broker = Broker::start(Kind::Redis);
    let bus = broker.connect().await;
    broker.redis_command(&[b"CLIENT", b"KILL", b"TYPE", b"normal"]);
    broker.redis_command(&[b"PUBLISH", b"engineio", b"of another"]);
    expect(&*bus, "of another").await;
    let began = Instant::now();
    while bus.publish(Bytes::from_static(b"fresh")).await.is_err() {
        assert!(began.elapsed() < LIMIT, "it comes back");
        tokio::task::yield_now().await;
    }
    expect(&*bus, "fresh").await;
}

pub(crate) async fn replaces_its_connection_when_asked(kind: Kind) {
    let broker = Broker::start(kind);
    let (a, b) = (broker.connect().await, broker.connect().await);
    a.reconnect();
    expect_recovery(&*a).await;
    expect(&*b, "fresh").await;
}

pub(crate) async fn names_the_broker_that_it_cannot_reach(kind: Kind) {
    let mut broker = Broker::start(kind);
    broker.kill();
    let error = match kind {
        Kind::Nats => Nats::connect(&format!("nats://user:secret@127.0.0.1:{}", broker.port))
            .await
            .map(drop),
        Kind::Redis => Redis::connect(&format!("redis://user:secret@127.0.0.1:{}", broker.port))
            .await
            .map(drop),
    };
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains(&format!("127.0.0.1:{}", broker.port)),
        "{error}"
    );
    assert!(!error.contains("secret"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_message_of_33_mb_on_redis_harms_nothing() {
    // The limit of the output buffer would end the connection first: see the next test.
    let broker = Broker::with(
        Kind::Redis,
        &["--client-output-buffer-limit", "pubsub 0 0 0"],
    );
    let bus = broker.connect().await;
    let foreign = vec![b'x'; 33 * 1024 * 1024];
    broker.redis_command(&[b"PUBLISH", b"engineio", &foreign]);
    assert_eq!(next(&*bus).await, BusEvent::Missed(1));
    bus.publish(Bytes::from_static(b"fresh")).await.unwrap();
    expect(&*bus, "fresh").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_hits_the_output_buffer_limit_of_redis_is_replaced() {
    let broker = Broker::start(Kind::Redis);
    let bus = broker.connect().await;
    // The default limit is 32 MB.
    let foreign = vec![b'x'; 33 * 1024 * 1024];
    broker.redis_command(&[b"PUBLISH", b"engineio", &foreign]);
    expect_recovery(&*bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_an_operator_kills_comes_back() {
    let broker = Broker::start(Kind::Redis);
    let bus = broker.connect().await;
    broker.redis_command(&[b"CLIENT", b"KILL", b"TYPE", b"pubsub"]);
    expect_recovery(&*bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_credentials_of_a_url_are_those_of_the_connection() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("nats.conf");
    let by_name = r#"authorization { user: "us@er", password: "p:/w" }"#;
    let by_token = r#"authorization { token: "t@ken" }"#;
    for (rule, right, wrong) in [
        (by_name, "us%40er:p%3A%2fw", "us%40er:other"),
        (by_token, "t%40ken", "us%40er:p%3A%2fw"),
    ] {
        std::fs::write(&file, rule).unwrap();
        let broker = Broker::with(Kind::Nats, &["-c", file.to_str().unwrap()]);
        let url = |credentials| format!("nats://{credentials}@127.0.0.1:{}", broker.port);
        let error = Nats::connect(&url(wrong)).await.unwrap_err().to_string();
        assert!(!error.contains("other"), "{error}");
        let bus = Nats::connect(&url(right)).await.unwrap();
        bus.publish(Bytes::from_static(b"heard")).await.unwrap();
        expect(&bus, "heard").await;
    }
    let broker = Broker::with(Kind::Redis, &["--requirepass", "p:/w"]);
    let url = |password| format!("redis://:{password}@127.0.0.1:{}", broker.port);
    Redis::connect(&url("other")).await.unwrap_err();
    let bus = Redis::connect(&url("p%3A%2fw")).await.unwrap();
    bus.publish(Bytes::from_static(b"heard")).await.unwrap();
    expect(&bus, "heard").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_smaller_limit_of_the_nats_server_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("nats.conf");
    std::fs::write(&file, "max_payload: 64KB\n").unwrap();
    let broker = Broker::with(Kind::Nats, &["-c", file.to_str().unwrap()]);
    let bus = broker.connect().await;
    assert!(bus.max_message() < 70_000);
    let error = bus.publish(vec![0; 70_000].into()).await;
    assert!(matches!(error, Err(PublishError::TooLarge { .. })));
    bus.publish(vec![0; 60_000].into()).await.unwrap();
    assert!(matches!(next(&*bus).await, BusEvent::Message(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deployments_with_different_channels_share_a_broker() {
    let broker = Broker::start(Kind::Redis);
    let url = format!("redis://127.0.0.1:{}", broker.port);
    let other = Redis::builder()
        .channel("other")
        .connect(&url)
        .await
        .unwrap();
    let bus = broker.connect().await;
    other
        .publish(Bytes::from_static(b"elsewhere"))
        .await
        .unwrap();
    bus.publish(Bytes::from_static(b"here")).await.unwrap();
    expect(&*bus, "here").await;
    expect(&other, "elsewhere").await;
}
