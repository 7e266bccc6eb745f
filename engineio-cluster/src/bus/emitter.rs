//! Reaches the clients of a cluster from a process that serves none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engineio_tower::{Message, Sid};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::awaited::{Awaited, ECHO_LIMIT};
use super::fields::Stamp;
use super::numbers::{Number, Numbers};
use super::wire::{BROADCAST_OVERHEAD, BusMessage, Outcome, Request};
use super::{Bus, BusEvent, PublishError};
use crate::membership::announcement::{Announcement, Presence};
use crate::membership::{MAX_NODES, SILENCE};
use crate::{Member, NodeId};
use engineio_core::driver::Repeats;

/// The time in which every node announces itself once, and a half more.
const LISTEN: Duration = Duration::from_millis(1500);

/// The time within which the owner of a session has to reply.
const REPLY_LIMIT: Duration = Duration::from_secs(5);

/// The time without any message after which the connection is replaced if nodes are known, which announce themselves each
/// second: an emitter that only listens would not notice that it is broken. Longer than [`SILENCE`], so that the nodes do
/// not count as alive when it is back.
const DEAF_AFTER: Duration = Duration::from_secs(5);

/// The maximum number of operations in progress at the same time. More wait for their turn.
const MAX_PENDING: usize = 1024;

/// Reaches the clients of a cluster from a process that serves none: a worker, a cron job, a script.
///
/// It uses only the bus, so it needs no access to the internal listeners of the nodes. Like the nodes, it receives
/// everything on the channel. A message may have [`MAX_MESSAGE`](crate::MAX_MESSAGE) less a few bytes.
///
/// This is a handle: clones share one connection, which is closed with the last of them.
///
/// ```
/// use engineio_cluster::{EmitError, Emitter, MemoryBroker};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// // In earnest: Nats::connect("nats://broker:4222").await?
/// let emitter = Emitter::connect(MemoryBroker::new().connect()).await;
/// // No node runs here.
/// assert!(matches!(emitter.broadcast("hello").await, Err(EmitError::NoNodes)));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Emitter {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bus: Arc<dyn Bus>,
    sender: u64,
    numbers: Numbers,
    turns: Semaphore,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// The state that the reading task writes and the operations read.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// The replies of owners, and the own broadcasts that come back, which are always done.
    pending: Awaited<Outcome>,
}

#[derive(Debug, Default)]
struct State {
    nodes: BTreeMap<NodeId, Known>,
    /// The connection is lost, so the known nodes are kept.
    lost: bool,
}

/// A node that has announced itself.
#[derive(Debug)]
struct Known {
    member: Member,
    /// When it was heard last. The time without a connection does not count.
    heard: Instant,
    /// It has not been heard since the connection to the broker came back, and its own may still be broken.
    is_unheard: bool,
}

/// An operation of an [`Emitter`] failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EmitError {
    /// No node announces itself on the channel. The message was not published.
    #[error("no node announces itself on the channel of the bus")]
    NoNodes,
    /// The session is closed, its node is gone, or there never was such a session.
    #[error("the session is closed")]
    Closed,
    /// The queue of the client is full.
    #[error("the outbox of the client is full")]
    Full,
    /// A text holds U+001E, which a client that polls would read as the end of a packet.
    #[error("the text holds U+001E, which separates packets in polling")]
    Separator,
    /// The message was not published, or may not have been.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The broadcast was published, but these nodes may have missed it: they have not announced themselves since the
    /// connection of this process to the broker came back, so that their own may still be broken.
    #[error(
        "the broadcast was published, but some nodes have not been heard since the connection to the broker came back"
    )]
    Unheard(Vec<NodeId>),
    /// The node that owns the session did not reply within five seconds, or the bus was lost meanwhile. The operation may
    /// have been carried out.
    #[error("the owner of the session did not reply; the operation may have been carried out")]
    Unanswered,
}

impl EmitError {
    /// Returns whether the operation may have been carried out nevertheless.
    #[must_use]
    pub const fn may_have_arrived(&self) -> bool {
        match self {
            Self::Unanswered | Self::Unheard(_) => true,
            Self::Publish(error) => error.may_have_arrived(),
            _ => false,
        }
    }
}

impl Emitter {
    /// Joins the channel of a bus as a listener, and waits for 1.5 s, in which every node announces itself.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime, and if the system has no source of randomness.
    pub async fn connect(bus: impl Bus) -> Self {
        Self::listen_on(Arc::new(bus)).await
    }

