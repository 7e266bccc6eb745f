//! The transports.

use std::fmt;

/// A transport that carries packets between client and server.
///
/// ```
/// use engineio_core::Transport;
///
/// assert_eq!(Transport::from_name("websocket"), Some(Transport::WebSocket));
/// assert_eq!(Transport::Polling.name(), "polling");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// HTTP long-polling: a waiting GET fetches packets, and a POST delivers them.
    Polling,
    /// One WebSocket.
    WebSocket,
    /// One bidirectional stream of a WebTransport session, over HTTP/3. Not among the default transports: a server
    /// needs `engineio-webtransport` for it, and a client the feature `webtransport` of `engineio-client`.
    WebTransport,
}

impl Transport {
    /// Returns the name in the `transport` query parameter and in the list of upgrades.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
            Self::WebTransport => "webtransport",
        }
    }

    /// Returns the transport of that name, or `None`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::from_bytes(name.as_bytes())
    }

    pub(crate) const fn from_bytes(name: &[u8]) -> Option<Self> {
        match name {
            b"polling" => Some(Self::Polling),
            b"websocket" => Some(Self::WebSocket),
            b"webtransport" => Some(Self::WebTransport),
            _ => None,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The transports that a server offers or a client may use.
///
/// ```
/// use engineio_core::{Transport, Transports};
///
/// assert!(Transports::ALL.contains(Transport::Polling));
/// let only: Transports = [Transport::WebSocket].into_iter().collect();
/// assert!(!only.contains(Transport::Polling));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transports {
    polling: bool,
    websocket: bool,
    webtransport: bool,
}

impl Transports {
    /// Polling and WebSocket, the transports that every host supports.
    pub const ALL: Self = Self {
        polling: true,
        websocket: true,
        webtransport: false,
    };

    /// Returns whether the set contains the transport.
    #[must_use]
    pub const fn contains(self, transport: Transport) -> bool {
        match transport {
            Transport::Polling => self.polling,
            Transport::WebSocket => self.websocket,
            Transport::WebTransport => self.webtransport,
        }
    }

    /// Returns whether the set is empty, so that nobody could connect.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        !self.polling && !self.websocket && !self.webtransport
    }
}

impl Default for Transports {
    fn default() -> Self {
        Self::ALL
    }
}

impl FromIterator<Transport> for Transports {
    fn from_iter<I: IntoIterator<Item = Transport>>(transports: I) -> Self {
        let mut all = Self {
            polling: false,
            websocket: false,
            webtransport: false,
        };
        for transport in transports {
            match transport {
                Transport::Polling => all.polling = true,
                Transport::WebSocket => all.websocket = true,
                Transport::WebTransport => all.webtransport = true,
            }
        }
        all
    }
}
