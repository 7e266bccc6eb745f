//! The nodes of the cluster, as the bus shows them.
//!
//! `announcement` has the messages of a node, `detector` decides from them which nodes are alive, and `driver` connects
//! the two with the bus and the clock.

pub(crate) mod announcement;
mod detector;
mod driver;
mod error;
mod hearing;
mod output;
#[cfg(test)]
mod random_walk;
#[cfg(test)]
mod scenarios;
mod shared;
mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use engineio_tower::{Message, Server};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

pub(crate) use detector::{MAX_NODES, SILENCE};
pub use error::JoinError;
pub(crate) use shared::Local;
use shared::{News, Shared};
pub use status::Status;

use crate::bus::awaited::ECHO_LIMIT;
use crate::bus::fields::Stamp;
use crate::bus::numbers::Numbers;
use crate::bus::wire::{BROADCAST_OVERHEAD, BusMessage};
use crate::bus::{Bus, PublishError};
use crate::members::Members;
use crate::{NodeId, meter};

/// The time that a farewell may take.
const FAREWELL_LIMIT: Duration = Duration::from_secs(1);

/// A conflict of ids is shown for this long after it was last seen.
const CONFLICT_SHOWN: Duration = Duration::from_secs(5);

/// News for the driver that wait.
const MAX_NEWS: usize = 256;

/// The membership of this node. Dropping it ends the announcements without a farewell.
#[derive(Debug)]
pub(crate) struct Membership {
    bus: Arc<dyn Bus>,
    incarnation: u64,
    numbers: Numbers,
    members: Members,
    shared: Arc<Shared>,
    news: mpsc::Sender<News>,
    task: JoinHandle<()>,
}

impl Membership {
    /// Joins the cluster: checks that nobody else has the id of this node, which takes 1.5 s, and fills the table of members.
    ///
    /// From then on this node announces itself each second, keeps `members` up to date, and hands what arrives on the bus to
    /// the clients of `server`.
    pub(crate) async fn join(
        bus: Arc<dyn Bus>,
        local: Local,
        members: Members,
        server: Server,
    ) -> Result<Self, JoinError> {
        if local.address.len() > announcement::MAX_ADDRESS {
            return Err(JoinError::AddressTooLong);
        }
        let shared = Arc::new(Shared::default());
        let (news, receiver) = mpsc::channel(MAX_NEWS);
        let (joined, outcome) = oneshot::channel();
        let incarnation = local.incarnation;
        let driver = driver::Driver::new(
            Arc::clone(&bus),
            local,
            members.clone(),
            server,
            Arc::clone(&shared),
            joined,
        );
        let membership = Self {
            bus,
            incarnation,
            numbers: Numbers::default(),
            members,
            shared,
            news,
            task: tokio::spawn(driver.run(receiver)),
        };
        match outcome.await {
            Ok(Ok(())) => Ok(membership),
            Ok(Err(error)) => Err(error),
            // The runtime shuts down.
            Err(_) => Err(JoinError::BusDeaf),
        }
    }

    /// Publishes a message for the clients of all other nodes, and waits until it comes back. Returns the nodes that may
    /// have missed it, because they have not been heard since the connection to the broker came back.
    ///
    /// Fails as [`Bus::publish`] does; and with [`PublishError::Unconfirmed`] if the message does not come back within
    /// [`ECHO_LIMIT`], and at once while nothing does. A message that is too large for the bus has to go to each node
    /// over HTTP/2.
    pub(crate) async fn broadcast(&self, message: Message) -> Result<Vec<NodeId>, PublishError> {
        let outcome = self.publish_broadcast(message).await;
        let reason = match &outcome {
            Ok(unheard) if unheard.is_empty() => return outcome,
            Ok(_) => "unheard",
            Err(PublishError::Disconnected) => "disconnected",
            Err(PublishError::Unconfirmed) => "unconfirmed",
            Err(PublishError::TooLarge { .. }) => "too_large",
        };
        meter::count(meter::UNPUBLISHED, reason, 1);
        outcome
    }

    async fn publish_broadcast(&self, message: Message) -> Result<Vec<NodeId>, PublishError> {
        // Before it is copied.
        let (len, limit) = (message.len() + BROADCAST_OVERHEAD, self.bus.max_message());
        if len > limit {
            return Err(PublishError::TooLarge { len, limit });
        }
        let number = self.numbers.next().await;
        let stamp = Stamp {
            sender: self.incarnation,
            number: number.value,
        };
        let message = BusMessage::Broadcast { stamp, message };
        let echo = self.shared.echoes.expect(stamp.number);
        // Looked up between `expect` and `publish`: a loss before is seen here, one after it ends the wait, and a node
        // that is heard only later may have subscribed too late.
        let (is_lost, unheard) = {
            let state = self.shared.lock();
            let unheard = state.unheard.iter().copied().collect();
            (state.bus_lost_since.is_some() || state.over, unheard)
        };
        self.bus.publish(message.encode()).await?;
        drop(number);
        if is_lost || echo.within(ECHO_LIMIT).await.is_none() {
            return Err(PublishError::Unconfirmed);
        }
        Ok(unheard)
    }

    /// Reports that the internal address of a node refused a connection.
    ///
    /// The node is asked on the bus whether it lives, and removed from the table if it does not answer.
    pub(crate) fn report_refused_connection(&self, id: NodeId) {
        // If the queue is full, so many reports wait that this one changes nothing.
        let _ = self.news.try_send(News::RefusedConnection(id));
    }

    /// Announces that this node takes no new sessions.
    pub(crate) async fn drain(&self) {
        self.shared.lock().draining = true;
        let _ = self.news.send(News::Drain).await;
    }

    /// Says farewell, so that the others remove this node at once. Takes a second at most.
    pub(crate) async fn leave(&self) {
        let (done, published) = oneshot::channel();
        let farewell = async {
            if self.news.send(News::Leave(done)).await.is_ok() {
                let _ = published.await;
            }
        };
        let _ = timeout(FAREWELL_LIMIT, farewell).await;
    }

    /// Returns the state of this node in its cluster.
    pub(crate) fn status(&self) -> Status {
        let state = self.shared.lock();
        Status {
            others: self.members.all().len(),
            bus_lost_since: state.bus_lost_since.map(Instant::into_std),
            draining: state.draining,
            id_conflict: state
                .conflict_seen
                .is_some_and(|seen| seen.elapsed() < CONFLICT_SHOWN),
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.task.abort();
    }
}
