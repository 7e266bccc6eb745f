//! The two sides of a connection.

/// The side of a connection, which determines masking (RFC 6455 § 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sends frames unmasked, and refuses unmasked ones of the peer.
    Server,
    /// Masks its frames, and refuses masked ones of the peer.
    Client,
}
