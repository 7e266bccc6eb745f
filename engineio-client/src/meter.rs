//! The metrics of the clients of a process, on the `metrics` facade; nothing at all without the feature.

use engineio_core::{DisconnectReason, Transport};

/// Defines what is counted, and the same without a body for when the feature is off.
macro_rules! meters {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $kind:ty),*) $body:block)*) => {
        $(
            $(#[$doc])*
            #[cfg(feature = "metrics")]
            pub(crate) fn $name($($argument: $kind),*) $body

            $(#[$doc])*
            #[cfg(not(feature = "metrics"))]
            pub(crate) const fn $name($(_: $kind),*) {}
        )*
    };
}

meters! {
    /// Counts a session that was opened.
    fn connected(transport: Transport) {
        metrics::counter!("engineio_client_handshakes_total", "transport" => transport.name()).increment(1);
        metrics::gauge!("engineio_client_sessions", "transport" => transport.name()).increment(1);
    }

    /// Counts a session that could not be opened.
    fn failed(reason: DisconnectReason) {
        metrics::counter!("engineio_client_failures_total", "reason" => reason.as_str()).increment(1);
    }

    /// Counts a session that moved from polling to this transport.
    fn upgraded(transport: Transport) {
        metrics::counter!("engineio_client_upgrades_total").increment(1);
        metrics::gauge!("engineio_client_sessions", "transport" => "polling").decrement(1);
        metrics::gauge!("engineio_client_sessions", "transport" => transport.name()).increment(1);
    }

    /// Counts a session that has ended.
    fn disconnected(transport: Transport, reason: DisconnectReason, time: std::time::Duration) {
        metrics::counter!("engineio_client_disconnects_total", "reason" => reason.as_str()).increment(1);
        metrics::gauge!("engineio_client_sessions", "transport" => transport.name()).decrement(1);
        metrics::histogram!("engineio_client_session_seconds").record(time.as_secs_f64());
    }

    /// Counts a message that was handed to the application.
    fn received(bytes: usize) {
        metrics::counter!("engineio_client_messages_total", "direction" => "in").increment(1);
        metrics::counter!("engineio_client_message_bytes_total", "direction" => "in").increment(bytes as u64);
    }

    /// Counts a message that was queued for the server.
    fn sent(bytes: usize) {
        metrics::counter!("engineio_client_messages_total", "direction" => "out").increment(1);
        metrics::counter!("engineio_client_message_bytes_total", "direction" => "out").increment(bytes as u64);
    }
}
