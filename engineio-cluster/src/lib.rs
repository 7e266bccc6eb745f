#![doc = include_str!("../README.md")]
//! # Metrics
//!
//! With the feature `metrics`, on the [`metrics`](https://docs.rs/metrics) facade:
//!
//! | name | kind | meaning |
//! |---|---|---|
//! | `engineio_cluster_forwarded_total` | counter | requests that were forwarded, by `kind`: `poll`, `post`, `websocket` |
//! | `engineio_cluster_forward_failures_total` | counter | requests that got no response of the owner, by `reason`: `refused`, `gone`, `timed_out`, `rejected`, `broken`; `broken` also counts WebSockets that ended because the connection between the nodes did |
//! | `engineio_cluster_nodes` | gauge | other nodes that are alive; with a bus |
//! | `engineio_cluster_bus_up` | gauge | 1 while the broker delivers, 0 while it does not; with a bus |
//! | `engineio_cluster_departures_total` | counter | nodes that are gone, by `reason`: `farewell`, `silence`, `refusal`, `replaced` |
//! | `engineio_cluster_bus_ignored_total` | counter | messages of the bus that were ignored, by `reason`: `malformed`, `version`, `duplicate`, `missed`, `full`, `too_many_nodes`, `id_conflict` |
//! | `engineio_cluster_unpublished_total` | counter | broadcasts of this node that the bus may not have carried to every node, by `reason`: `disconnected`, `unconfirmed`; `unheard`: a node has not been heard since the connection to the broker came back; `too_large`: sent to each node instead |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod bus;
mod cluster;
mod drain;
mod forward;
#[cfg(test)]
#[path = "../../engineio-core/tests/support/lines.rs"]
mod lines;
mod link;
mod listener;
mod members;
mod membership;
mod meter;
mod node;
mod operations;
mod pace;
mod peers;
#[cfg(feature = "tls")]
mod tls;

pub use builder::{ClusterBuilder, StartError};
#[cfg(any(feature = "nats", feature = "redis"))]
pub use bus::ConnectBusError;
pub use bus::{
    Bus, BusEvent, BusFuture, EmitError, Emitter, MAX_MESSAGE, MemoryBroker, MemoryBus,
    PublishError,
};
#[cfg(feature = "nats")]
pub use bus::{Nats, NatsBuilder};
#[cfg(feature = "redis")]
pub use bus::{Redis, RedisBuilder};
pub use cluster::{BroadcastError, Cluster};
pub use members::{Member, MemberState};
pub use membership::{JoinError, Status};
pub use node::{InvalidNodeId, NodeId};
pub use operations::{ClusterSendError, Unreachable};
pub use pace::Drain;
pub use peers::{Peers, PeersError};
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsError};
