//! The reasons for which sessions end.

use std::fmt;

/// The reason for which a session is over; reported exactly once for each session that was accepted.
///
/// ```
/// use engineio_core::DisconnectReason;
///
/// fn was_meant(reason: DisconnectReason) -> bool {
///     matches!(reason, DisconnectReason::Client | DisconnectReason::Server)
/// }
/// assert!(!was_meant(DisconnectReason::PingTimeout));
/// assert_eq!(DisconnectReason::PingTimeout.to_string(), "ping timeout");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The client closed it, by a close packet over any transport.
    Client,
    /// The application closed this session.
    Server,
    /// The peer did not answer a heartbeat in time.
    PingTimeout,
    /// The WebSocket or WebTransport session was closed or its connection ended, without a close packet.
    TransportClose,
    /// The transport was misused or failed: overlapping requests (two polls at once), an aborted poll, an invalid frame,
    /// a reset.
    TransportError,
    /// The peer sent something that is not a packet.
    ParseError,
    /// The peer sent more at once than the announced `maxPayload`.
    PayloadTooLarge,
    /// The peer did not read its queued messages, and the queue was full; or its WebSocket did not take the ping in
    /// time, which can be caused by a single message that takes longer than `ping_timeout` to transmit.
    SlowConsumer,
    /// A handler of the application panicked. Messages of the peer that no handler has taken are dropped.
    HandlerPanic,
    /// The server is shutting down.
    Shutdown,
    /// The server answered a request of the session with an error status; only clients know this reason.
    Refused,
}

impl DisconnectReason {
    /// Returns the reason in words, which are those of the reference servers if they have this reason.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client disconnect",
            Self::Server => "server disconnect",
            Self::PingTimeout => "ping timeout",
            Self::TransportClose => "transport close",
            Self::TransportError => "transport error",
            Self::ParseError => "parse error",
            Self::PayloadTooLarge => "payload too large",
            Self::SlowConsumer => "slow consumer",
            Self::HandlerPanic => "handler panic",
            Self::Shutdown => "shutdown",
            Self::Refused => "refused",
        }
    }

    /// Returns the code with which a WebTransport session is closed for this reason: 0 for an orderly end, otherwise that of a
    /// [WebSocket](Self::websocket_code).
    #[must_use]
    pub const fn webtransport_code(self) -> u32 {
        match self.websocket_code() {
            1000 | 1001 => 0,
            code => code as u32,
        }
    }

    /// Returns the code of the WebSocket close frame for this reason (RFC 6455 § 7.4.1).
    #[must_use]
    pub const fn websocket_code(self) -> u16 {
        match self {
            Self::Client
            | Self::Server
            | Self::TransportClose
            | Self::PingTimeout
            | Self::Refused => 1000,
            Self::Shutdown => 1001,
            Self::TransportError | Self::ParseError => 1002,
            Self::SlowConsumer => 1008,
            Self::PayloadTooLarge => 1009,
            Self::HandlerPanic => 1011,
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
