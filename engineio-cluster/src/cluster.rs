//! The handle of a node.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use engineio_tower::{Message, Sid};
use thiserror::Error;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use crate::builder::ClusterBuilder;
use crate::forward::node_of;
use crate::link::Links;
use crate::listener::Node;
use crate::membership::Membership;
use crate::operations::{self, Caller, ClusterSendError, Unreachable};
use crate::pace::Progress;
use crate::{Member, MemberState, NodeId, PublishError, Status};

/// A node of a cluster, and through it the whole cluster.
///
/// This is a handle: cloning costs a reference count, and it can be used from any task or thread.
///
/// # Order
///
/// Two messages that one task [sends](Self::send) to one client one after the other arrive in this order, even if the
/// future of the first one was dropped before it completed. The exceptions are messages whose predecessor
/// [may have arrived](Unreachable::may_have_arrived), which can arrive late if it was sent on a connection that has broken
/// since, and messages behind a dropped future while more than 10,000 requests and WebSockets are under way from this
/// node to the owner, which then has several connections. Where this matters, put a number into the messages.
///
/// A [broadcast](Self::broadcast) and a `send` are not ordered against each other. Nor are a [disconnect](Self::disconnect)
/// whose future was dropped and what follows it.
///
/// # Examples
///
/// ```no_run
/// use engineio_cluster::{Cluster, Peers};
/// use engineio_tower::{EngineIoService, Server};
///
/// # async fn run(secret: String) -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder().build();
/// let cluster = Cluster::builder()
///     .name("a")
///     .listen("10.0.0.5:7000")
///     .secret(secret)
///     .peers(Peers::fixed([("b", "10.0.0.6:7000")])?)
///     .start(&server)
///     .await?;
/// cluster.broadcast("to everybody, on every node").await?;
/// # let _ = EngineIoService::new(server);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) node: Arc<Node>,
    pub(crate) address: SocketAddr,
    /// The address at which the others reach this node.
    pub(crate) advertised: Arc<str>,
    pub(crate) incarnation: u64,
    /// The membership, as the bus shows it. Without a bus the peers are a fixed list.
    pub(crate) membership: Option<Arc<Membership>>,
    pub(crate) links: Arc<Links>,
    /// Closed when the internal listener has ended.
    pub(crate) listening: watch::Receiver<()>,
    pub(crate) drain_progress: Mutex<Progress>,
}

