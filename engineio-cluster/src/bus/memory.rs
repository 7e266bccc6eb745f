//! A bus within the process, for tests, with the faults of real ones.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::event_queue::EventQueue;
use super::{Bus, BusEvent, BusFuture, MAX_MESSAGE, PublishError};

/// A broker within the process, for tests of programs that use a cluster.
///
/// ```
/// use engineio_cluster::{Bus, BusEvent, MemoryBroker};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let broker = MemoryBroker::new();
/// let (a, b) = (broker.connect(), broker.connect());
/// a.publish("hello".into()).await.unwrap();
/// assert_eq!(b.next_event().await, BusEvent::Message("hello".into()));
/// assert_eq!(a.next_event().await, BusEvent::Message("hello".into()));
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryBroker {
    shared: Arc<Mutex<Broker>>,
}

#[derive(Debug, Default)]
struct Broker {
    stopped: bool,
    next_id: u64,
    subscribers: Vec<Subscriber>,
}

#[derive(Debug)]
struct Subscriber {
    id: u64,
    queue: EventQueue,
    faults: Faults,
}

#[derive(Debug, Default)]
struct Faults {
    deaf: bool,
    loses_published: bool,
    /// Messages that wait while the connection is stalled.
    held: Option<Vec<Bytes>>,
    reconnects: u64,
}

impl MemoryBroker {
    /// Creates a broker with one channel and nobody on it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Connects to the channel.
    #[must_use]
    pub fn connect(&self) -> MemoryBus {
        let queue = EventQueue::default();
        let id = self.with(|broker| {
            let id = broker.next_id;
            broker.next_id += 1;
            broker.subscribers.push(Subscriber {
                id,
                queue: queue.clone(),
                faults: Faults::default(),
            });
            id
        });
        MemoryBus {
            broker: self.clone(),
            id,
            queue,
        }
    }

    /// Stops the broker: every connection is lost, and nothing can be published.
    pub fn stop(&self) {
        self.with(|broker| {
            broker.stopped = true;
            broker.subscribers.iter().for_each(|s| s.queue.push_lost());
        });
    }

    /// Starts the broker again after [`stop`](Self::stop): every connection is back.
    pub fn start(&self) {
        self.with(|broker| {
            broker.stopped = false;
            broker.subscribers.iter().for_each(|s| s.queue.push_back());
        });
    }

    /// Delivers bytes to everybody on the channel as a foreign publisher would, for tests with garbage.
    pub fn inject(&self, message: impl Into<Bytes>) {
        let message = message.into();
        self.with(|broker| broker.deliver(&message));
    }

