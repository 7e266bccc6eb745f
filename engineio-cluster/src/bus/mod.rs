//! The bus: a channel of a broker on which the nodes announce themselves and broadcast.

pub(crate) mod awaited;
mod channel;
#[cfg(any(feature = "nats", feature = "redis"))]
mod connect;
pub(crate) mod delivery;
pub(crate) mod duplicates;
mod emitter;
#[cfg(test)]
mod emitter_tests;
mod event_queue;
pub(crate) mod fields;
mod memory;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "nats")]
mod nats_url;
pub(crate) mod numbers;
#[cfg(any(feature = "nats", feature = "redis"))]
mod reconnecting;
#[cfg(all(test, any(feature = "nats", feature = "redis")))]
mod reconnecting_tests;
#[cfg(feature = "redis")]
mod redis;
pub(crate) mod wire;

pub use channel::{Bus, BusEvent, BusFuture, MAX_MESSAGE, PublishError};
#[cfg(any(feature = "nats", feature = "redis"))]
pub use connect::ConnectBusError;
pub use emitter::{EmitError, Emitter};
pub use memory::{MemoryBroker, MemoryBus};
#[cfg(feature = "nats")]
pub use nats::{Nats, NatsBuilder};
#[cfg(feature = "redis")]
pub use redis::{Redis, RedisBuilder};