impl Cluster {
    /// Returns a builder that configures a node.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    pub(crate) fn new(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Returns the id of this node.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.inner.node.id
    }

    /// Returns the address at which this node listens for the others.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.address
    }

    /// Returns the node that owns a session, as its id says, or `None` if the id names no node.
    ///
    /// It only reads the id: the session may be over, and the node gone.
    #[must_use]
    pub fn owner(sid: &Sid) -> Option<NodeId> {
        node_of(sid)
    }

    /// Returns all nodes that are known to be alive, including this one, ordered by id. With fixed peers, these are all
    /// that are listed.
    #[must_use]
    pub fn nodes(&self) -> Vec<Member> {
        let node = &self.inner.node;
        let own = Member {
            id: node.id,
            incarnation: self.inner.incarnation,
            address: Arc::clone(&self.inner.advertised),
            state: match node.is_draining() {
                true => MemberState::Draining,
                false => MemberState::Up,
            },
            sessions: node.server.len() as u64,
        };
        let others = self.inner.links.members().all();
        let mut nodes: Vec<Member> = others.iter().map(|node| (**node).clone()).collect();
        nodes.push(own);
        nodes.sort_unstable_by_key(|node| node.id);
        nodes
    }

    /// Returns the number of clients of all nodes, from the last announcement of each, which is at most a second old while
    /// the node is alive. The clients of a node that was killed are counted until it is found dead.
    #[must_use]
    pub fn len(&self) -> u64 {
        let others = self.inner.links.members().all();
        let others: u64 = others.iter().map(|node| node.sessions).sum();
        others + self.inner.node.server.len() as u64
    }

    /// Returns whether no client is connected anywhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sends a message to one client of the cluster, waiting up to 5 s while its outbox is full.
    ///
    /// # Errors
    ///
    /// Returns the message if it was not queued, or if the node that owns the session did not answer; in the latter
    /// case it may have been queued, see [`Unreachable::may_have_arrived`]. It is never sent twice. Another node takes
    /// messages of at most 64 MiB.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped before it returns, a message to a client of another node may have been queued, or may be queued
    /// soon after, but not behind what is sent next; see [Order](Self#order).
    pub async fn send(
        &self,
        sid: &Sid,
        message: impl Into<Message>,
    ) -> Result<(), ClusterSendError> {
        let message = message.into();
        let node = &self.inner.node;
        match self.owner_elsewhere(sid) {
            Some(owner) => self.ask(&owner).send(sid, message).await,
            None => operations::send_here(&node.server, sid, message, operations::LIMIT).await,
        }
    }

    /// Disconnects one client of the cluster gracefully. Returns whether it was connected.
    ///
    /// It waits for the end of the client as [`Server::disconnect`](engineio_tower::Server::disconnect) does, up to 5 s.
    ///
    /// # Errors
    ///
    /// Fails if the node that owns the session does not answer.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped before it returns, the client may be disconnected.
    pub async fn disconnect(&self, sid: &Sid) -> Result<bool, Unreachable> {
        match self.owner_elsewhere(sid) {
            Some(owner) => self.ask(&owner).disconnect(sid).await,
            None => {
                let server = &self.inner.node.server;
                Ok(operations::disconnect_here(server, sid, operations::LIMIT).await)
            }
        }
    }

    /// Sends a message to every client of every node. Returns the number of clients of this node for which it was
    /// queued.
    ///
    /// It goes over the bus if there is one, and completes once it has come back from the broker, which takes one round
    /// trip. Without a bus, and if it is too large for it, it goes to each node over HTTP/2, with at most 64 MiB. As with
    /// [`Server::broadcast`](engineio_tower::Server::broadcast), a client whose outbox is full does not get it. Every node
    /// gets it at most once; the clients of this one at once, whatever becomes of the rest.
    ///
    /// # Errors
    ///
    /// Fails if a node may not have got it:
    ///
    /// - at once, if it is larger than 64 MiB, if there is no connection to the broker, if nothing has come back on it for
    ///   4 s, or if this node has left (see [`drain`](Self::drain)); in the last two cases the others get it if the broker
    ///   takes it;
    /// - within 3 s, if the broker does not take it within 2 s, or it has not come back by then;
    /// - after the round trip, if a node has not been heard since the connection to the broker came back: the node's own
    ///   may still be broken. A node announces itself once a second;
    /// - within 5 s, if it goes over HTTP/2 and a node does not answer. A node of a fixed list that has been taken down
    ///   counts, too.
    ///
    /// With a bus, it does not notice a node that has vanished, or has lost its own connection to the broker, while
    /// that of this node is sound. After 4.5 s of silence such a node no longer counts. A node that gets messages faster
    /// than it can hand them to its clients drops those beyond 1,024 messages or 16 MiB, and counts them in its metrics. So
    /// do not start thousands of broadcasts at once: one after another, each waits for the broker.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped before it returns, some nodes may have got it, or may get it soon after.
    pub async fn broadcast(&self, message: impl Into<Message>) -> Result<usize, BroadcastError> {
        let message = message.into();
        let here = self.inner.node.server.broadcast(message.clone());
        if let Some(membership) = &self.inner.membership {
            match membership.broadcast(message.clone()).await {
                Ok(unheard) => {
                    let unreachable = unheard.into_iter().map(Unreachable::unheard).collect();
                    return outcome(here, unreachable);
                }
                // It has not been published.
                Err(PublishError::TooLarge { .. }) => {}
                Err(error) => {
                    return Err(BroadcastError {
                        here,
                        unreachable: Vec::new(),
                        bus: Some(error),
                    });
                }
            }
        }
        outcome(here, self.broadcast_to_each(message).await)
    }

    /// Sends a broadcast to each other node over HTTP/2: without a bus, or if it is too large for it.
    async fn broadcast_to_each(&self, message: Message) -> Vec<Unreachable> {
        let mut calls = JoinSet::new();
        for node in self.inner.links.members().all() {
            let (links, message) = (Arc::clone(&self.inner.links), message.clone());
            calls.spawn(async move {
                let caller = Caller {
                    links: &links,
                    node: &node,
                };
                caller.broadcast(message).await
            });
        }
        let outcomes = calls.join_all().await;
        outcomes.into_iter().filter_map(Result::err).collect()
    }

    /// Returns the ids of all clients of all nodes, and the nodes that did not answer.
    ///
    /// All nodes are asked at the same time, in pages, so the list is not a snapshot of one moment.
    pub async fn sids(&self) -> (Vec<Sid>, Vec<Unreachable>) {
        let mut calls = JoinSet::new();
        for node in self.inner.links.members().all() {
            let links = Arc::clone(&self.inner.links);
            calls.spawn(async move {
                let caller = Caller {
                    links: &links,
                    node: &node,
                };
                caller.sids().await
            });
        }
        let own = self.inner.node.server.sockets();
        let mut sids: Vec<Sid> = own.iter().map(engineio_tower::Socket::sid).collect();
        let mut unreachable = Vec::new();
        for outcome in calls.join_all().await {
            match outcome {
                Ok(more) => sids.extend(more),
                Err(error) => unreachable.push(error),
            }
        }
        (sids, unreachable)
    }

    /// Returns the state of this node in its cluster, for a readiness probe.
    #[must_use]
    pub fn status(&self) -> Status {
        let draining = self.inner.node.is_draining();
        match &self.inner.membership {
            Some(membership) => Status {
                draining,
                ..membership.status()
            },
            None => Status {
                others: self.inner.links.members().all().len(),
                bus_lost_since: None,
                draining,
                id_conflict: false,
            },
        }
    }

    /// Tells the other nodes that this one takes no new sessions. Those of a fixed list ask.
    pub(crate) async fn announce_drain(&self) {
        if let Some(membership) = &self.inner.membership {
            membership.drain().await;
        }
    }

    /// Says farewell to the other nodes.
    pub(crate) async fn leave(&self) {
        if let Some(membership) = &self.inner.membership {
            membership.leave().await;
        }
    }

    /// Waits until the answers to other nodes have been written and the internal listener has ended.
    pub(crate) async fn listener_ended(&self) {
        let mut listening = self.inner.listening.clone();
        while listening.changed().await.is_ok() {}
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.inner.node
    }

    pub(crate) fn drain_progress(&self) -> &Mutex<Progress> {
        &self.inner.drain_progress
    }

    pub(crate) fn links(&self) -> &Arc<Links> {
        &self.inner.links
    }

    pub(crate) fn owner_elsewhere(&self, sid: &Sid) -> Option<Arc<Member>> {
        let owner = node_of(sid).filter(|owner| *owner != self.id())?;
        self.inner.links.members().get(&owner)
    }

    fn ask<'a>(&'a self, node: &'a Arc<Member>) -> Caller<'a> {
        Caller {
            links: &self.inner.links,
            node,
        }
    }
}

/// Returns the outcome of a broadcast that the bus has carried, or that was sent to each node.
fn outcome(here: usize, unreachable: Vec<Unreachable>) -> Result<usize, BroadcastError> {
    match unreachable.is_empty() {
        true => Ok(here),
        false => Err(BroadcastError {
            here,
            unreachable,
            bus: None,
        }),
    }
}

/// A broadcast did not reach every node, or may not have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub struct BroadcastError {
    /// The number of clients of this node for which the message was queued.
    pub here: usize,
    /// The nodes that did not take the message, or may not have, if it was sent to each; those that have not been heard
    /// since the connection to the broker came back, if it went over the bus. The other nodes have got it.
    pub unreachable: Vec<Unreachable>,
    /// The failure of the bus. The clients of all other nodes have missed the message, or may have; see
    /// [`PublishError::may_have_arrived`].
    pub bus: Option<PublishError>,
}

impl fmt::Display for BroadcastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the broadcast did not reach every node")?;
        if let Some(error) = &self.bus {
            write!(f, ": {error}")?;
        }
        for error in &self.unreachable {
            write!(f, "; {error}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("id", &self.id())
            .field("address", &self.inner.address)
            .finish_non_exhaustive()
    }
}
