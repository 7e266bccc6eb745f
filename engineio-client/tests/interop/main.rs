//! The client against servers that other people wrote, and against ours.
//!
//! `cargo xtask interop --only client` fetches and starts the servers and runs this. A plain `cargo test` has no servers,
//! so the manifest leaves this out of it; without them every test fails instead of passing unseen.

mod driver;
mod eio;
mod endings;
mod messages;
mod network;
mod peers;
mod proxy;
mod upgrade;
#[cfg(feature = "webtransport")]
mod webtransport;
