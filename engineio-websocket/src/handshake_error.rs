//! The reasons for which a client refuses the answer to its opening handshake.

/// The reason why a 101 does not open a WebSocket (RFC 6455 § 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// `Upgrade` is missing or has another value.
    #[error("the answer has no `Upgrade: websocket`")]
    Upgrade,
    /// `Connection` is missing or does not name the upgrade.
    #[error("the answer has no `Connection: Upgrade`")]
    Connection,
    /// `Sec-WebSocket-Accept` is missing or was not computed from the key of the request.
    #[error("`Sec-WebSocket-Accept` does not belong to the key of the request")]
    Accept,
    /// The answer agrees to an extension that was not offered.
    #[error("`Sec-WebSocket-Extensions` has an extension that was not offered")]
    Extension,
    /// The answer agrees to permessage-deflate in a way that was not offered (RFC 7692 § 7.1).
    #[error("the answer accepts permessage-deflate in a way that was not offered")]
    Deflate,
    /// The answer selects a subprotocol that was not requested, or several.
    #[error("`Sec-WebSocket-Protocol` has a subprotocol that was not requested")]
    Protocol,
}
