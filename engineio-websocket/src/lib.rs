#![doc = include_str!("../README.md")]

pub mod compressor;
mod deflate;
mod end;
mod input;
mod mask;
mod negotiation;
#[cfg(test)]
mod oracle;
mod output;
mod parser;
mod websocket;

pub use end::{CloseFrame, End, Violation};
pub use negotiation::negotiate;
pub use websocket::{Received, Role, WebSocket};
