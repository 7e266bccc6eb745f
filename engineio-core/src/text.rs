//! Text of a message, kept in the form in which it travels.

use std::fmt;

use bytes::Bytes;

/// The text of one message, stored as the bytes of its packet: the digit `4`, then the text in UTF-8.
///
/// An echo, a broadcast and both transports can therefore share one [`Bytes`], which is encoded once. Cloning costs a
/// reference count.
///
/// # Examples
///
/// ```
/// use engineio_core::Text;
///
/// let text = Text::from("héllo");
/// assert_eq!(text.as_str(), "héllo");
/// assert_eq!(&text.as_wire()[..], "4héllo".as_bytes());
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Text {
    /// Valid UTF-8 that begins with [`Text::PREFIX`], as every constructor ensures.
    wire: Bytes,
}

impl Text {
    /// The digit of a message packet, which precedes the text on the wire (engine.io-protocol § Packet types).
    pub const PREFIX: u8 = b'4';

    /// Takes the text of a whole message packet, `4…`, without copying or checking its UTF-8 again.
    ///
    /// The type of the argument proves its encoding: a value that can be viewed as a `str` is UTF-8. Returns `None`
    /// unless it begins with `4`.
    ///
    /// ```
    /// use engineio_core::Text;
    ///
    /// assert_eq!(Text::from_packet(String::from("4hi")).unwrap().as_str(), "hi");
    /// assert!(Text::from_packet(String::from("2")).is_none());
    /// ```
    pub fn from_packet<S: AsRef<str> + Into<Bytes>>(packet: S) -> Option<Self> {
        if packet.as_ref().as_bytes().first() != Some(&Self::PREFIX) {
            return None;
        }
        Some(Self {
            wire: packet.into(),
        })
    }

    /// Wraps bytes whose encoding the codec has already checked.
    pub(crate) fn from_checked(wire: Bytes) -> Self {
        debug_assert_eq!(wire.first(), Some(&Self::PREFIX));
        debug_assert!(std::str::from_utf8(&wire).is_ok());
        Self { wire }
    }

    /// Returns the text.
    ///
    /// Without unsafe code the encoding is checked again on each call (gigabytes per second for ASCII): keep the `&str`
    /// rather than calling this twice.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Every constructor has checked it; an empty string is better than a panic should that ever be wrong.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// Returns the text as UTF-8 bytes, without the packet digit and without any check.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.wire.get(1..).unwrap_or_default()
    }

    /// Returns the whole packet as it is sent: `4`, then the text.
    #[must_use]
    pub const fn as_wire(&self) -> &Bytes {
        &self.wire
    }

    /// Returns the whole packet as it is sent, consuming the text.
    #[must_use]
    pub fn into_wire(self) -> Bytes {
        self.wire
    }

    /// Returns the length of the text in bytes, without the packet digit.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.wire.len() - 1
    }

    /// Returns whether the text is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        let mut wire = Vec::with_capacity(text.len() + 1);
        wire.push(Self::PREFIX);
        wire.extend_from_slice(text.as_bytes());
        Self { wire: wire.into() }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl std::ops::Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
