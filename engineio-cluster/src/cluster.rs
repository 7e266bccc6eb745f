//! The handle of a node.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use engineio_tower::Server;

use crate::NodeId;
use crate::builder::ClusterBuilder;
use crate::link::Links;

/// A node of a cluster, and through it the whole cluster.
///
/// This is a handle: cloning costs a reference count, and it can be used from any task or thread.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) id: NodeId,
    pub(crate) address: SocketAddr,
    pub(crate) server: Server,
    pub(crate) links: Arc<Links>,
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
        self.inner.id
    }

    /// Returns the address at which this node listens for the others.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.address
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("id", &self.inner.id)
            .field("address", &self.inner.address)
            .finish_non_exhaustive()
    }
}
