//! Building blocks that the drivers of server and client share, without a runtime.
//!
//! - [`SendQueue`] lines up the tasks that wait for room in an outbox (back pressure).
//! - [`Budget`] limits the work done for one peer before other tasks run (fairness).
//! - [`catch_panic`] calls code of the application, and survives its panics.
//! - [`Repeats`] decides which events are logged that a peer can cause as often as it likes.
//!
//! # Cancel safety
//!
//! Nothing here waits, so nothing here can be cancelled.

mod budget;
mod panics;
mod repeats;
mod send_queue;

pub use budget::Budget;
pub use panics::{Panicked, catch_panic};
pub use repeats::Repeats;
pub use send_queue::{Left, SendQueue, Ticket};
