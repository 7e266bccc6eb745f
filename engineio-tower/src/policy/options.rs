//! Options beyond the rules of the protocol: admission limits and response headers.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use engineio_core::{Message, Sid};
use http::HeaderMap;
use http::request::Parts;

use crate::policy::compression::Compression;
use crate::policy::cookie::SidCookie;
use crate::policy::origin::Origins;

pub(crate) type SubprotocolChoice = dyn for<'a> Fn(&[&'a str]) -> Option<&'a str> + Send + Sync;
pub(crate) type HeaderHook = dyn Fn(&Parts, &mut HeaderMap) + Send + Sync;
pub(crate) type SidSource =
    dyn Fn(&Parts) -> Pin<Box<dyn Future<Output = Sid> + Send>> + Send + Sync;

/// The policy for a message to a client whose outbox is full (a slow consumer).
///
/// ```
/// use engineio_tower::{Server, WhenFull};
///
/// let server = Server::builder().outbox_limit(64 * 1024).when_full(WhenFull::Disconnect).build();
/// # let _ = server;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhenFull {
    /// `send().await` waits; `try_send` fails and `broadcast` skips the client, also while another sender waits, so
    /// that no waiting sender is overtaken. This is the default: a slow client slows down those that wait to send to
    /// it.
    #[default]
    Wait,
    /// `send().await` fails at once as well, with [`SendError::Full`](crate::SendError::Full).
    Rejection,
    /// The client is disconnected at once, with [`DisconnectReason::SlowConsumer`](crate::DisconnectReason): for
    /// applications in which a client that missed a message is useless.
    Disconnect,
}

pub(crate) struct Options {
    pub(crate) origins: Origins,
    pub(crate) compression: Compression,
    /// The smallest WebSocket message that is compressed, in bytes, for clients that agree to it; `None` for never.
    pub(crate) websocket_compression: Option<usize>,
    pub(crate) cookie: Option<SidCookie>,
    pub(crate) when_full: WhenFull,
    pub(crate) concurrent_messages: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_sockets: usize,
    pub(crate) max_sockets_per_peer: usize,
    pub(crate) max_pending_sockets: usize,
    /// The source of session ids, in place of the system's random source.
    pub(crate) sids: Option<Arc<SidSource>>,
    /// The message that every client gets right after the open packet.
    pub(crate) initial_message: Option<Message>,
    /// The choice of a subprotocol, if it is not the first one offered.
    pub(crate) subprotocol: Option<Box<SubprotocolChoice>>,
    pub(crate) initial_headers: Option<Box<HeaderHook>>,
    pub(crate) headers: Option<Box<HeaderHook>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            origins: Origins::default(),
            compression: Compression::default(),
            websocket_compression: None,
            cookie: None,
            when_full: WhenFull::Wait,
            concurrent_messages: false,
            connect_timeout: Duration::from_secs(30),
            max_sockets: usize::MAX,
            max_sockets_per_peer: usize::MAX,
            max_pending_sockets: 10_000,
            sids: None,
            initial_message: None,
            subprotocol: None,
            initial_headers: None,
            headers: None,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("origins", &self.origins)
            .field("compression", &self.compression)
            .field("websocket_compression", &self.websocket_compression)
            .field("cookie", &self.cookie)
            .field("connect_timeout", &self.connect_timeout)
            .field("max_sockets", &self.max_sockets)
            .field("max_sockets_per_peer", &self.max_sockets_per_peer)
            .field("max_pending_sockets", &self.max_pending_sockets)
            .finish_non_exhaustive()
    }
}
