//! The parts that the targets share: the properties of every payload, the bytes of a script, and a
//! connection.

mod payload;
mod script;
mod wire;

pub use payload::{check_frames, check_v3, packets};
pub use script::Script;
pub use wire::Wire;
