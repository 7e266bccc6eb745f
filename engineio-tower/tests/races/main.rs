//! Races: the whole server in memory, under a scheduler that decides at every lock, counter and wait who goes on.
//!
//! `cargo xtask races` builds this with `--cfg engineio_shuttle`; without the flag it is empty. A wake-up that is lost
//! shows as a deadlock, since nobody else comes by; a message that is lost as the same; a client that is forgotten by
//! what it keeps alive.
#![cfg(engineio_shuttle)]

#[path = "../support/mod.rs"]
mod support;

mod closing;
mod connecting;
mod direct;
mod explore;
mod sending;
mod upgrading;
