//! The state of a node in its cluster, for probes and displays.

use std::time::Instant;

/// The state of this node in its cluster, for a readiness probe.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The number of other nodes that are alive; with a fixed list, of all others in the list, since none is ever declared
    /// dead.
    pub others: usize,
    /// The time since which nothing has come back from the broker, or `None` while it delivers, and with a fixed list
    /// of nodes.
    ///
    /// Requests are still served and forwarded, to the nodes that were alive then. Broadcasts reach this node only.
    pub bus_lost_since: Option<Instant>,
    /// Whether this node is leaving; see [`Cluster::drain`](crate::Cluster::drain).
    pub draining: bool,
    /// Whether another running node has the id of this one. One of the two must be stopped, because requests for
    /// sessions of both go to one of them.
    pub id_conflict: bool,
}

impl Status {
    /// Returns whether a load balancer should send new clients here: yes, unless the node drains.
    ///
    /// A node that has lost its broker is ready: it serves its clients and forwards requests. If it were not, all nodes
    /// would leave the rotation at once, since they share the broker.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        !self.draining
    }

    /// Returns whether this node knows no other.
    #[must_use]
    pub const fn is_alone(&self) -> bool {
        self.others == 0
    }
}
