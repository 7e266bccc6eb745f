//! Keeps one connection to a broker, and replaces it when it breaks.
//!
//! The client libraries reconnect by themselves, but then send the messages that were queued while there was no
//! connection. Here a connection that breaks is dropped with its queue, and a new one is opened, so that nothing stale
//! is sent.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::event_queue::EventQueue;
use super::{BusEvent, PublishError};
use crate::repeats::Repeats;

/// The time to connect and subscribe.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// The time within which the broker has to accept a message.
const PUBLISH_LIMIT: Duration = Duration::from_secs(1);

/// The shortest time between two log lines about attempts that failed.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The delays between attempts to reconnect grow from the first to the second.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// Opens connections to a broker.
pub(crate) trait Connector: fmt::Debug + Send + Sync + 'static {
    type Connection: Connection;
    type Error: fmt::Display + Send;

    /// Connects and subscribes. Received messages go to `feed`.
    fn connect(
        &self,
        feed: Feed,
    ) -> impl Future<Output = Result<Self::Connection, Self::Error>> + Send;

    /// Returns the address of the broker, without credentials, for logs and errors.
    fn broker(&self) -> &str;
}

/// One connection to a broker. Dropping it closes it, with all that was not sent yet.
pub(crate) trait Connection: Send + Sync + 'static {
    /// Publishes a message. Fails once the connection is broken.
    fn publish(&self, message: Bytes) -> impl Future<Output = Result<(), ()>> + Send;

    /// Returns the size of the largest message that the broker takes, in bytes.
    fn max_message(&self) -> usize;
}

/// The receiver of a connection's messages. A connection that was replaced delivers nothing more.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    queue: EventQueue,
    state: Arc<FeedState>,
}

#[derive(Debug, Default)]
struct FeedState {
    closed: AtomicBool,
    broken: Notify,
}

impl Feed {
    fn new(queue: &EventQueue) -> Self {
        Self {
            queue: queue.clone(),
            state: Arc::default(),
        }
    }

    pub(crate) fn message(&self, message: Bytes) {
        if !self.is_closed() {
            self.queue.push_message(message);
        }
    }

    #[cfg(feature = "nats")]
    pub(crate) fn missed(&self, count: u64) {
        if !self.is_closed() {
            self.queue.push_missed(count);
        }
    }

    /// Reports that the connection is broken.
    pub(crate) fn broken(&self) {
        self.state.broken.notify_one();
    }

    fn is_closed(&self) -> bool {
        self.state.closed.load(Ordering::Acquire)
    }

    fn close(&self) {
        self.state.closed.store(true, Ordering::Release);
    }
}

/// A bus over connections that are replaced when they break.
pub(crate) struct Reconnecting<C: Connector> {
    shared: Arc<Shared<C>>,
    task: JoinHandle<()>,
}

struct Shared<C: Connector> {
    connector: C,
    queue: EventQueue,
    live: RwLock<Option<Live<C::Connection>>>,
}

struct Live<T> {
    connection: Arc<T>,
    feed: Feed,
}

impl<C: Connector> fmt::Debug for Reconnecting<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnecting")
            .field("connector", &self.shared.connector)
            .field("is_connected", &self.shared.live().is_some())
            .finish_non_exhaustive()
    }
}

impl<C: Connector> Reconnecting<C> {
    /// Opens the first connection, and keeps one from then on.
    pub(crate) async fn start(connector: C) -> Result<Self, String> {
        let queue = EventQueue::default();
        let shared = Arc::new(Shared {
            connector,
            queue,
            live: RwLock::new(None),
        });
        let feed = shared.connect().await?;
        let task = tokio::spawn(keep_connected(Arc::clone(&shared), feed));
        Ok(Self { shared, task })
    }

