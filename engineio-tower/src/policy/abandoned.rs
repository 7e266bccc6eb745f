//! The connect handlers that go on after their request is gone, counted by connection.
//!
//! Over HTTP/2 a client can reset a stream, which frees the stream's place on the connection but does not stop the connect
//! handler. Without a count, one connection could start handlers without end (CVE-2023-44487, one layer above h2).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::PoisonError;

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// The number of abandoned handlers with which a connection opens no more sessions. Clients that give up on a slow
/// handshake leave one or two behind; the connection of a proxy that multiplexes leaves those of all its clients.
pub(crate) const MAX_PER_CONNECTION: usize = 100;

/// Counts abandoned handlers by the address and port of their peer, which identify a connection on every host.
#[derive(Debug, Default)]
pub(crate) struct Abandoned {
    /// The number of all of them, so that a handshake takes the lock only if there are any.
    total: AtomicUsize,
    by_connection: Mutex<HashMap<SocketAddr, usize>>,
}

impl Abandoned {
    /// Returns whether this connection may start no more connect handlers.
    pub(crate) fn is_at_limit(&self, peer: SocketAddr) -> bool {
        self.total.load(Ordering::Relaxed) >= MAX_PER_CONNECTION
            && self
                .lock()
                .get(&peer)
                .is_some_and(|&count| count >= MAX_PER_CONNECTION)
    }

    pub(crate) fn add(&self, peer: SocketAddr) {
        *self.lock().entry(peer).or_default() += 1;
        self.total.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, peer: SocketAddr) {
        let mut by_connection = self.lock();
        if let Some(count) = by_connection.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                by_connection.remove(&peer);
            }
        }
        self.total.fetch_sub(1, Ordering::Relaxed);
    }

    fn lock(&self) -> crate::sync::MutexGuard<'_, HashMap<SocketAddr, usize>> {
        self.by_connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_has_a_count_of_its_own_that_leaves_nothing_behind() {
        let abandoned = Abandoned::default();
        let [one, other] = [1, 2].map(|port| SocketAddr::from(([10, 0, 0, 1], port)));
        for n in 0..MAX_PER_CONNECTION {
            assert!(!abandoned.is_at_limit(one), "{n}");
            abandoned.add(one);
        }
        assert!(abandoned.is_at_limit(one) && !abandoned.is_at_limit(other));
        abandoned.remove(one);
        assert!(!abandoned.is_at_limit(one));
        for _ in 1..MAX_PER_CONNECTION {
            abandoned.remove(one);
        }
        assert!(abandoned.lock().is_empty());
        assert_eq!(abandoned.total.load(Ordering::Relaxed), 0);
    }
}
