//! The operations that a node asks another to carry out, over HTTP/2.

mod call;
mod error;
mod here;
mod serve;
mod turns;
mod wire;

pub(crate) use call::Caller;
pub use error::{ClusterSendError, Unreachable};
pub(crate) use here::{disconnect_here, send_here};
pub(crate) use serve::answer;
pub(crate) use turns::{Turn, Turns};
pub(crate) use wire::LIMIT;
