//! The common parts of the connections to the brokers: the default channel, the error, and the cryptography.

use std::fmt;

use thiserror::Error;

/// The channel of a deployment that has not chosen another.
pub(super) const DEFAULT_CHANNEL: &str = "engineio";

/// Makes ring the process's cryptography for rustls, unless it has one. The client libraries of the brokers use that of the
/// process, and panic if there is none or if the process was built with several.
#[cfg(any(feature = "nats", feature = "redis-tls"))]
pub(super) fn provide_cryptography() {
    use rustls::crypto::{CryptoProvider, ring};

    if CryptoProvider::get_default().is_none() {
        // Fails if another thread has been faster, which is as good.
        let _ = ring::default_provider().install_default();
    }
}

/// A connection to a broker could not be opened.
#[derive(Debug, Error)]
#[error("cannot connect to the broker {broker}: {reason}")]
pub struct ConnectBusError {
    /// The address without credentials.
    broker: String,
    reason: String,
}

impl ConnectBusError {
    pub(super) fn new(broker: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self {
            broker: broker.into(),
            reason: reason.to_string(),
        }
    }
}
