//! The revisions of the protocol.

/// The revision of the protocol that a session speaks, as announced by the `EIO` query parameter.
///
/// Fixed at the handshake; a request with another revision on the same session is refused.
///
/// ```
/// use engineio_core::Revision;
///
/// assert_eq!(Revision::V4.number(), 4);
/// assert!(Revision::V3 < Revision::V4);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Revision {
    /// `EIO=3`: clients before 2021. The client pings.
    V3,
    /// `EIO=4`: today's protocol. The server pings.
    V4,
}

impl Revision {
    /// Returns the number in the `EIO` query parameter.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V3 => 3,
            Self::V4 => 4,
        }
    }
}

impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.number(), f)
    }
}
