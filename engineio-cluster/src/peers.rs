//! A fixed list of nodes.

use std::sync::Arc;

use thiserror::Error;

use crate::{InvalidNodeId, NodeId};

/// The other nodes of a cluster without a broker.
///
/// Every node may have the same list, with or without itself. A node that is not running does no harm: requests for its
/// sessions are refused.
///
/// ```
/// use engineio_cluster::Peers;
///
/// let peers = Peers::fixed([("a", "10.0.0.5:7000"), ("b", "10.0.0.6:7000")])?;
/// # let _ = peers;
/// # Ok::<_, engineio_cluster::PeersError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Peers(pub(crate) Vec<(NodeId, Arc<str>)>);

impl Peers {
    /// Returns a list of names and addresses, the latter as `host:port` of the internal listeners.
    ///
    /// # Errors
    ///
    /// Fails with the first name that cannot be a node id or occurs twice, or with the first address without a host or
    /// a port.
    pub fn fixed<N, A>(peers: impl IntoIterator<Item = (N, A)>) -> Result<Self, PeersError>
    where
        N: AsRef<str>,
        A: Into<Arc<str>>,
    {
        let mut list: Vec<(NodeId, Arc<str>)> = Vec::new();
        for (name, address) in peers {
            let (id, address) = (name.as_ref().parse()?, address.into());
            if list.iter().any(|(other, _)| *other == id) {
                return Err(PeersError::Repeated(id));
            }
            if !is_address(&address) {
                return Err(PeersError::Address { id, address });
            }
            list.push((id, address));
        }
        Ok(Self(list))
    }
}

/// Returns whether a text is a host and a port, without looking the host up.
fn is_address(text: &str) -> bool {
    let parts = text.rsplit_once(':');
    parts.is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

/// The list of nodes cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PeersError {
    /// A name cannot be a node id.
    #[error(transparent)]
    Name(#[from] InvalidNodeId),
    /// Two nodes of the list have one name.
    #[error("the list names the node {0} twice")]
    Repeated(NodeId),
    /// An address is not `host:port`.
    #[error("the address of the node {id} is `{address}`; expected host:port")]
    Address {
        /// The node.
        id: NodeId,
        /// The address in the list.
        address: Arc<str>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_cannot_be_meant_is_refused() {
        assert!(Peers::fixed([("a", "[::1]:7000"), ("b", "host:1")]).is_ok());
        let list = Peers::fixed([("a", "host:1"), ("a", "host:2")]);
        assert!(matches!(list, Err(PeersError::Repeated(_))), "{list:?}");
        let list = Peers::fixed([("two words", "host:1")]);
        assert!(matches!(list, Err(PeersError::Name(_))), "{list:?}");
        for address in ["", "127.0.0.1", "host:", ":7000", "host:0", "host:65536"] {
            let list = Peers::fixed([("a", address)]);
            assert!(matches!(list, Err(PeersError::Address { .. })), "{address}");
        }
    }
}
