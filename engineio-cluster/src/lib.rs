#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod bus;
mod cluster;
mod drain;
mod forward;
mod link;
mod listener;
mod members;
mod membership;
mod meter;
mod node;
mod operations;
#[cfg(feature = "tls")]
mod tls;

pub use builder::{ClusterBuilder, Peers, StartError};
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
pub use drain::Drain;
pub use members::{Member, MemberState};
pub use membership::{JoinError, Status};
pub use node::{InvalidNodeId, NodeId};
pub use operations::{ClusterSendError, Unreachable};
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsError};
