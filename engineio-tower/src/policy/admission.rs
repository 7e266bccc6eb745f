//! The limits on the number of clients: in total, from one peer, and of those that are being connected or disconnected.
//!
//! A connect handler goes on without its request, and a disconnect handler runs after its client is gone. So the
//! clients for which either is running are counted separately: without a limit on clients, nothing else bounds the
//! number of such handlers.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, PoisonError};

use engineio_core::Refusal;

use super::options::Options;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// Counts the clients that are connected, being connected or being disconnected.
#[derive(Debug)]
pub(crate) struct Admission {
    max: usize,
    max_per_peer: usize,
    max_pending: usize,
    admitted: AtomicUsize,
    pending: AtomicUsize,
    /// Only filled when there is a limit for one peer.
    by_peer: Mutex<HashMap<IpAddr, usize>>,
}

/// The place of one client, from its handshake until its last handler has returned; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    peer: Option<IpAddr>,
    /// The client is being connected or disconnected, and is counted for that too.
    pending: bool,
}

/// A request that waits for the application before there is a client; counted until dropped.
#[derive(Debug)]
pub(crate) struct PendingRequest(Arc<Admission>);

impl Admission {
    pub(crate) fn new(options: &Options) -> Arc<Self> {
        Arc::new(Self {
            max: options.max_sockets,
            max_per_peer: options.max_sockets_per_peer,
            max_pending: options.max_pending_sockets,
            admitted: AtomicUsize::new(0),
            pending: AtomicUsize::new(0),
            by_peer: Mutex::default(),
        })
    }

    /// Returns a place for one more client, which is being connected. A client whose address the host does not pass on
    /// counts only towards the total.
    pub(crate) fn admit(self: &Arc<Self>, peer: Option<IpAddr>) -> Result<Permit, Refusal> {
        let mut permit = Permit {
            admission: Arc::clone(self),
            peer: None,
            pending: false,
        };
        if self.admitted.fetch_add(1, Ordering::Relaxed) >= self.max {
            return Err(Refusal::Unavailable);
        }
        permit.set_pending();
        if self.pending.load(Ordering::Relaxed) > self.max_pending {
            return Err(Refusal::Unavailable);
        }
        if let Some(peer) = peer.filter(|_| self.max_per_peer != usize::MAX) {
            let peer = counted_as(peer);
            let mut by_peer = self.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
            let count = by_peer.get(&peer).copied().unwrap_or_default();
            if count >= self.max_per_peer {
                drop(by_peer);
                return Err(Refusal::TooManyRequests);
            }
            by_peer.insert(peer, count + 1);
            permit.peer = Some(peer);
        }
        Ok(permit)
    }

    /// Counts a request that waits for the application before there is a client.
    pub(crate) fn begin_request(self: &Arc<Self>) -> Result<PendingRequest, Refusal> {
        let before = self.pending.fetch_add(1, Ordering::Relaxed);
        let request = PendingRequest(Arc::clone(self));
        if before >= self.max_pending {
            return Err(Refusal::Unavailable);
        }
        Ok(request)
    }
}

impl Permit {
    /// Counts the client as being connected or disconnected.
    pub(crate) fn set_pending(&mut self) {
        if !std::mem::replace(&mut self.pending, true) {
            self.admission.pending.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts the client as connected.
    pub(crate) fn set_connected(&mut self) {
        if std::mem::take(&mut self.pending) {
            self.admission.pending.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns the address under which a peer counts. An IPv4 address counts as itself, in whatever form it is written. An
/// IPv6 address counts as its network, because the peer chooses the lower 64 bits (RFC 4291 § 2.5.1) and may take new
/// ones for each connection.
fn counted_as(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(peer) => Ipv6Addr::from_bits(peer.to_bits() & (!0 << 64)).into(),
        peer => peer,
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.set_connected();
        self.admission.admitted.fetch_sub(1, Ordering::Relaxed);
        if let Some(peer) = self.peer {
            let mut by_peer = self
                .admission
                .by_peer
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = by_peer.get_mut(&peer) {
                *count -= 1;
                if *count == 0 {
                    by_peer.remove(&peer);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(sockets: usize, per_peer: usize, pending: usize) -> Arc<Admission> {
        Admission::new(&Options {
            max_sockets: sockets,
            max_sockets_per_peer: per_peer,
            max_pending_sockets: pending,
            ..Options::default()
        })
    }

    fn peer(ip: &str) -> Option<IpAddr> {
        Some(ip.parse().unwrap())
    }

    #[test]
    fn places_are_limited_and_given_back() {
        let admission = admission(3, 2, usize::MAX);
        let first = admission.admit(peer("10.0.0.1")).unwrap();
        let _second = admission.admit(peer("::ffff:10.0.0.1")).unwrap();
        let refused = admission.admit(peer("10.0.0.1")).unwrap_err();
        assert_eq!(refused, Refusal::TooManyRequests);
        let _third = admission.admit(None).unwrap();
        let refused = admission.admit(None).unwrap_err();
        assert_eq!(refused, Refusal::Unavailable);
        drop(first);
        let _again = admission.admit(peer("10.0.0.1")).unwrap();
    }

    #[test]
    fn a_refused_peer_leaves_nothing_behind() {
        let admission = admission(3, 0, 3);
        admission.admit(peer("10.0.0.1")).unwrap_err();
        assert!(admission.by_peer.lock().unwrap().is_empty());
        assert_eq!(admission.pending.load(Ordering::Relaxed), 0);
        assert_eq!(admission.admitted.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_household_counts_as_one_and_its_neighbours_do_not() {
        let admission = admission(100, 1, usize::MAX);
        let household = admission.admit(peer("2001:db8:1:2::1")).unwrap();
        let same = admission.admit(peer("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_eq!(same.unwrap_err(), Refusal::TooManyRequests);
        let _neighbour = admission.admit(peer("2001:db8:1:3::1")).unwrap();
        // Those of IPv4 are counted one by one, however they are written.
        let _one = admission.admit(peer("::ffff:10.0.0.1")).unwrap();
        let _two = admission.admit(peer("::ffff:10.0.0.2")).unwrap();
        drop(household);
        let _again = admission.admit(peer("2001:db8:1:2::2")).unwrap();
    }

    #[test]
    fn clients_that_come_and_go_count_until_they_are_connected_and_gone() {
        let admission = admission(usize::MAX, usize::MAX, 2);
        let mut first = admission.admit(None).unwrap();
        let request = admission.begin_request().unwrap();
        assert_eq!(admission.admit(None).unwrap_err(), Refusal::Unavailable);
        assert_eq!(admission.begin_request().unwrap_err(), Refusal::Unavailable);
        drop(request);
        first.set_connected();
        first.set_connected();
        let second = admission.admit(None).unwrap();
        first.set_pending();
        first.set_pending();
        assert_eq!(admission.admit(None).unwrap_err(), Refusal::Unavailable);
        drop((first, second));
        assert_eq!(admission.pending.load(Ordering::Relaxed), 0);
    }
}
