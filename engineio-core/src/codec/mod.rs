//! Converts packets to bytes and back: one packet in a WebSocket frame or behind a header on a stream, several in the
//! body of a polling request.

mod coding;
mod detach;
mod error;
mod frame;
mod payload;
mod revision;
pub mod stream;
pub mod v3;
pub mod v4;

pub(crate) use coding::{Coding, Packets, PayloadSize};
pub use detach::detach;
pub use error::{DecodeError, DecodeErrorKind};
pub use frame::{Frame, Utf8};
pub use payload::Payload;
pub use revision::Revision;
