//! WebTransport over loopback, against a client that is not ours, and against ours in `client`.
#![cfg(feature = "self-signed")]

mod client;
mod closing;
mod hostile;
mod identity;
mod loss;
mod opening;
mod raw;
mod reference;
mod refusing;
mod support;
mod upgrading;
mod websocket;
