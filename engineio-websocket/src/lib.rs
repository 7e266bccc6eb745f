#![doc = include_str!("../README.md")]

pub mod compressor;
mod deflate;
mod end;
mod handshake;
mod handshake_error;
mod input;
mod mask;
mod negotiation;
#[cfg(test)]
mod oracle;
mod output;
mod packet_stream;
mod parser;
mod role;
mod websocket;

pub use end::{CloseFrame, End, Violation};
pub use handshake::{ClientHandshake, accept_key, has_token};
pub use handshake_error::HandshakeError;
pub use negotiation::negotiate;
pub use output::write_frames;
pub use packet_stream::PacketStream;
pub use role::Role;
pub use websocket::{Received, WebSocket};
