//! The network: everything that knows HTTP, TLS, proxies and WebSocket framing.

pub(crate) mod attempt;
pub(crate) mod connect;
pub(crate) mod cookies;
mod dial;
pub(crate) mod http;
pub(crate) mod proxy;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod websocket;
