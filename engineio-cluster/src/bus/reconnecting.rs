//! Keeps one connection to a broker, and replaces it when it breaks.
//!
//! The client libraries reconnect by themselves, but then send the messages that were queued while there was no
//! connection. Here a connection that breaks is dropped with its queue, and a new one is opened, so that nothing stale
//! is sent. Where publishing has a connection of its own, that one is replaced alone, because each message that others
//! publish while there is no subscription is lost.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::event_queue::EventQueue;
use super::{BusEvent, PublishError};
use engineio_core::driver::Repeats;

/// The time to connect and subscribe.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// The time within which the broker has to accept a message: longer than the second for which a busy one may stand still.
pub(crate) const PUBLISH_LIMIT: Duration = Duration::from_secs(2);

/// The shortest time between two log lines about attempts that failed.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The delays between attempts to reconnect grow from the first to the second.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// Opens connections to a broker.
pub(crate) trait Connector: fmt::Debug + Send + Sync + 'static {
    type Publisher: Publisher;
    /// Receives messages until it is dropped.
    type Subscription: Send + Sync + 'static;
    type Error: fmt::Display + Send;

    /// Whether publishing and receiving have a connection each.
    const PUBLISHES_APART: bool;

    /// Connects and subscribes. Received messages go to `feed`.
    fn connect(
        &self,
        feed: Feed,
        publisher_broken: Broken,
    ) -> impl Future<Output = Result<(Self::Publisher, Self::Subscription), Self::Error>> + Send;

    /// Opens another publisher, if publishing has a connection of its own.
    fn connect_publisher(
        &self,
        broken: Broken,
    ) -> impl Future<Output = Result<Self::Publisher, Self::Error>> + Send;

    /// Returns the address of the broker, without credentials, for logs and errors.
    fn broker(&self) -> &str;
}

/// The sending end of a connection. Dropping it closes the connection, with all that was not sent yet.
pub(crate) trait Publisher: Send + Sync + 'static {
    /// Publishes a message. Fails once the connection is broken.
    fn publish(&self, message: Bytes) -> impl Future<Output = Result<(), ()>> + Send;

    /// Returns the size of the largest message that the broker takes, in bytes.
    fn max_message(&self) -> usize;
}

/// Tells that a connection is broken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Broken(Arc<Notify>);

impl Broken {
    pub(crate) fn report(&self) {
        self.0.notify_one();
    }

    async fn reported(&self) {
        self.0.notified().await;
    }
}

/// The receiver of a connection's messages. A connection that was replaced delivers nothing more.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    queue: EventQueue,
    closed: Arc<AtomicBool>,
    broken: Broken,
}

impl Feed {
    fn new(queue: &EventQueue) -> Self {
        Self {
            queue: queue.clone(),
            closed: Arc::default(),
            broken: Broken::default(),
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
        self.broken.report();
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
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
    live: RwLock<Option<Live<C>>>,
}

struct Live<C: Connector> {
    /// `None` while another one is opened.
    outlet: Option<Arc<Outlet<C::Publisher>>>,
    feed: Feed,
    _subscription: C::Subscription,
}

struct Outlet<P> {
    publisher: P,
    broken: Broken,
}

impl<C: Connector> fmt::Debug for Reconnecting<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnecting")
            .field("connector", &self.shared.connector)
            .field("is_connected", &self.shared.outlet().is_some())
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
        let parts = shared.connect().await?;
        let task = tokio::spawn(keep_connected(Arc::clone(&shared), parts));
        Ok(Self { shared, task })
    }

    pub(crate) async fn publish(&self, message: Bytes) -> Result<(), PublishError> {
        let Some(outlet) = self.shared.outlet() else {
            return Err(PublishError::Disconnected);
        };
        let limit = outlet.publisher.max_message();
        if message.len() > limit {
            return Err(PublishError::TooLarge {
                len: message.len(),
                limit,
            });
        }
        match timeout(PUBLISH_LIMIT, outlet.publisher.publish(message)).await {
            Ok(Ok(())) => Ok(()),
            // What waits in the connection must not be sent when the broker wakes up.
            Ok(Err(())) | Err(_) => {
                outlet.broken.report();
                Err(PublishError::Unconfirmed)
            }
        }
    }

    pub(crate) async fn next_event(&self) -> BusEvent {
        self.shared.queue.next().await
    }

