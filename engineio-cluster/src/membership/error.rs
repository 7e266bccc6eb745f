//! The reasons why a node cannot join its cluster.

use std::sync::Arc;

use thiserror::Error;

use crate::NodeId;

/// A node could not join its cluster.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JoinError {
    /// Another node that runs has the same id.
    #[error(
        "a running node at {address} has the id {id}: stop it, or give this node another name, or none for a random one"
    )]
    IdInUse {
        /// The id of both nodes.
        id: NodeId,
        /// The internal address of the other one.
        address: Arc<str>,
    },
    /// The messages that this node publishes do not come back.
    #[error(
        "the messages of this node do not come back from the broker within five seconds: check the broker, and the \
         permission to publish and subscribe to the channel"
    )]
    BusDeaf,
    /// There are as many nodes as a cluster can have.
    #[error("the cluster has 256 nodes already, which is the limit")]
    ClusterFull,
    /// The internal address is too long for an announcement.
    #[error("the internal address of this node is longer than 255 bytes")]
    AddressTooLong,
}
