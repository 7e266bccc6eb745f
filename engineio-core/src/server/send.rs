//! Sending: the wishes that come with a message, and messages that could not be queued.

use crate::Message;

/// How a message is sent.
///
/// ```
/// use engineio_core::SendOptions;
///
/// let already_compressed = SendOptions::new().compress(false);
/// # let _ = already_compressed;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SendOptions {
    pub(super) compress: bool,
}

impl SendOptions {
    /// As every message is sent that asks for nothing else.
    #[must_use]
    pub const fn new() -> Self {
        Self { compress: true }
    }

    /// Whether the message is worth compressing. Default `true`. A poll response is left as it is if none of its
    /// messages is, a WebSocket message if it is not.
    #[must_use]
    pub const fn compress(mut self, compress: bool) -> Self {
        self.compress = compress;
        self
    }

    /// Whether the message is worth compressing. For drivers.
    #[must_use]
    pub const fn is_compressible(self) -> bool {
        self.compress
    }
}

impl Default for SendOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// A message that was not queued, handed back.
///
/// ```
/// use engineio_core::{Message, SendError};
///
/// let error = SendError::Full(Message::from("too much"));
/// assert_eq!(error.to_string(), "the outbox is full");
/// assert_eq!(error.into_message(), Message::from("too much"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The session is closing or closed; it will not take messages again.
    #[error("the session is closed")]
    Closed(Message),
    /// The outbox is full: the client reads more slowly than the application sends.
    #[error("the outbox is full")]
    Full(Message),
}

/// Messages that were not queued, handed back together.
///
/// ```
/// use engineio_core::{Message, SendManyError};
///
/// let error = SendManyError::Closed(vec![Message::from("a"), Message::from("b")]);
/// assert_eq!(error.into_messages().len(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendManyError {
    /// The session is closing or closed; it will not take messages again.
    #[error("the session is closed")]
    Closed(Vec<Message>),
    /// The outbox has no room for all of them.
    #[error("the outbox has no room for all messages")]
    Full(Vec<Message>),
}

impl SendManyError {
    /// The messages that were not queued.
    #[must_use]
    pub fn into_messages(self) -> Vec<Message> {
        match self {
            Self::Closed(messages) | Self::Full(messages) => messages,
        }
    }
}

impl SendError {
    /// The message that was not queued.
    #[must_use]
    pub fn into_message(self) -> Message {
        match self {
            Self::Closed(message) | Self::Full(message) => message,
        }
    }
}
