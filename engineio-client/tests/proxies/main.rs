//! Through real proxies, configured well and badly, each with two servers behind it.
//!
//! `cargo xtask interop --only proxies` starts proxies and servers and runs this. A plain `cargo test` has none, so the
//! manifest leaves this out of it; without them every test fails instead of passing unseen.

mod bad;
mod good;
mod raw;
mod support;
