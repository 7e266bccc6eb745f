//! The options with which a message is sent, and the error that returns unsent messages.

use crate::Message;

/// The options with which a message is sent.
///
/// ```
/// use engineio_core::SendOptions;
///
/// let already_compressed = SendOptions::new().compress(false);
/// # let _ = already_compressed;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SendOptions {
    pub(crate) compress: bool,
}

impl SendOptions {
    /// Returns the default options.
    #[must_use]
    pub const fn new() -> Self {
        Self { compress: true }
    }

    /// Sets whether the message may be compressed. Default `true`.
    ///
    /// Compressing data that is already compressed wastes time, and the size of a compressed body can reveal something
    /// about a secret in it. A message with `false` is never part of a compressed WebSocket message or poll response:
    /// it shares a poll response only with messages that were sent in the same way. The headers of such a response tell
    /// middlewares and proxies around the server not to compress it.
    #[must_use]
    pub const fn compress(mut self, compress: bool) -> Self {
        self.compress = compress;
        self
    }

    /// Returns whether the message may be compressed. For drivers.
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

/// The error of a send: nothing was queued, and the error returns the message (or the list of messages).
///
/// ```
/// use engineio_core::{Message, SendError};
///
/// let error = SendError::Full(Message::from("too much"));
/// assert_eq!(error.to_string(), "the outbox is full");
/// assert_eq!(error.into_message(), Message::from("too much"));
///
/// let error = SendError::Closed(vec![Message::from("a"), Message::from("b")]);
/// assert_eq!(error.into_inner().len(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError<T = Message> {
    /// The session is closing or closed; it accepts no more messages.
    #[error("the session is closed")]
    Closed(T),
    /// The outbox has no room: the peer reads more slowly than the application sends.
    #[error("the outbox is full")]
    Full(T),
    /// The text holds U+001E, which separates packets in polling: the peer would read several packets. The option
    /// `allow_separator` ([server](crate::Config::allow_separator), [client](crate::client::Config::allow_separator))
    /// lets such a text through.
    #[error("the text holds U+001E, which separates packets in polling")]
    Separator(T),
    /// Several messages that are to be queued together exceed the limit of the outbox even if it is empty.
    #[error("the messages exceed the limit of the outbox")]
    TooLarge(T),
}

impl<T> SendError<T> {
    /// Returns the message, or the messages, that were not queued.
    #[must_use]
    pub fn into_inner(self) -> T {
        match self {
            Self::Closed(unsent)
            | Self::Full(unsent)
            | Self::Separator(unsent)
            | Self::TooLarge(unsent) => unsent,
        }
    }
}

impl SendError<()> {
    /// Hands `unsent` back.
    pub(crate) fn with<T>(self, unsent: T) -> SendError<T> {
        match self {
            Self::Closed(()) => SendError::Closed(unsent),
            Self::Full(()) => SendError::Full(unsent),
            Self::Separator(()) => SendError::Separator(unsent),
            Self::TooLarge(()) => SendError::TooLarge(unsent),
        }
    }
}

impl SendError {
    /// Returns the message that was not queued.
    #[must_use]
    pub fn into_message(self) -> Message {
        self.into_inner()
    }
}