    pub(crate) fn reconnect(&self) {
        if let Some(live) = &*self.shared.live() {
            live.feed.broken();
        }
    }

    pub(crate) fn max_message(&self) -> usize {
        let outlet = self.shared.outlet();
        outlet.map_or(super::MAX_MESSAGE, |outlet| outlet.publisher.max_message())
    }
}

impl<C: Connector> Drop for Reconnecting<C> {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.close();
    }
}

/// The means to report the end of each part of a connection.
struct Parts {
    subscription: Broken,
    publisher: Broken,
}

impl<C: Connector> Shared<C> {
    async fn connect(&self) -> Result<Parts, String> {
        let (feed, broken) = (Feed::new(&self.queue), Broken::default());
        let connecting = self.connector.connect(feed.clone(), broken.clone());
        let (publisher, subscription) = within_limit(connecting).await?;
        let parts = Parts {
            subscription: feed.broken.clone(),
            publisher: broken.clone(),
        };
        *self.live_mut() = Some(Live {
            outlet: Some(Arc::new(Outlet { publisher, broken })),
            feed,
            _subscription: subscription,
        });
        Ok(parts)
    }

    async fn connect_publisher(&self) -> Result<Broken, String> {
        let broken = Broken::default();
        let connecting = self.connector.connect_publisher(broken.clone());
        let publisher = within_limit(connecting).await?;
        let outlet = Outlet {
            publisher,
            broken: broken.clone(),
        };
        if let Some(live) = &mut *self.live_mut() {
            live.outlet = Some(Arc::new(outlet));
        }
        Ok(broken)
    }

    fn outlet(&self) -> Option<Arc<Outlet<C::Publisher>>> {
        self.live().as_ref()?.outlet.clone()
    }

    fn live(&self) -> RwLockReadGuard<'_, Option<Live<C>>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn live_mut(&self) -> RwLockWriteGuard<'_, Option<Live<C>>> {
        self.live.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn close_publisher(&self) {
        let outlet = self.live_mut().as_mut().and_then(|live| live.outlet.take());
        drop(outlet);
    }

    fn close(&self) {
        let live = self.live_mut().take();
        if let Some(live) = live {
            live.feed.close();
        }
    }
}

async fn within_limit<T, E: fmt::Display>(
    connecting: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match timeout(CONNECT_LIMIT, connecting).await {
        Ok(connected) => connected.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {CONNECT_LIMIT:?}")),
    }
}

async fn keep_connected<C: Connector>(shared: Arc<Shared<C>>, mut parts: Parts) {
    let broker = shared.connector.broker();
    let (failures, stalls) = (Repeats::every(LOG_INTERVAL), Repeats::every(LOG_INTERVAL));
    loop {
        let lost = async {
            parts.publisher.reported().await;
            if !C::PUBLISHES_APART {
                return None;
            }
            shared.close_publisher();
            if let Some(times) = stalls.count(Instant::now(), 1) {
                tracing::warn!(target: "engineio::cluster", broker, times, "the broker takes no messages on a connection, which is replaced");
            }
            Some(until_connected(broker, &failures, || shared.connect_publisher()).await)
        };
        let replaced = tokio::select! {
            biased;
            () = parts.subscription.reported() => None,
            replaced = lost => replaced,
        };
        if let Some(publisher) = replaced {
            parts.publisher = publisher;
            tracing::debug!(target: "engineio::cluster", broker, "the broker takes messages on a new connection");
            continue;
        }
        shared.close();
        shared.queue.push_lost();
        tracing::warn!(target: "engineio::cluster", broker, "the connection to the broker is lost");
        parts = until_connected(broker, &failures, || shared.connect()).await;
        shared.queue.push_back();
        tracing::info!(target: "engineio::cluster", broker, "connected to the broker again");
    }
}

/// Connects, as often as it takes, with growing delays.
async fn until_connected<T, F>(broker: &str, failures: &Repeats, connect: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let mut delay = FIRST_DELAY;
    loop {
        sleep(jittered(delay)).await;
        match connect().await {
            Ok(connected) => return connected,
            Err(reason) => {
                if let Some(attempts) = failures.count(Instant::now(), 1) {
                    tracing::warn!(target: "engineio::cluster", broker, reason, attempts, "cannot reconnect to the broker");
                }
            }
        }
        delay = (delay * 2).min(LONGEST_DELAY);
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
