//! The metrics of a node, on the `metrics` facade; without the feature nothing is recorded.

/// Counts something by its reason.
pub(crate) fn count(name: &'static str, reason: &'static str, by: u64) {
    #[cfg(feature = "metrics")]
    metrics::counter!(name, "reason" => reason).increment(by);
    #[cfg(not(feature = "metrics"))]
    let _ = (name, reason, by);
}

/// Counts a request that was forwarded, by its kind.
pub(crate) fn forwarded(kind: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!(FORWARDED, "kind" => kind).increment(1);
    #[cfg(not(feature = "metrics"))]
    let _ = (FORWARDED, kind);
}

/// Sets a gauge.
pub(crate) fn set(name: &'static str, value: u32) {
    #[cfg(feature = "metrics")]
    metrics::gauge!(name).set(value);
    #[cfg(not(feature = "metrics"))]
    let _ = (name, value);
}

/// Counter by `kind`: requests that were forwarded (`poll`, `post`, `websocket`).
pub(crate) const FORWARDED: &str = "engineio_cluster_forwarded_total";
/// Counter by `reason`: requests that got no response of the owner (`refused`, `gone`, `timed_out`, `rejected`, `broken`),
/// and WebSockets that ended because the connection between the nodes did (`broken`).
pub(crate) const FORWARD_FAILURES: &str = "engineio_cluster_forward_failures_total";
/// Gauge: other nodes that are alive.
pub(crate) const NODES: &str = "engineio_cluster_nodes";
/// Gauge: 1 while the broker delivers, 0 while it does not.
pub(crate) const BUS_UP: &str = "engineio_cluster_bus_up";
/// Counter by `reason`: nodes that are gone (`farewell`, `silence`, `refusal`, `replaced`).
pub(crate) const DEPARTURES: &str = "engineio_cluster_departures_total";
/// Counter by `reason`: messages of the bus that were ignored (`malformed`, `version`, `duplicate`, `missed`, `full`,
/// `too_many_nodes`, `id_conflict`).
pub(crate) const IGNORED: &str = "engineio_cluster_bus_ignored_total";
/// Counter by `reason`: broadcasts of this node that the bus may not have carried to every node (`disconnected`,
/// `unconfirmed`, `unheard`, `too_large`).
pub(crate) const UNPUBLISHED: &str = "engineio_cluster_unpublished_total";
