//! The parts that the targets share: the properties of every payload, and the bytes of a script.

mod payload;
mod script;

pub use payload::{check_frames, check_v3, packets};
pub use script::Script;
