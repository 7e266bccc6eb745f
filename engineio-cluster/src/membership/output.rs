//! The actions that the detector asks its driver to carry out.

use std::sync::Arc;
use std::time::Instant;

use super::announcement::Presence;
use crate::{Member, NodeId};

/// Something for the driver to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Publish an announcement of this node.
    Announce { beat: u64, presence: Presence },
    /// Publish the question whether a node lives.
    Query { id: NodeId, incarnation: u64 },
    /// A node is alive, or its data has changed.
    Alive(Member),
    /// A node is gone.
    Gone(NodeId, Departure),
    /// This node has joined.
    Joined,
    /// This node must not start.
    Refused(Refused),
    /// Another node has joined with the id of this one, or of a third: both live.
    Conflict { id: NodeId, address: Arc<str> },
    /// A node beyond the limit of the cluster is ignored.
    TooMany(NodeId),
    /// Nothing has come back from the bus since this time.
    Deaf(Instant),
    /// The bus delivers again.
    Hearing,
    /// The connection to the broker should be replaced.
    Reconnect,
}

/// The way in which a node left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    Farewell,
    Silence,
    /// Its address refused connections and it did not answer.
    Refusal,
    /// A node with the same id took its place.
    Replaced,
}

/// The reason why a node must not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    IdInUse { address: Arc<str> },
    Deaf,
    ClusterFull,
}
