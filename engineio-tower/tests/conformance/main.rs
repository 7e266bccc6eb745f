//! The tables of `docs/CONFORMANCE.md`, row by row: each has a test here or elsewhere in the workspace.

#[path = "../support/mod.rs"]
mod support;

mod handshake;
mod peers;
mod policies;
mod reference;
mod requests;
mod websocket;
