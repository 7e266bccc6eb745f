//! The WebSockets that reach this node and belong to sessions of other nodes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engineio_tower::Sid;
use tokio::sync::Notify;

/// The sessions of these WebSockets, which must be closed when the node leaves.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    table: Mutex<Table>,
    /// Told whenever there are none.
    none: Notify,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    sids: HashMap<u64, Sid>,
    /// The node is leaving.
    closed: bool,
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

    /// Counts a WebSocket, unless the node is leaving.
    pub(super) fn enter(self: &Arc<Self>, sid: Sid) -> Option<Relay> {
        let mut table = self.lock();
        if table.closed {
            return None;
        }
        let number = table.next;
        table.next += 1;
        table.sids.insert(number, sid);
        Some(Relay {
            relays: Arc::clone(self),
            number,
        })
    }

    /// Lets no further WebSocket enter. Returns the sessions of those that have.
    pub(crate) fn close(&self) -> Vec<Sid> {
        let mut table = self.lock();
        table.closed = true;
        table.sids.values().copied().collect()
    }

    /// Waits until there are none.
    pub(crate) async fn all_gone(&self) {
        loop {
            let none = self.none.notified();
            if self.lock().sids.is_empty() {
                return;
            }
            none.await;
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let mut table = self.relays.lock();
        table.sids.remove(&self.number);
        if table.sids.is_empty() {
            self.relays.none.notify_waiters();
        }
    }
}
