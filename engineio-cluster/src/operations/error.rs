//! The errors of operations.

use engineio_tower::{Message, SendError};
use thiserror::Error;

use super::wire::MAX_MESSAGE;
use crate::NodeId;

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
    pub(super) reason: String,
}

impl Unreachable {
    /// A node to which a message was not sent, because it has so many bytes.
    pub(super) fn too_large(node: NodeId, len: usize) -> Self {
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