    fn with<T>(&self, change: impl FnOnce(&mut Broker) -> T) -> T {
        change(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Broker {
    fn deliver(&mut self, message: &Bytes) {
        for subscriber in &mut self.subscribers {
            match &mut subscriber.faults {
                Faults { deaf: true, .. } => {}
                Faults {
                    held: Some(held), ..
                } => held.push(message.clone()),
                _ => subscriber.queue.push_message(message.clone()),
            }
        }
    }
}

/// A connection to a [`MemoryBroker`], with faults for tests.
#[derive(Debug)]
pub struct MemoryBus {
    broker: MemoryBroker,
    id: u64,
    queue: EventQueue,
}

impl MemoryBus {
    /// Sets whether nothing arrives any more, although the connection looks healthy. `reconnect` does not change that.
    pub fn set_deaf(&self, deaf: bool) {
        self.with_faults(|faults| faults.deaf = deaf);
    }

    /// Sets whether published messages vanish without an error.
    pub fn set_loses_published(&self, loses: bool) {
        self.with_faults(|faults| faults.loses_published = loses);
    }

    /// Sets whether arriving messages are held back. When it is unset, all of them are delivered, late and in order.
    pub fn set_stalled(&self, stalled: bool) {
        let held = self.with_faults(|faults| {
            if stalled {
                faults.held.get_or_insert_default();
                None
            } else {
                faults.held.take()
            }
        });
        for message in held.into_iter().flatten() {
            self.queue.push_message(message);
        }
    }

    /// Returns the number of times that the cluster has asked for a new connection.
    #[must_use]
    pub fn reconnects(&self) -> u64 {
        self.with_faults(|faults| faults.reconnects)
    }

    fn with_faults<T: Default>(&self, change: impl FnOnce(&mut Faults) -> T) -> T {
        self.broker.with(|broker| {
            let subscriber = broker.subscribers.iter_mut().find(|s| s.id == self.id);
            subscriber.map_or_else(T::default, |subscriber| change(&mut subscriber.faults))
        })
    }
}

impl Bus for MemoryBus {
    fn publish(&self, message: Bytes) -> BusFuture<'_, Result<(), PublishError>> {
        Box::pin(async move {
            if message.len() > MAX_MESSAGE {
                return Err(PublishError::TooLarge {
                    len: message.len(),
                    limit: MAX_MESSAGE,
                });
            }
            let loses = self.with_faults(|faults| faults.loses_published);
            self.broker.with(|broker| {
                if broker.stopped {
                    return Err(PublishError::Disconnected);
                }
                if !loses {
                    broker.deliver(&message);
                }
                Ok(())
            })
        })
    }

    fn next_event(&self) -> BusFuture<'_, BusEvent> {
        Box::pin(self.queue.next())
    }

    fn reconnect(&self) {
        self.with_faults(|faults| faults.reconnects += 1);
        let stopped = self.broker.with(|broker| broker.stopped);
        self.queue.push_lost();
        if !stopped {
            self.queue.push_back();
        }
    }
}

impl Drop for MemoryBus {
    fn drop(&mut self) {
        self.broker
            .with(|broker| broker.subscribers.retain(|s| s.id != self.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_reaches_everybody_and_its_publisher() {
        let broker = MemoryBroker::new();
        let (a, b) = (broker.connect(), broker.connect());
        a.publish(Bytes::from_static(b"hi")).await.unwrap();
        for bus in [&a, &b] {
            assert_eq!(
                bus.next_event().await,
                BusEvent::Message(Bytes::from_static(b"hi"))
            );
        }
    }

    #[tokio::test]
    async fn publishing_while_the_broker_is_stopped_fails_and_nothing_stale_arrives_later() {
        let broker = MemoryBroker::new();
        let (a, b) = (broker.connect(), broker.connect());
        broker.stop();
        let error = a.publish(Bytes::from_static(b"stale")).await.unwrap_err();
        assert_eq!(error, PublishError::Disconnected);
        assert!(!error.may_have_arrived());
        broker.start();
        a.publish(Bytes::from_static(b"fresh")).await.unwrap();
        assert_eq!(b.next_event().await, BusEvent::Lost);
        assert_eq!(b.next_event().await, BusEvent::Back);
        assert_eq!(
            b.next_event().await,
            BusEvent::Message(Bytes::from_static(b"fresh"))
        );
    }

    #[tokio::test]
    async fn a_message_above_the_limit_is_refused() {
        let bus = MemoryBroker::new().connect();
        let error = bus.publish(vec![0; MAX_MESSAGE + 1].into()).await;
        assert!(matches!(error, Err(PublishError::TooLarge { .. })));
        assert!(bus.publish(vec![0; MAX_MESSAGE].into()).await.is_ok());
    }

    #[tokio::test]
    async fn a_stalled_connection_delivers_late_and_in_order() {
        let bus = MemoryBroker::new().connect();
        bus.set_stalled(true);
        for text in ["one", "two"] {
            bus.publish(text.into()).await.unwrap();
        }
        let early = tokio::time::timeout(std::time::Duration::ZERO, bus.next_event()).await;
        assert!(early.is_err());
        bus.set_stalled(false);
        for text in ["one", "two"] {
            assert_eq!(bus.next_event().await, BusEvent::Message(text.into()));
        }
    }
}