    pub(super) async fn listen_on(bus: Arc<dyn Bus>) -> Self {
        let mut sender = [0; 8];
        getrandom::fill(&mut sender).expect("the system has a source of randomness");
        let sender = u64::from_ne_bytes(sender);
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(listen(Arc::clone(&bus), Arc::clone(&shared), sender));
        let inner = Inner {
            bus,
            sender,
            numbers: Numbers::default(),
            turns: Semaphore::new(MAX_PENDING),
            shared,
            task,
        };
        sleep(LISTEN).await;
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Sends a message to every client of every node. Returns the number of nodes to which it was published.
    ///
    /// A node hands it to its clients once. A client whose queue is full does not get it. It completes once the message
    /// has come back from the broker, which takes one round trip.
    ///
    /// # Errors
    ///
    /// Fails if no node is known, if the message is too large, if the bus does not take it, if it does not come back
    /// within 3 s, and if a node has not been heard since the connection came back; see [`EmitError::may_have_arrived`].
    ///
    /// It does not notice a node that has vanished, or has lost its own connection to the broker, while that of this
    /// process is sound. After 4.5 s of silence such a node no longer counts. Nor does it notice that a node gets messages
    /// faster than it can hand them to its clients: 1,024 messages and 16 MiB wait there, and more are dropped, and
    /// counted in the metrics of that node. So do not start thousands of broadcasts at once: one after another, each
    /// waits for the broker.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the message may or may not be sent.
    pub async fn broadcast(&self, message: impl Into<Message>) -> Result<usize, EmitError> {
        let message = message.into();
        self.check_size(&message)?;
        let number = self.inner.numbers.next().await;
        let stamp = self.stamp(&number);
        let message = BusMessage::Broadcast { stamp, message };
        let shared = &self.inner.shared;
        let echo = shared.pending.expect(stamp.number);
        // Looked up between `expect` and `publish`: a loss before is seen here, one after it ends the wait, and a node
        // that is heard only later may have subscribed too late.
        let (is_lost, nodes, unheard) = {
            let state = shared.lock();
            let unheard = state.alive().filter(|node| node.is_unheard);
            let unheard: Vec<_> = unheard.map(|node| node.member.id).collect();
            (state.lost, state.alive().count(), unheard)
        };
        if nodes == 0 {
            return Err(EmitError::NoNodes);
        }
        self.inner.bus.publish(message.encode()).await?;
        drop(number);
        if is_lost || echo.within(ECHO_LIMIT).await.is_none() {
            return Err(PublishError::Unconfirmed.into());
        }
        match unheard.is_empty() {
            true => Ok(nodes),
            false => Err(EmitError::Unheard(unheard)),
        }
    }

    /// Sends a message to one client, on any node.
    ///
    /// Completes once the message is in the queue of the client. Messages that one task sends to one session one after
    /// another arrive in order, even if futures were dropped in between. The exception is a message behind one that
    /// [may have arrived](EmitError::may_have_arrived): the connection to the broker may have been replaced meanwhile.
    ///
    /// # Errors
    ///
    /// Fails if the session is closed or its queue is full, and if the bus or the owner of the session does not
    /// answer, as when messages arrive there faster than it can deliver them; see [`EmitError::may_have_arrived`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the message may or may not be sent.
    pub async fn send(&self, sid: &Sid, message: impl Into<Message>) -> Result<(), EmitError> {
        let message = message.into();
        self.check_size(&message)?;
        match self.request(sid, Request::Send(message)).await? {
            Outcome::Done => Ok(()),
            Outcome::Full => Err(EmitError::Full),
            Outcome::Closed => Err(EmitError::Closed),
            Outcome::Unsendable => Err(EmitError::Separator),
        }
    }

    /// Disconnects one client, on any node. Returns whether it was connected.
    ///
    /// # Errors
    ///
    /// Fails if the bus or the owner of the session does not answer; see [`EmitError::may_have_arrived`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the client may or may not be disconnected.
    pub async fn disconnect(&self, sid: &Sid) -> Result<bool, EmitError> {
        match self.request(sid, Request::Disconnect).await {
            Ok(outcome) => Ok(outcome == Outcome::Done),
            Err(EmitError::Closed) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns the nodes that are alive, according to announcements of the last few seconds.
    #[must_use]
    pub fn nodes(&self) -> Vec<Member> {
        let state = self.inner.shared.lock();
        state.alive().map(|node| node.member.clone()).collect()
    }

    async fn request(&self, sid: &Sid, request: Request) -> Result<Outcome, EmitError> {
        let owner = sid.as_str().rsplit_once('.').map(|(_, node)| node);
        let is_alive = |owner| self.nodes().iter().any(|node| node.id.as_str() == owner);
        if !owner.is_some_and(is_alive) {
            return Err(EmitError::Closed);
        }
        // The semaphore is never closed.
        let _turn = self.inner.turns.acquire().await;
        let number = self.inner.numbers.next().await;
        let stamp = self.stamp(&number);
        let reply = self.inner.shared.pending.expect(stamp.number);
        let sid = *sid;
        let message = BusMessage::Request {
            stamp,
            sid,
            request,
        };
        self.inner.bus.publish(message.encode()).await?;
        drop(number);
        // The bus was lost, and with it the reply; or there was none.
        let outcome = reply.within(REPLY_LIMIT).await;
        outcome.ok_or(EmitError::Unanswered)
    }

    fn check_size(&self, message: &Message) -> Result<(), PublishError> {
        let overhead = BROADCAST_OVERHEAD + 2 + Sid::MAX_LEN;
        let (len, limit) = (message.len() + overhead, self.inner.bus.max_message());
        if len > limit {
            return Err(PublishError::TooLarge { len, limit });
        }
        Ok(())
    }

    fn stamp(&self, number: &Number<'_>) -> Stamp {
        Stamp {
            sender: self.inner.sender,
            number: number.value,
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The fields are independent, so a panic elsewhere has broken nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn listen(bus: Arc<dyn Bus>, shared: Arc<Shared>, sender: u64) {
    let missed = Repeats::default();
    loop {
        let Ok(event) = timeout(DEAF_AFTER, bus.next_event()).await else {
            let is_deaf = {
                let state = shared.lock();
                !state.lost && !state.nodes.is_empty()
            };
            if is_deaf {
                bus.reconnect();
            }
            continue;
        };
        match event {
            BusEvent::Message(bytes) => match BusMessage::decode(bytes) {
                Ok(BusMessage::Announcement(announcement)) => {
                    shared.lock().on_announcement(&announcement);
                }
                Ok(BusMessage::Reply { stamp, outcome }) if stamp.sender == sender => {
                    shared.pending.arrived(stamp.number, outcome);
                }
                Ok(BusMessage::Broadcast { stamp, .. }) if stamp.sender == sender => {
                    shared.pending.arrived(stamp.number, Outcome::Done);
                }
                _ => {}
            },
            BusEvent::Missed(count) => {
                if let Some(count) = missed.count(Instant::now(), count) {
                    tracing::warn!(target: "engineio::cluster", count, "messages of the bus were dropped");
                }
            }
            BusEvent::Lost => {
                let mut state = shared.lock();
                // Else nodes that had been silent long before would count as alive when the connection is back.
                if !state.lost {
                    state.forget_silent();
                }
                state.lost = true;
                drop(state);
                // A reply that was published meanwhile never comes.
                shared.pending.end();
            }
            BusEvent::Back => {
                let mut state = shared.lock();
                state.lost = false;
                let now = Instant::now();
                for node in state.nodes.values_mut() {
                    node.heard = now;
                    node.is_unheard = true;
                }
            }
        }
    }
}

impl State {
    fn alive(&self) -> impl Iterator<Item = &Known> {
        let nodes = self.nodes.values();
        nodes.filter(|node| self.lost || node.heard.elapsed() < SILENCE)
    }

    fn forget_silent(&mut self) {
        self.nodes.retain(|_, node| node.heard.elapsed() < SILENCE);
    }

    fn on_announcement(&mut self, announcement: &Announcement) {
        if announcement.presence == Presence::Left {
            self.nodes.remove(&announcement.id);
        } else if let Some(member) = announcement.member() {
            if !self.nodes.contains_key(&member.id) && self.nodes.len() >= MAX_NODES {
                self.forget_silent();
                if self.nodes.len() >= MAX_NODES {
                    return;
                }
            }
            let id = member.id;
            let known = Known {
                member,
                heard: Instant::now(),
                is_unheard: false,
            };
            self.nodes.insert(id, known);
        }
    }
}
