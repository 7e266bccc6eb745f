//! The sessions of a server, by id.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::{Arc, PoisonError};

use engineio_core::Sid;
use foldhash::fast::RandomState;

use crate::session::Session;
use crate::sync::RwLock;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// Enough that the threads of one machine rarely meet at a lock.
const SHARDS: usize = 32;

type Shard = RwLock<HashSet<BySid, RandomState>>;

/// A session that is found by its id, of which the registry needs no copy.
#[derive(Debug)]
struct BySid(Arc<Session>);

impl Borrow<Sid> for BySid {
    fn borrow(&self) -> &Sid {
        &self.0.sid
    }
}

impl Hash for BySid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.sid.hash(state);
    }
}

impl PartialEq for BySid {
    fn eq(&self, other: &Self) -> bool {
        self.0.sid == other.0.sid
    }
}

impl Eq for BySid {}

/// A set in shards, so that requests of different sessions do not wait for each other.
///
/// A lock is held for one look-up only, and never while a session is locked. The hash is a fast one: the ids that are
/// stored are the server's own, so no client can choose such as meet in one bucket.
#[derive(Debug)]
pub(crate) struct Registry {
    shards: Box<[Shard]>,
    hasher: RandomState,
    len: AtomicUsize,
}

impl Registry {
    pub(crate) fn new() -> Self {
        let hasher = RandomState::default();
        let shard = || RwLock::new(HashSet::with_hasher(hasher.clone()));
        Self {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            hasher,
            len: AtomicUsize::new(0),
        }
    }

    fn shard(&self, sid: &Sid) -> &Shard {
        // The sets use the low bits of the hash for their buckets and the highest for their tags.
        &self.shards[(self.hasher.hash_one(sid) >> 40) as usize % SHARDS]
    }

    /// Adds a session. Returns `false`, and changes nothing, if the id is taken.
    pub(crate) fn insert(&self, session: &Arc<Session>) -> bool {
        let mut shard = self
            .shard(&session.sid)
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let added = shard.insert(BySid(Arc::clone(session)));
        if added {
            self.len.fetch_add(1, Ordering::Relaxed);
        }
        added
    }

    pub(crate) fn get(&self, sid: &Sid) -> Option<Arc<Session>> {
        self.shard(sid)
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(sid)
            .map(|BySid(session)| Arc::clone(session))
    }

    /// Removes this session, but no other one with its id.
    pub(crate) fn remove(&self, session: &Arc<Session>) {
        let sid = &session.sid;
        let mut shard = self
            .shard(sid)
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let own = shard.get(sid);
        if !own.is_some_and(|BySid(own)| Arc::ptr_eq(own, session)) {
            return;
        }
        let removed = shard.take(sid);
        // Memory comes back after a crowd has left.
        if shard.capacity() > 64 && shard.len() * 4 < shard.capacity() {
            shard.shrink_to_fit();
        }
        drop(shard);
        self.len.fetch_sub(1, Ordering::Relaxed);
        // Dropped outside the lock, with everything the session holds.
        drop(removed);
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Returns all sessions at this moment.
    pub(crate) fn snapshot(&self) -> Vec<Arc<Session>> {
        let mut all = Vec::with_capacity(self.len());
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            all.extend(shard.iter().map(|BySid(session)| Arc::clone(session)));
        }
        all
    }
}
