//! Hands messages from the bus to the clients of this node.
//!
//! A separate task does this, because a broadcast to many clients takes milliseconds, and announcements must not wait
//! for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engineio_tower::{Message, SendError, Server, Sid};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::fields::Stamp;
use super::wire::{BusMessage, Outcome, Request};
use super::{Bus, MAX_MESSAGE};
use crate::meter;
use engineio_core::driver::Repeats;

/// Messages that wait for delivery; more are dropped and counted. Each may take milliseconds, and requests among them are
/// given up by those who sent them if they wait for 5 s.
const MAX_WAITING: usize = 1024;

/// The size of the messages that wait for delivery, in bytes; more are dropped and counted.
const MAX_WAITING_BYTES: usize = 16 * MAX_MESSAGE;

/// Replies that are being published; more are dropped. Each may take as long as the broker needs to answer, and nothing
/// else waits for that.
const MAX_REPLIES: usize = 4096;

/// Something to deliver.
#[derive(Debug)]
pub(crate) enum Parcel {
    Broadcast(Message),
    Request {
        stamp: Stamp,
        sid: Sid,
        request: Request,
    },
}

/// The queue of the delivering task. Dropping it ends the task.
#[derive(Debug)]
pub(crate) struct Delivery {
    parcels: mpsc::Sender<Parcel>,
    waiting_bytes: Arc<AtomicUsize>,
    dropped: Repeats,
}

impl Delivery {
    pub(crate) fn start(server: Server, bus: Arc<dyn Bus>) -> Self {
        let (parcels, waiting) = mpsc::channel(MAX_WAITING);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        tokio::spawn(deliver(server, bus, waiting, Arc::clone(&waiting_bytes)));
        Self {
            parcels,
            waiting_bytes,
            dropped: Repeats::default(),
        }
    }

    /// Queues a parcel, or drops and counts it if too much waits.
    pub(crate) fn push(&self, parcel: Parcel) {
        let len = parcel.len();
        let before = self.waiting_bytes.fetch_add(len, Ordering::Relaxed);
        let fits = before + len <= MAX_WAITING_BYTES;
        if !fits || self.parcels.try_send(parcel).is_err() {
            self.waiting_bytes.fetch_sub(len, Ordering::Relaxed);
            meter::count(meter::IGNORED, "full", 1);
            if let Some(count) = self.dropped.count(Instant::now(), 1) {
                tracing::warn!(
                    target: "engineio::cluster",
                    count,
                    "messages from the bus were dropped: they arrive faster than they can be delivered"
                );
            }
        }
    }
}

impl Parcel {
    const fn len(&self) -> usize {
        match self {
            Self::Broadcast(message)
            | Self::Request {
                request: Request::Send(message),
                ..
            } => message.len(),
            Self::Request {
                request: Request::Disconnect,
                ..
            } => 0,
        }
    }
}

async fn deliver(
    server: Server,
    bus: Arc<dyn Bus>,
    mut waiting: mpsc::Receiver<Parcel>,
    waiting_bytes: Arc<AtomicUsize>,
) {
    let mut replies = JoinSet::new();
    while let Some(parcel) = waiting.recv().await {
        waiting_bytes.fetch_sub(parcel.len(), Ordering::Relaxed);
        match parcel {
            Parcel::Broadcast(message) => {
                let clients = server.broadcast(message);
                tracing::trace!(target: "engineio::cluster", clients, "broadcast from the bus");
                // It took as long as there are clients: others run before the next one.
                tokio::task::yield_now().await;
            }
            Parcel::Request {
                stamp,
                sid,
                request,
            } => {
                let outcome = perform(&server, &sid, request);
                while replies.try_join_next().is_some() {}
                // Without the reply, the one who asked learns that the outcome is unknown.
                if replies.len() < MAX_REPLIES {
                    replies.spawn(reply(Arc::clone(&bus), stamp, outcome));
                } else {
                    tracing::debug!(target: "engineio::cluster", "a reply was dropped: the broker takes none");
                }
            }
        }
    }
    while replies.join_next().await.is_some() {}
}

