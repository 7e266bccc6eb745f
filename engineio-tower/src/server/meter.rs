//! The server's metrics, on the `metrics` facade; without the feature nothing is recorded.

use engineio_core::{DisconnectReason, Refusal, Transport};

/// Defines what is counted, and the same without a body for when the feature is off.
macro_rules! meters {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $kind:ty),*) $body:block)*) => {
        $(
            $(#[$doc])*
            #[cfg(feature = "metrics")]
            pub(crate) fn $name($($argument: $kind),*) $body

            $(#[$doc])*
            #[cfg(not(feature = "metrics"))]
            #[allow(clippy::missing_const_for_fn)]
            pub(crate) fn $name($(_: $kind),*) {}
        )*
    };
}

meters! {
    /// Counts a client that was accepted.
    fn connected(transport: Transport) {
        metrics::counter!("engineio_handshakes_total", "transport" => transport.name()).increment(1);
        metrics::gauge!("engineio_sessions", "transport" => transport.name()).increment(1);
    }

    /// Counts a client that moved from polling to this transport.
    fn upgraded(to: Transport) {
        metrics::counter!("engineio_upgrades_total").increment(1);
        metrics::gauge!("engineio_sessions", "transport" => "polling").decrement(1);
        metrics::gauge!("engineio_sessions", "transport" => to.name()).increment(1);
    }

    /// Counts a client that is gone.
    fn disconnected(transport: Transport, reason: DisconnectReason) {
        metrics::counter!("engineio_disconnects_total", "reason" => reason.as_str()).increment(1);
        metrics::gauge!("engineio_sessions", "transport" => transport.name()).decrement(1);
    }

    /// Counts a request that the protocol refused.
    fn refused(refusal: Refusal) {
        metrics::counter!("engineio_refusals_total", "refusal" => refusal.message()).increment(1);
    }

    /// Counts a client that the application rejected.
    fn turned_away() {
        metrics::counter!("engineio_turned_away_total").increment(1);
    }

    /// Counts a message that was handed to a handler.
    fn received(bytes: usize) {
        metrics::counter!("engineio_messages_total", "direction" => "in").increment(1);
        metrics::counter!("engineio_message_bytes_total", "direction" => "in").increment(bytes as u64);
    }

    /// Messages were queued for a client.
    fn sent(messages: usize, bytes: usize) {
        metrics::counter!("engineio_messages_total", "direction" => "out").increment(messages as u64);
        metrics::counter!("engineio_message_bytes_total", "direction" => "out").increment(bytes as u64);
    }

    /// Adds a difference to the length of all clients' queues together.
    fn queued(before: usize, after: usize) {
        if before != after {
            metrics::gauge!("engineio_queue_bytes").increment(after as f64 - before as f64);
        }
    }

    /// Records the duration of a client's connection.
    fn stayed(time: std::time::Duration) {
        metrics::histogram!("engineio_session_seconds").record(time.as_secs_f64());
    }
}
