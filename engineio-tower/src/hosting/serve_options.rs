//! The options of [`serve`](super::serve).

use std::time::Duration;

use crate::policy::origin::Scheme;

#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) nodelay: bool,
    /// `None` without TLS here: a proxy in front may terminate it.
    pub(super) scheme: Option<Scheme>,
    pub(super) header_read_timeout: Duration,
    pub(super) keep_alive_timeout: Duration,
    pub(super) shutdown_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodelay: true,
            scheme: None,
            header_read_timeout: Duration::from_secs(15),
            keep_alive_timeout: Duration::from_secs(75),
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}
