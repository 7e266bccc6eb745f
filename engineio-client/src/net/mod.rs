//! The network: everything that knows HTTP, TLS, proxies and WebSocket framing.

pub(crate) mod attempt;
pub(crate) mod connect;
mod content;
mod cookie;
pub(crate) mod cookies;
pub(crate) mod custom;
pub(crate) mod date;
pub(crate) mod dial;
pub(crate) mod environment;
mod exchange;
mod failure;
mod form;
pub(crate) mod headers;
pub(crate) mod http;
pub(crate) mod kept;
pub(crate) mod link;
pub(crate) mod proxy;
pub(crate) mod route;
mod signal;
mod socks;
mod stream;
#[cfg(feature = "rustls-no-provider")]
pub(crate) mod tls;
mod tunnel;
#[cfg(feature = "rustls-no-provider")]
mod verifier;
pub(crate) mod websocket;
#[cfg(feature = "webtransport")]
pub(crate) mod webtransport;
