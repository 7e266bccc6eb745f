//! The limit on handshakes in progress over one connection, which matters for HTTP/2.
//!
//! A reset frees the place of a stream on its connection, but does not stop the connect handler. Without this limit, one
//! connection could start any number of handlers (CVE-2023-44487, one layer above h2).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};

use engineio_core::Refusal;

use crate::sync::{Mutex, MutexGuard};

/// The maximum number of handshakes in progress over one connection. `serve` and hyper admit as many streams.
const MAX_HANDSHAKES: usize = 200;

/// Counts handshakes in progress by the address and port of their peer, which identify a connection on every host.
///
/// Handshakes over HTTP/1 are counted too, although a connection has only one at a time, because not every host passes on
/// the version.
#[derive(Debug, Default)]
pub(crate) struct Multiplexed(Mutex<HashMap<SocketAddr, usize>>);

/// A handshake in progress, counted until dropped.
#[derive(Debug)]
pub(crate) struct MultiplexedHandshake {
    all: Arc<Multiplexed>,
    peer: SocketAddr,
}

impl Multiplexed {
    /// Counts a handshake if its peer's address is known.
    pub(crate) fn begin(
        self: &Arc<Self>,
        peer: Option<SocketAddr>,
    ) -> Result<Option<MultiplexedHandshake>, Refusal> {
        let Some(peer) = peer else {
            return Ok(None);
        };
        let mut by_connection = self.lock();
        let count = by_connection.entry(peer).or_default();
        if *count >= MAX_HANDSHAKES {
            return Err(Refusal::TooManyRequests);
        }
        *count += 1;
        Ok(Some(MultiplexedHandshake {
            all: Arc::clone(self),
            peer,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for MultiplexedHandshake {
    fn drop(&mut self) {
        let mut by_connection = self.all.lock();
        if let Some(count) = by_connection.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                by_connection.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_has_a_count_of_its_own_that_leaves_nothing_behind() {
        let all = Arc::<Multiplexed>::default();
        let [one, other] = [1, 2].map(|port| SocketAddr::from(([10, 0, 0, 1], port)));
        let mut begun: Vec<_> = (0..MAX_HANDSHAKES)
            .map(|_| all.begin(Some(one)).unwrap())
            .collect();
        let refused = all.begin(Some(one)).unwrap_err();
        assert_eq!(refused, Refusal::TooManyRequests);
        assert!(all.begin(Some(other)).is_ok());
        begun.pop();
        assert!(all.begin(Some(one)).is_ok());
        drop(begun);
        assert!(all.lock().is_empty());
    }
}
