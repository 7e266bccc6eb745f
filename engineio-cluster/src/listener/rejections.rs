//! The log lines about connections that do not belong to this cluster.

use std::fmt::Display;

use tokio::time::Instant;

use engineio_core::driver::Repeats;

/// Logs rejected connections, of which strangers can make as many as they like.
#[derive(Debug, Default)]
pub(crate) struct Rejections(Repeats);

impl Rejections {
    /// Counts a rejection, and logs it unless there was a line in the last second. `node` is what the other end calls itself.
    pub(super) fn log(&self, node: Option<&str>, reason: &dyn Display) {
        if let Some(rejections) = self.0.count(Instant::now(), 1) {
            let node = node.unwrap_or("unnamed");
            tracing::warn!(target: "engineio::cluster", node, %reason, rejections, "connections that do not belong to the cluster were rejected");
        }
    }
}
