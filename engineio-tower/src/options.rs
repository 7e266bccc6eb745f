//! What a server does beyond the rules of the protocol: whom it lets in, and how its answers are dressed.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use engineio_core::{Message, Sid};
use http::HeaderMap;
use http::request::Parts;

use crate::compression::Compression;
use crate::cookie::SidCookie;
use crate::origin::Origins;

pub(crate) type HeaderHook = dyn Fn(&Parts, &mut HeaderMap) + Send + Sync;
pub(crate) type Naming = Pin<Box<dyn Future<Output = Sid> + Send>>;
pub(crate) type SidSource = dyn Fn(&Parts) -> Naming + Send + Sync;

pub(crate) struct Options {
    pub(crate) origins: Origins,
    pub(crate) compression: Compression,
    pub(crate) cookie: Option<SidCookie>,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_sockets: usize,
    pub(crate) max_sockets_per_peer: usize,
    /// Where session ids come from, if not from the system's random source.
    pub(crate) sids: Option<Arc<SidSource>>,
    /// What every client is sent right after the open packet.
    pub(crate) initial_message: Option<Message>,
    pub(crate) initial_headers: Option<Box<HeaderHook>>,
    pub(crate) headers: Option<Box<HeaderHook>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            origins: Origins::default(),
            compression: Compression::default(),
            cookie: None,
            connect_timeout: Duration::from_secs(30),
            max_sockets: usize::MAX,
            max_sockets_per_peer: usize::MAX,
            sids: None,
            initial_message: None,
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
            .field("cookie", &self.cookie)
            .field("connect_timeout", &self.connect_timeout)
            .field("max_sockets", &self.max_sockets)
            .field("max_sockets_per_peer", &self.max_sockets_per_peer)
            .finish_non_exhaustive()
    }
}
