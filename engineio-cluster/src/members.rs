//! The nodes that this node knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::NodeId;

/// A node of the cluster as its last announcement, or the fixed list, describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// The id of the node.
    pub id: NodeId,
    /// A random number drawn when the node started: it distinguishes a node from its successor of the same name. It is 0
    /// for another node of a fixed list.
    pub incarnation: u64,
    /// The address at which the node listens for other nodes, as `host:port`.
    pub address: Arc<str>,
    /// Whether the node takes new sessions. A node of a fixed list that does not answer keeps its last state.
    pub state: MemberState,
    /// The number of sessions that the node owns.
    pub sessions: u64,
}

/// Whether a load balancer should give a node new sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemberState {
    /// The node takes new sessions.
    Up,
    /// The node is leaving. It refuses new sessions once the time of [`Drain::announce`](crate::Drain::announce) is over.
    Draining,
}

/// The other nodes that are alive, shared by the membership, which writes, and the request path, which reads.
#[derive(Clone, Debug)]
pub(crate) struct Members {
    table: Arc<watch::Sender<BTreeMap<NodeId, Arc<Member>>>>,
}

impl Members {
    pub(crate) fn new() -> Self {
        Self {
            table: Arc::new(watch::Sender::new(BTreeMap::new())),
        }
    }

    /// Returns the node of this id if it is alive.
    pub(crate) fn get(&self, id: &NodeId) -> Option<Arc<Member>> {
        self.table.borrow().get(id).cloned()
    }

    /// Returns all other nodes that are alive, ordered by id.
    pub(crate) fn all(&self) -> Vec<Arc<Member>> {
        self.table.borrow().values().cloned().collect()
    }

    /// Adds a node, or replaces its data.
    pub(crate) fn insert(&self, member: Member) {
        self.table.send_modify(|table| {
            table.insert(member.id, Arc::new(member));
        });
    }

    /// Removes a node that is dead or has left.
    pub(crate) fn remove(&self, id: &NodeId) {
        self.table.send_modify(|table| {
            table.remove(id);
        });
    }

    /// Returns a receiver that is notified of each change.
    pub(crate) fn changes(&self) -> watch::Receiver<BTreeMap<NodeId, Arc<Member>>> {
        self.table.subscribe()
    }
}
