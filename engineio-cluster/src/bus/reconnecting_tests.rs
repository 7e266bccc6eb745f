//! The tests of connections that are replaced when they break.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::reconnecting::{Broken, Connector, Feed, PUBLISH_LIMIT, Publisher, Reconnecting};
use super::{BusEvent, PublishError};
use crate::lines::Lines;

/// A broker that takes a node once, and then refuses it.
#[derive(Debug, Default)]
struct Once {
    taken: AtomicBool,
    refused: Arc<Notify>,
}

impl Connector for Once {
    type Publisher = Idle;
    type Subscription = ();
    type Error = &'static str;

    const PUBLISHES_APART: bool = false;

    async fn connect(&self, _: Feed, _: Broken) -> Result<(Idle, ()), &'static str> {
        if !self.taken.swap(true, Ordering::Relaxed) {
            return Ok((Idle, ()));
        }
        self.refused.notify_one();
        Err("authorization violation")
    }

    async fn connect_publisher(&self, _: Broken) -> Result<Idle, &'static str> {
        unreachable!("both are one connection")
    }

    fn broker(&self) -> &'static str {
        "broker"
    }
}

struct Idle;

impl Publisher for Idle {
    async fn publish(&self, _: Bytes) -> Result<(), ()> {
        Ok(())
    }

    fn max_message(&self) -> usize {
        0
    }
}

/// A broker that takes each message after a time, whose connections can be counted.
#[derive(Clone, Debug)]
struct Slow<const APART: bool> {
    takes: Arc<Mutex<Duration>>,
    feed: Arc<Mutex<Option<Feed>>>,
    publishers: Arc<AtomicUsize>,
}

impl<const APART: bool> Slow<APART> {
    fn new(takes: Duration) -> Self {
        Self {
            takes: Arc::new(Mutex::new(takes)),
            feed: Arc::default(),
            publishers: Arc::default(),
        }
    }

    fn publisher(&self) -> Hesitant {
        self.publishers.fetch_add(1, Ordering::Relaxed);
        Hesitant(Arc::clone(&self.takes))
    }
}

impl<const APART: bool> Connector for Slow<APART> {
    type Publisher = Hesitant;
    type Subscription = ();
    type Error = &'static str;

    const PUBLISHES_APART: bool = APART;

    async fn connect(&self, feed: Feed, _: Broken) -> Result<(Hesitant, ()), &'static str> {
        *self.feed.lock().unwrap() = Some(feed);
        Ok((self.publisher(), ()))
    }

    async fn connect_publisher(&self, _: Broken) -> Result<Hesitant, &'static str> {
        Ok(self.publisher())
    }

    fn broker(&self) -> &'static str {
        "broker"
    }
}

struct Hesitant(Arc<Mutex<Duration>>);

impl Publisher for Hesitant {
    async fn publish(&self, _: Bytes) -> Result<(), ()> {
        let takes = *self.0.lock().unwrap();
        sleep(takes).await;
        Ok(())
    }

    fn max_message(&self) -> usize {
        1
    }
}

const MESSAGE: Bytes = Bytes::from_static(b"x");

/// Returns what happens within a few seconds.
async fn soon<C: Connector>(bus: &Reconnecting<C>) -> Option<BusEvent> {
    timeout(Duration::from_secs(5), bus.next_event()).await.ok()
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_stands_still_for_more_than_a_second_keeps_its_connections() {
    let broker = Slow::<true>::new(Duration::from_millis(1900));
    let bus = Reconnecting::start(broker.clone()).await.unwrap();
    assert_eq!(bus.publish(MESSAGE).await, Ok(()));
    assert_eq!(soon(&bus).await, None);
    assert_eq!(broker.publishers.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_hangs_is_replaced_and_costs_no_subscription() {
    let broker = Slow::<true>::new(Duration::MAX);
    let bus = Reconnecting::start(broker.clone()).await.unwrap();
    let begun = Instant::now();
    assert_eq!(bus.publish(MESSAGE).await, Err(PublishError::Unconfirmed));
    assert_eq!(begun.elapsed(), PUBLISH_LIMIT);
    let feed = broker.feed.lock().unwrap().clone().unwrap();
    feed.message(MESSAGE);
    assert_eq!(soon(&bus).await, Some(BusEvent::Message(MESSAGE)));
    assert_eq!(soon(&bus).await, None);
    assert_eq!(broker.publishers.load(Ordering::Relaxed), 2);
    *broker.takes.lock().unwrap() = Duration::ZERO;
    assert_eq!(bus.publish(MESSAGE).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_both_is_replaced_as_a_whole() {
    let broker = Slow::<false>::new(Duration::MAX);
    let bus = Reconnecting::start(broker.clone()).await.unwrap();
    assert_eq!(bus.publish(MESSAGE).await, Err(PublishError::Unconfirmed));
    assert_eq!(soon(&bus).await, Some(BusEvent::Lost));
    assert_eq!(soon(&bus).await, Some(BusEvent::Back));
    assert_eq!(broker.publishers.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn the_log_tells_every_few_seconds_why_a_broker_refuses_the_node() {
    let (lines, _guard) = Lines::collect();
    let broker = Once::default();
    let refused = Arc::clone(&broker.refused);
    let bus = Reconnecting::start(broker).await.unwrap();
    bus.reconnect();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(25) {
        refused.notified().await;
    }
    let lines = lines.take();
    let reasons = lines
        .iter()
        .filter(|line| line.contains("authorization violation"));
    assert_eq!(reasons.count(), 3, "{lines:?}");
}
