//! The limits on the number of clients, in total and from one peer.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, PoisonError};

use engineio_core::Refusal;

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// Counts the clients that are connected or being connected.
#[derive(Debug)]
pub(crate) struct Admission {
    max: usize,
    max_per_peer: usize,
    admitted: AtomicUsize,
    /// Only filled when there is a limit for one peer.
    by_peer: Mutex<HashMap<IpAddr, usize>>,
}

/// The place of one client, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    peer: Option<IpAddr>,
}

impl Admission {
    pub(crate) fn new(max: usize, max_per_peer: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            max_per_peer,
            admitted: AtomicUsize::new(0),
            by_peer: Mutex::default(),
        })
    }

    /// A place for one more client. One whose address the host does not tell counts in all only.
    pub(crate) fn admit(self: &Arc<Self>, peer: Option<IpAddr>) -> Result<Permit, Refusal> {
        let mut permit = Permit {
            admission: Arc::clone(self),
            peer: None,
        };
        if self.admitted.fetch_add(1, Ordering::Relaxed) >= self.max {
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
}

/// As whom an address counts: that of IPv4 as itself, however it is written; that of IPv6 as its network, since the
/// lower 64 bits are the peer's own (RFC 4291 § 2.5.1), and it may take new ones for each connection.
fn counted_as(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(peer) => Ipv6Addr::from_bits(peer.to_bits() & (!0 << 64)).into(),
        peer => peer,
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
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

    #[test]
    fn places_are_limited_and_given_back() {
        let admission = Admission::new(3, 2);
        let one: IpAddr = [10, 0, 0, 1].into();
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        let first = admission.admit(Some(one)).unwrap();
        let _second = admission.admit(Some(mapped)).unwrap();
        let refused = admission.admit(Some(one)).unwrap_err();
        assert_eq!(refused, Refusal::TooManyRequests);
        let _third = admission.admit(None).unwrap();
        let refused = admission.admit(None).unwrap_err();
        assert_eq!(refused, Refusal::Unavailable);
        drop(first);
        let _again = admission.admit(Some(one)).unwrap();
    }

    #[test]
    fn who_is_refused_leaves_nothing_behind() {
        let admission = Admission::new(3, 0);
        admission.admit(Some([10, 0, 0, 1].into())).unwrap_err();
        assert!(admission.by_peer.lock().unwrap().is_empty());
    }

    #[test]
    fn a_household_counts_as_one_and_its_neighbours_do_not() {
        let admission = Admission::new(100, 1);
        let peer = |text: &str| Some(text.parse::<IpAddr>().unwrap());
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
}
