//! Tracks whether WebTransport has a listener.

use std::sync::Arc;

use engineio_core::{Config, Transport};

use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Counts the listeners for WebTransport.
///
/// A client that hears of the transport tries it at once, and waits with other upgrades. So it is announced only while
/// somebody listens.
#[derive(Debug)]
pub(crate) struct Listening {
    listeners: AtomicUsize,
    /// The rules for sessions that begin while nobody listens.
    without: Arc<Config>,
    /// The log already says that nobody listens.
    noticed: AtomicBool,
}

impl Listening {
    pub(super) fn new(config: &Arc<Config>) -> Self {
        let without = if config.transports.contains(Transport::WebTransport) {
            let mut without = Config::clone(config);
            let others = [Transport::Polling, Transport::WebSocket].into_iter();
            without.transports = others
                .filter(|&transport| config.transports.contains(transport))
                .collect();
            Arc::new(without)
        } else {
            Arc::clone(config)
        };
        Self {
            listeners: AtomicUsize::new(0),
            without,
            noticed: AtomicBool::new(false),
        }
    }

    pub(crate) fn begin(&self) {
        self.listeners.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.listeners.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns the rules for a session that begins now, where `config` has those of the server.
    pub(crate) fn rules<'a>(&'a self, config: &'a Arc<Config>) -> &'a Arc<Config> {
        if self.listeners.load(Ordering::Relaxed) > 0 {
            return config;
        }
        if self.without.transports != config.transports
            && !self.noticed.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                target: "engineio::connect",
                "WebTransport is among the transports of the server, but nothing listens for it, so it is not announced"
            );
        }
        &self.without
    }
}
