//! The state that the handle of the membership shares with its driver: the node, reports to the driver, and its state.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::NodeId;
use crate::bus::awaited::Awaited;

/// This node, as it introduces itself.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    pub(crate) id: NodeId,
    /// A random number that distinguishes this process from its predecessors of the same name.
    pub(crate) incarnation: u64,
    /// The internal address at which the others reach it, as `host:port`, of 255 bytes at most.
    pub(crate) address: Arc<str>,
}

/// A report of the rest of the node to the driver.
#[derive(Debug)]
pub(super) enum News {
    RefusedConnection(NodeId),
    Drain,
    Leave(oneshot::Sender<()>),
}

/// The state that the driver writes and the handle reads.
#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// The own broadcasts that have not come back yet.
    pub(super) echoes: Awaited<()>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) bus_lost_since: Option<Instant>,
    pub(super) draining: bool,
    pub(super) conflict_seen: Option<Instant>,
    /// The nodes that have not been heard since the connection to the broker came back. Theirs may still be broken.
    pub(super) unheard: BTreeSet<NodeId>,
    /// The driver has ended: nothing comes back any more.
    pub(super) over: bool,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // The fields are independent, so a panic elsewhere has broken nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
