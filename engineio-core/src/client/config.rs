//! The configuration of a client's session.

use std::time::Duration;

use crate::{Revision, Transports};

/// The rules of a client's session. Every field is public; start from [`Config::default`]. A timeout of more than a
/// day is a day.
///
/// ```
/// use std::time::Duration;
/// use engineio_core::client::Config;
///
/// let config = Config {
///     max_post_packets: 1,
///     ..Config::default()
/// };
/// assert_eq!(config.open_timeout, Duration::from_secs(20));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The revision of the protocol. Default: 4. Servers from before 2021 speak only 3; today's servers speak 4, and
    /// optionally 3.
    pub revision: Revision,
    /// The transports to which a session that began by polling moves if the server offers them. Default:
    /// [`Transports::ALL`], which is WebSocket, as polling does not count here. If both are offered, WebTransport is tried
    /// first, and WebSocket too after 200 ms, or as soon as WebTransport has failed.
    pub upgrades: Transports,
    /// The time limit of the handshake, from the first request to the open packet. Default 20 s.
    pub open_timeout: Duration,
    /// The time limit of an upgrade, from the start of the probe to the `5` packet. Default 10 s. After that, the
    /// link is closed and the session goes on polling.
    pub upgrade_timeout: Duration,
    /// The time limit for a graceful close to send the queued messages. Default 5 s.
    pub close_timeout: Duration,
    /// The maximum number of packets in one POST. Default 16: python-engineio's server answers a longer payload with
    /// 200 and loses its messages. Set more only for other servers.
    pub max_post_packets: usize,
    /// The maximum number of packets in one poll response. Default 100,000. A server that sends more at once ends the
    /// session, because a packet costs far more memory here than the two bytes that it may take on the wire.
    pub max_poll_packets: usize,
    /// Allows sending a text with U+001E by polling. Default `false`: [`SendError::Separator`]. Revision 4 separates
    /// packets by this character and cannot escape it, so the server would read such a text as several packets. JSON
    /// escapes the character, and so does Socket.IO. Texts over WebSocket and in revision 3 are not affected.
    ///
    /// [`SendError::Separator`]: crate::SendError::Separator
    pub allow_separator: bool,
    /// The maximum number of bytes queued for the server, including packet overhead. Default 1 MiB. One message is
    /// always admitted to an empty queue, however large it is.
    pub outbox_limit: usize,
    /// The maximum number of received bytes that wait for the application. Default 1 MiB. Beyond it no poll is started
    /// and the WebSocket is not read until there is room. A WebSocket that is still being probed is read, since it
    /// carries no messages yet.
    pub inbox_limit: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            revision: Revision::V4,
            upgrades: Transports::ALL,
            open_timeout: Duration::from_secs(20),
            upgrade_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            max_post_packets: 16,
            max_poll_packets: 100_000,
            allow_separator: false,
            outbox_limit: 1 << 20,
            inbox_limit: 1 << 20,
        }
    }
}
