//! Node ids.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The name of a node, which follows the dot in the ids of its sessions.
///
/// Between 1 and [`NodeId::MAX_LEN`] characters of `A–Z a–z 0–9 - _`. Clients see it in their session ids.
///
/// ```
/// use engineio_cluster::NodeId;
///
/// assert_eq!("a".parse::<NodeId>().unwrap().as_str(), "a");
/// assert!("two words".parse::<NodeId>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// ASCII; what lies behind `len` is zero, so that the derived comparisons hold.
    bytes: [u8; Self::MAX_LEN],
    len: u8,
}

impl NodeId {
    /// The longest node id, in characters.
    pub const MAX_LEN: usize = 16;

    /// Draws an id of 8 characters from the system's random source.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        const LEN: usize = 8;
        let mut bytes = [0; Self::MAX_LEN];
        getrandom::fill(&mut bytes[..LEN])?;
        for byte in &mut bytes[..LEN] {
            *byte = ALPHABET[usize::from(*byte) % ALPHABET.len()];
        }
        Ok(Self {
            bytes,
            len: LEN as u8,
        })
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII is ever stored.
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl FromStr for NodeId {
    type Err = InvalidNodeId;

    fn from_str(text: &str) -> Result<Self, InvalidNodeId> {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if text.is_empty() || text.len() > Self::MAX_LEN || !text.as_bytes().iter().all(allowed) {
            return Err(InvalidNodeId(()));
        }
        let mut bytes = [0; Self::MAX_LEN];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self {
            bytes,
            len: text.len() as u8,
        })
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

/// A text cannot be a node id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a node id has 1 to 16 characters of A–Z a–z 0–9 - _")]
pub struct InvalidNodeId(());