    pub(crate) async fn publish(&self, message: Bytes) -> Result<(), PublishError> {
        let Some((connection, feed)) = self.shared.live() else {
            return Err(PublishError::Disconnected);
        };
        let limit = connection.max_message();
        if message.len() > limit {
            return Err(PublishError::TooLarge {
                len: message.len(),
                limit,
            });
        }
        match timeout(PUBLISH_LIMIT, connection.publish(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(())) => {
                feed.broken();
                Err(PublishError::Unconfirmed)
            }
            Err(_) => {
                // What waits in the connection must not be sent when it wakes up.
                feed.broken();
                Err(PublishError::Unconfirmed)
            }
        }
    }

    pub(crate) async fn next_event(&self) -> BusEvent {
        self.shared.queue.next().await
    }

    pub(crate) fn reconnect(&self) {
        if let Some((_, feed)) = self.shared.live() {
            feed.broken();
        }
    }

    pub(crate) fn max_message(&self) -> usize {
        self.shared
            .live()
            .map_or(super::MAX_MESSAGE, |(connection, _)| {
                connection.max_message()
            })
    }
}

impl<C: Connector> Drop for Reconnecting<C> {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.close();
    }
}

impl<C: Connector> Shared<C> {
    async fn connect(&self) -> Result<Feed, String> {
        let feed = Feed::new(&self.queue);
        match timeout(CONNECT_LIMIT, self.connector.connect(feed.clone())).await {
            Ok(Ok(connection)) => {
                let live = Live {
                    connection: Arc::new(connection),
                    feed: feed.clone(),
                };
                *self.live.write().unwrap_or_else(PoisonError::into_inner) = Some(live);
                Ok(feed)
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {CONNECT_LIMIT:?}")),
        }
    }

    fn live(&self) -> Option<(Arc<C::Connection>, Feed)> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let live = live.as_ref()?;
        Some((Arc::clone(&live.connection), live.feed.clone()))
    }

    fn close(&self) {
        let live = self
            .live
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(live) = live {
            live.feed.close();
        }
    }
}

async fn keep_connected<C: Connector>(shared: Arc<Shared<C>>, mut feed: Feed) {
    let broker = shared.connector.broker();
    let failures = Repeats::every(LOG_INTERVAL);
    loop {
        feed.state.broken.notified().await;
        shared.close();
        shared.queue.push_lost();
        tracing::warn!(target: "engineio::cluster", broker, "the connection to the broker is lost");
        let mut delay = FIRST_DELAY;
        feed = loop {
            sleep(jittered(delay)).await;
            match shared.connect().await {
                Ok(feed) => break feed,
                Err(reason) => {
                    if let Some(attempts) = failures.count(Instant::now(), 1) {
                        tracing::warn!(target: "engineio::cluster", broker, reason, attempts, "cannot reconnect to the broker");
                    }
                }
            }
            delay = (delay * 2).min(LONGEST_DELAY);
        };
        shared.queue.push_back();
        tracing::info!(target: "engineio::cluster", broker, "connected to the broker again");
    }
}

/// Returns between half of the delay and all of it, so that the nodes do not come back in one moment.
fn jittered(delay: Duration) -> Duration {
    let mut random = [0; 1];
    // Without randomness the delay is the longest.
    if getrandom::fill(&mut random).is_err() {
        return delay;
    }
    delay / 2 + delay * u32::from(random[0]) / 512
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repeats::lines::Lines;

    /// A broker that takes a node once, and then refuses it.
    #[derive(Debug, Default)]
    struct Once {
        taken: AtomicBool,
        refused: Arc<Notify>,
    }

    struct Established;

    impl Connector for Once {
        type Connection = Established;
        type Error = &'static str;

        async fn connect(&self, _: Feed) -> Result<Established, &'static str> {
            if !self.taken.swap(true, Ordering::Relaxed) {
                return Ok(Established);
            }
            self.refused.notify_one();
            Err("authorization violation")
        }

        fn broker(&self) -> &'static str {
            "broker"
        }
    }

    impl Connection for Established {
        async fn publish(&self, _: Bytes) -> Result<(), ()> {
            Ok(())
        }

        fn max_message(&self) -> usize {
            0
        }
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
}
