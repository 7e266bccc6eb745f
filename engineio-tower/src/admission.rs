//! How many clients may be connected, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
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
    /// Only filled when there is a limit for one address.
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
            let mut by_peer = self.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
            let count = by_peer.entry(peer.to_canonical()).or_default();
            if *count >= self.max_per_peer {
                drop(by_peer);
                return Err(Refusal::TooManyRequests);
            }
            *count += 1;
            permit.peer = Some(peer.to_canonical());
        }
        Ok(permit)
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
}
