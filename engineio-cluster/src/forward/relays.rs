//! The WebSockets that reach this node and belong to sessions of other nodes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engineio_tower::Sid;

/// The sessions of these WebSockets, which must be closed when the node leaves.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    sids: HashMap<u64, Sid>,
}

/// One such WebSocket, counted until this is dropped.
pub(super) struct Relay {
    relays: Arc<Relays>,
    number: u64,
}

impl Relays {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(self: &Arc<Self>, sid: Sid) -> Relay {
        let mut table = self.lock();
        let number = table.next;
        table.next += 1;
        table.sids.insert(number, sid);
        Relay {
            relays: Arc::clone(self),
            number,
        }
    }

    /// Returns the sessions of these WebSockets.
    pub(crate) fn sids(&self) -> Vec<Sid> {
        self.lock().sids.values().copied().collect()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.relays.lock().sids.remove(&self.number);
    }
}
