//! The account by which a flush knows whether messages were lost before it was called.

use std::sync::atomic::{AtomicU64, Ordering};

/// No message was queued since the last flush.
const NONE: u64 = u64::MAX;

/// The messages that a flush answers for: those of one handle, or those of all. Changed only under the client's lock.
#[derive(Debug)]
pub(crate) struct Account {
    /// The number of messages of the client that were lost when the first one was queued that no flush has answered for.
    since: AtomicU64,
    /// The number of messages of the client that were queued up to the last one of this account.
    position: AtomicU64,
    of_all: bool,
}

impl Account {
    /// Creates the account of a handle, which covers the messages that it queues.
    pub(crate) const fn of_one() -> Self {
        Self {
            since: AtomicU64::new(NONE),
            position: AtomicU64::new(0),
            of_all: false,
        }
    }

    /// Creates the account of a client, which covers the messages that it and all handles queue.
    pub(crate) const fn of_all() -> Self {
        Self {
            since: AtomicU64::new(0),
            position: AtomicU64::new(0),
            of_all: true,
        }
    }

    /// Returns whether this is the account of the client, and not of a handle.
    pub(crate) const fn is_of_client(&self) -> bool {
        self.of_all
    }

    /// Records that the message at this position was queued when this many were lost.
    pub(crate) fn queue(&self, position: u64, lost: u64) {
        self.position.store(position, Ordering::Relaxed);
        self.note(lost);
    }

    /// Returns the position of the last message that was queued by the client or the handle itself.
    pub(crate) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// Records that a flush begins when this many messages are lost. Returns the number that the next flush compares with.
    pub(crate) fn note(&self, lost: u64) -> u64 {
        let since = self.since.load(Ordering::Relaxed);
        if since != NONE {
            return since;
        }
        self.since.store(lost, Ordering::Relaxed);
        lost
    }

    /// Starts over after a flush that has reported these losses. There may already be queued messages that it has not
    /// waited for.
    pub(crate) fn settle(&self, lost: u64, has_more: bool) {
        let since = if self.of_all || has_more { lost } else { NONE };
        self.since.store(since, Ordering::Relaxed);
    }
}

/// The clone of a handle also covers the messages that the handle has queued so far.
impl Clone for Account {
    fn clone(&self) -> Self {
        let since = match self.of_all {
            true => NONE,
            false => self.since.load(Ordering::Relaxed),
        };
        Self {
            since: AtomicU64::new(since),
            position: AtomicU64::new(self.position()),
            of_all: false,
        }
    }
}
