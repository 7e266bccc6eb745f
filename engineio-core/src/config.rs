//! The configuration of a server's sessions.

use std::time::Duration;

use crate::{Transport, Transports};

/// The rules of a server's sessions. Every field is public; start from [`Config::default`].
///
/// Durations below a millisecond count as one millisecond, and those beyond ten days as ten days, because JavaScript's
/// timers cannot wait for longer heartbeats.
///
/// ```
/// use std::time::Duration;
/// use engineio_core::Config;
///
/// let config = Config {
///     ping_interval: Duration::from_secs(10),
///     ..Config::default()
/// };
/// assert_eq!(config.max_payload, 1_000_000);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The time between a pong and the next ping; shorter if the pong took longer than half the timeout, because the
    /// client counts from ping to ping. Default 25 s. A shorter interval notices dead peers sooner and costs more
    /// traffic; with one longer than a proxy's idle timeout, the proxy cuts polls and WebSockets.
    pub ping_interval: Duration,
    /// The time limit for a pong. Default 20 s. A peer that is silent for `ping_interval + ping_timeout` is closed.
    pub ping_timeout: Duration,
    /// The time limit of an upgrade, from the opening of its link to the `5` packet. Default 10 s. After that, the link
    /// is closed and the session goes on polling.
    pub upgrade_timeout: Duration,
    /// The time limit for a graceful close, which waits for the client to fetch its queued messages. Default 30 s.
    pub close_timeout: Duration,
    /// The maximum size of a POST body and of a message on another transport, in bytes, and of a poll response that is
    /// made of more than one packet. Announced to the client. Default 1,000,000. With polling, binary data is sent as
    /// base64, which is a third longer: the largest binary message then has 750,000 bytes.
    pub max_payload: usize,
    /// The maximum number of packets in one poll response. Default: no limit, as in both reference servers.
    /// python-engineio's client refuses more than 16 and disconnects; set 16 if such clients poll.
    pub max_poll_packets: usize,
    /// The maximum number of bytes queued for one client, including packet overhead. Default 1 MiB. One message is
    /// always admitted to an empty queue, however large it is.
    pub outbox_limit: usize,
    /// Queues [`Event::Drained`](crate::server::Event::Drained). Default `false`: few applications use it, and all
    /// would pay for it.
    pub drain_events: bool,
    /// The maximum number of received bytes that wait for the application, including packet overhead. Default 1 MiB;
    /// the last message may exceed it. Beyond it, a WebSocket is not read, and a POST is neither decoded further nor
    /// answered, until there is room. Over WebTransport, [`WEBTRANSPORT_UNREAD`](Self::WEBTRANSPORT_UNREAD) of it
    /// belong to the connection, but at most half.
    pub inbox_limit: usize,
    /// The transports that are served. Default: polling and WebSocket.
    pub transports: Transports,
    /// Lets polling sessions upgrade to another transport. Default `true`; enforced, not only announced.
    pub allow_upgrades: bool,
    /// Serves clients of revision 3 as well as those of revision 4. Default `false`.
    pub allow_eio3: bool,
    /// Allows sending a text with U+001E to clients that poll. Default `false`: [`SendError::Separator`]. Revision 4
    /// separates packets by this character and cannot escape it. If the application relays the text of a client, that
    /// client could otherwise inject packets to other clients. JSON escapes the character, and so does Socket.IO.
    ///
    /// [`SendError::Separator`]: crate::SendError::Separator
    pub allow_separator: bool,
    /// Lets clients poll by script elements (JSONP). Default `false`: any page can load a script from any site and read
    /// the session in it, and the browser sends no `Origin` header by which to refuse it.
    pub allow_jsonp: bool,
}

impl Config {
    /// The memory overhead of one queued packet in addition to its data, in bytes. It counts towards the queue limits,
    /// so that thousands of tiny packets are bounded too.
    pub const PACKET_OVERHEAD: usize = 64;

    /// The part of [`inbox_limit`](Self::inbox_limit) that is left to a WebTransport connection, in bytes. It keeps what
    /// was not read in the memory of the process, where the system keeps what arrives over TCP.
    pub const WEBTRANSPORT_UNREAD: usize = 384 * 1024;

    /// Returns the number of bytes that wait for the application before no more is read over this transport.
    pub(crate) fn inbox_limit_over(&self, transport: Transport) -> usize {
        let left = match transport {
            Transport::WebTransport => Self::WEBTRANSPORT_UNREAD.min(self.inbox_limit / 2),
            _ => 0,
        };
        self.inbox_limit - left
    }

    /// Returns whether a polling session may upgrade to this transport.
    #[must_use]
    pub const fn offers_upgrade(&self, to: Transport) -> bool {
        self.allow_upgrades && !matches!(to, Transport::Polling) && self.transports.contains(to)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            upgrade_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(30),
            max_payload: 1_000_000,
            max_poll_packets: usize::MAX,
            outbox_limit: 1 << 20,
            drain_events: false,
            inbox_limit: 1 << 20,
            transports: Transports::ALL,
            allow_upgrades: true,
            allow_eio3: false,
            allow_separator: false,
            allow_jsonp: false,
        }
    }
}
