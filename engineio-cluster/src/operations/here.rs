//! The operations on sessions of this process.

use std::time::Duration;

use engineio_tower::{Message, Server, Sid};
use tokio::time::timeout;

use super::error::ClusterSendError;

/// The maximum number of session ids in one answer.
const PAGE: usize = 5_000;

/// Sends a message to a client of this process, waiting no longer than `limit` while its outbox is full.
pub(crate) async fn send_here(
    server: &Server,
    sid: &Sid,
    message: Message,
    limit: Duration,
) -> Result<(), ClusterSendError> {
    match timeout(limit, server.send(sid, message.clone())).await {
        Ok(sent) => sent.map_err(Into::into),
        Err(_) => Err(ClusterSendError::Full(message)),
    }
}

/// Disconnects a client of this process, waiting no longer than `limit` for its end.
pub(crate) async fn disconnect_here(server: &Server, sid: &Sid, limit: Duration) -> bool {
    // It is being disconnected even if the wait is given up.
    timeout(limit, server.disconnect(sid)).await.unwrap_or(true)
}

/// Returns the ids of sessions of this process in order, from the one behind `after`.
pub(super) fn sids_here(server: &Server, after: Option<Sid>) -> Vec<Sid> {
    let mut sids: Vec<Sid> = server
        .sockets()
        .iter()
        .map(engineio_tower::Socket::sid)
        .filter(|sid| after.is_none_or(|after| *sid > after))
        .collect();
    sids.sort_unstable();
    sids.truncate(PAGE);
    sids
}
