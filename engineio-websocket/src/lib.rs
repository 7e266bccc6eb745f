#![doc = include_str!("../README.md")]

pub mod compressor;
mod deflate;
mod negotiation;
#[cfg(test)]
mod oracle;
mod parser;
mod websocket;

pub use negotiation::negotiate;
pub use websocket::{Received, WebSocket};
