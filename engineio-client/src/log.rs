//! Logging by `tracing`.

/// The target of the client's events.
pub(crate) const TARGET: &str = "engineio::client";