async fn reply(bus: Arc<dyn Bus>, stamp: Stamp, outcome: Outcome) {
    let reply = BusMessage::Reply { stamp, outcome }.encode();
    if let Err(error) = bus.publish(reply).await {
        tracing::debug!(target: "engineio::cluster", %error, "a reply was not published");
    }
}

fn perform(server: &Server, sid: &Sid, request: Request) -> Outcome {
    let Some(socket) = server.socket(sid) else {
        return Outcome::Closed;
    };
    match request {
        Request::Disconnect => {
            socket.close();
            Outcome::Done
        }
        Request::Send(message) => match socket.try_send(message) {
            Ok(()) => Outcome::Done,
            Err(SendError::Full(_)) => Outcome::Full,
            Err(SendError::Separator(_)) => Outcome::Unsendable,
            Err(_) => Outcome::Closed,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use tokio::time::{advance, timeout};

    use super::*;
    use crate::MemoryBroker;
    use crate::bus::{BusEvent, BusFuture, PublishError};
    use crate::lines::Lines;

    fn start() -> Delivery {
        let bus = Arc::new(MemoryBroker::new().connect());
        Delivery::start(Server::builder().build(), bus)
    }

    /// On one thread nothing is delivered before the test waits.
    fn push(delivery: &Delivery, count: usize, len: usize) {
        let message = Message::from(Bytes::from(vec![0; len]));
        for _ in 0..count {
            delivery.push(Parcel::Broadcast(message.clone()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_dropped_messages_is_one_line_a_second() {
        let (lines, _guard) = Lines::collect();
        let delivery = start();
        push(&delivery, MAX_WAITING, 6);
        assert!(lines.take().is_empty());
        push(&delivery, 20_000, 6);
        assert_eq!(lines.take().len(), 1);
        advance(Duration::from_secs(1)).await;
        push(&delivery, 2 * MAX_WAITING, 6);
        let [line] = &lines.take()[..] else {
            panic!("not one line");
        };
        assert!(line.contains("count=20000 "), "{line}");
    }

    #[tokio::test]
    async fn messages_wait_up_to_a_size_in_all() {
        let (lines, _guard) = Lines::collect();
        let delivery = start();
        push(&delivery, MAX_WAITING_BYTES / MAX_MESSAGE, MAX_MESSAGE);
        assert!(lines.take().is_empty());
        push(&delivery, 1, 0);
        assert!(lines.take().is_empty());
        push(&delivery, 1, 1);
        assert_eq!(lines.take().len(), 1);
    }

    /// A broker that stands still.
    #[derive(Debug, Default)]
    struct Silent(AtomicUsize);

    impl Bus for Silent {
        fn publish(&self, _: Bytes) -> BusFuture<'_, Result<(), PublishError>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(std::future::pending())
        }

        fn next_event(&self) -> BusFuture<'_, BusEvent> {
            Box::pin(std::future::pending())
        }

        fn reconnect(&self) {}
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_waits_for_the_broker_to_take_replies() {
        let (lines, _guard) = Lines::collect();
        let bus = Arc::new(Silent::default());
        let delivery = Delivery::start(Server::builder().build(), Arc::<Silent>::clone(&bus));
        for round in 0..5 {
            for number in 0..MAX_WAITING as u64 {
                delivery.push(Parcel::Request {
                    stamp: Stamp {
                        sender: round,
                        number,
                    },
                    sid: "AAAA.a".parse().unwrap(),
                    request: Request::Disconnect,
                });
            }
            let delivered = delivery.parcels.reserve_many(MAX_WAITING);
            let limit = Duration::from_secs(1);
            drop(timeout(limit, delivered).await.expect("they wait").unwrap());
        }
        assert!(lines.take().is_empty());
        tokio::task::yield_now().await;
        assert_eq!(bus.0.load(Ordering::Relaxed), MAX_REPLIES);
    }
}
