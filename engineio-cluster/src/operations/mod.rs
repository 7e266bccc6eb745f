//! The operations that a node asks another to carry out, over HTTP/2.

mod call;
mod serve;
mod turns;
mod wire;

use std::time::Duration;

use engineio_tower::{Message, SendError, Server, Sid};
use thiserror::Error;
use tokio::time::timeout;

use crate::NodeId;

pub(crate) use call::Caller;
pub(crate) use serve::answer;
pub(crate) use turns::{Turn, Turns};

/// The time limit for an operation.
pub(crate) const LIMIT: Duration = Duration::from_secs(5);

/// The time that the other node may wait for room or for the end of a session, so that its answer comes in time.
const REMOTE_LIMIT: Duration = Duration::from_secs(4);

/// The largest message that one node sends to another, in bytes.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// The maximum number of session ids in one answer.
const PAGE: usize = 5_000;

/// A message for a client of the cluster was not queued, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ClusterSendError {
    /// No such client is connected.
    #[error("no such client is connected")]
    Closed(Message),
    /// The outbox of the client stayed full for the time limit of an operation.
    #[error("the outbox of the client is full")]
    Full(Message),
    /// The text holds U+001E, which separates packets in polling; see [`SendError::Separator`].
    #[error("the text holds U+001E, which separates packets in polling")]
    Separator(Message),
    /// The node that owns the session did not take the message, or may not have.
    #[error("{unreachable}")]
    Unreachable {
        /// The message.
        message: Message,
        /// The node, and whether it may have queued the message.
        unreachable: Unreachable,
    },
}

impl ClusterSendError {
    /// Returns the message.
    #[must_use]
    pub fn into_message(self) -> Message {
        match self {
            Self::Closed(message)
            | Self::Full(message)
            | Self::Separator(message)
            | Self::Unreachable { message, .. } => message,
        }
    }
}

impl From<SendError> for ClusterSendError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Full(message) => Self::Full(message),
            SendError::Separator(message) => Self::Separator(message),
            error => Self::Closed(error.into_message()),
        }
    }
}

/// A node did not carry out an operation, or may not have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "the node {node} {} carried out the operation: {reason}",
    if *may_have_arrived { "may not have" } else { "has not" }
)]
#[non_exhaustive]
pub struct Unreachable {
    /// The node.
    pub node: NodeId,
    /// Whether the node may have carried out the operation.
    pub may_have_arrived: bool,
    reason: String,
}

impl Unreachable {
    /// A node to which a message was not sent, because it has so many bytes.
    fn too_large(node: NodeId, len: usize) -> Self {
        Self {
            node,
            may_have_arrived: false,
            reason: format!(
                "the message has {len} bytes, but another node takes {MAX_MESSAGE} at most"
            ),
        }
    }

    /// A node that may have missed what was published on the bus.
    pub(crate) fn unheard(node: NodeId) -> Self {
        Self {
            node,
            may_have_arrived: true,
            reason: "it has not been heard since the connection to the broker came back".to_owned(),
        }
    }
}

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
fn sids_here(server: &Server, after: Option<Sid>) -> Vec<Sid> {
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
