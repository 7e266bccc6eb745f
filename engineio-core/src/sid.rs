//! Session ids.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// The id of a session, which the client repeats in every request after the handshake.
///
/// Anyone who knows it can act as the client, so it must be unguessable: [`Sid::from_random`] takes 120 random bits.
/// Between 1 and [`Sid::MAX_LEN`] characters of `A–Z a–z 0–9 - _ . ~`, stored in place. [`fmt::Display`] gives the
/// whole id; [`fmt::Debug`] and [`Sid::short`] show only its beginning, which is all that belongs in a log.
///
/// ```
/// use engineio_core::Sid;
///
/// let sid = Sid::from_random([7; 15]);
/// assert_eq!(sid.as_str(), "BwcHBwcHBwcHBwcHBwcH");
/// assert_eq!("BwcHBwcHBwcHBwcHBwcH".parse::<Sid>().unwrap(), sid);
/// assert_eq!(sid.short(), "BwcHBw");
/// assert!("no spaces".parse::<Sid>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sid {
    /// ASCII; what lies behind `len` is zero, so that the derived comparisons hold.
    bytes: [u8; Self::MAX_LEN],
    len: u8,
}

impl Sid {
    /// The longest id: enough for a UUID in text form, a dot and the name of a node of a cluster, which has up to 16
    /// characters. The reference's ids have 20.
    pub const MAX_LEN: usize = 55;

    /// Creates an id of 20 characters from 15 random bytes, in the URL-safe base64 alphabet, like the ids of the
    /// reference server.
    ///
    /// The bytes must come from a cryptographic random source; this crate has none.
    #[must_use]
    pub fn from_random(random: [u8; 15]) -> Self {
        let mut bytes = [0; Self::MAX_LEN];
        // 15 bytes are exactly 20 characters, and there is room for 55.
        let len = URL_SAFE_NO_PAD
            .encode_slice(random, &mut bytes)
            .unwrap_or_default();
        Self {
            bytes,
            len: len as u8,
        }
    }

    pub(crate) fn from_bytes(id: &[u8]) -> Result<Self, InvalidSid> {
        let is_unreserved = |&byte: &u8| UNRESERVED[usize::from(byte)];
        if id.is_empty() || id.len() > Self::MAX_LEN || !id.iter().all(is_unreserved) {
            return Err(InvalidSid);
        }
        let mut bytes = [0; Self::MAX_LEN];
        bytes[..id.len()].copy_from_slice(id);
        Ok(Self {
            bytes,
            len: id.len() as u8,
        })
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII is ever stored.
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }

    /// Returns the first six characters: enough to tell sessions apart in a log, and too few to take one over.
    #[must_use]
    pub fn short(&self) -> &str {
        let id = self.as_str();
        id.get(..6).unwrap_or(id)
    }
}

/// The characters that stand in a URL as they are (RFC 3986 § 2.3). A table, because every request is checked.
const UNRESERVED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] =
            (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'-' | b'_' | b'.' | b'~');
        byte += 1;
    }
    table
};

impl Hash for Sid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Only what the id has, which is half of the array.
        state.write(&self.bytes[..usize::from(self.len)]);
    }
}

impl FromStr for Sid {
    type Err = InvalidSid;

    fn from_str(id: &str) -> Result<Self, InvalidSid> {
        Self::from_bytes(id.as_bytes())
    }
}

impl AsRef<str> for Sid {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sid({}…)", self.short())
    }
}

/// Text that cannot be a session id: empty, longer than [`Sid::MAX_LEN`], or with a character that would have to be
/// escaped in a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a session id: 1 to 55 of the characters A-Z a-z 0-9 - _ . ~")]
pub struct InvalidSid;
