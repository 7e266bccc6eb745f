#![doc = include_str!("../README.md")]

pub mod compressor;
mod deflate;
mod end;
mod handshake;
mod input;
mod mask;
mod negotiation;
#[cfg(test)]
mod oracle;
mod output;
mod packet_stream;
mod parser;
mod websocket;

pub use end::{CloseFrame, End, Violation};
pub use handshake::{ClientHandshake, HandshakeError, accept_key, has_token};
pub use negotiation::negotiate;
pub use output::write_frames;
pub use packet_stream::PacketStream;
pub use websocket::{Received, Role, WebSocket};
