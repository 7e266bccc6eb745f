//! WebTransport over loopback, against a client that is not ours.
#![cfg(feature = "self-signed")]

mod closing;
mod hostile;
mod identity;
mod opening;
mod support;
mod upgrading;
