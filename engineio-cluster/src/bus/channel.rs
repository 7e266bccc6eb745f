//! A channel of a broker, as the cluster uses it.

use std::fmt;
use std::pin::Pin;

use bytes::Bytes;
use thiserror::Error;

/// The future that a [`Bus`] returns.
pub type BusFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One channel of a broker: a published message reaches every process on the channel, including the publisher.
///
/// Delivery is at most once. Messages of one publisher arrive in the order in which they were published; nothing is
/// promised about the order between publishers. Nothing is stored: a message that is published while a process is
/// disconnected never reaches it.
///
/// [`Nats`](crate::Nats) and [`Redis`](crate::Redis) (features of the same names) implement it, and [`MemoryBus`](crate::MemoryBus) does
/// for tests. The trait is object-safe, since the cluster keeps its bus as `Arc<dyn Bus>`: the type of the broker
/// appears nowhere else. The price is one allocation for each message of the bus, which carries announcements and
/// broadcasts but never a session's own bytes.
///
/// An implementation reconnects by itself, forever. After a reconnection it must not send messages that were published
/// before.
pub trait Bus: fmt::Debug + Send + Sync + 'static {
    /// Publishes a message to every process on the channel.
    ///
    /// Completes once the broker, or the connection to it, has accepted the message, and within two seconds in any
    /// case. That the broker has taken it is certain only once it comes back by [`next_event`](Self::next_event), for
    /// which the cluster waits where it matters.
    ///
    /// # Errors
    ///
    /// Fails if the message is too large, if there is no connection, or if it is unknown whether the message was
    /// accepted.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the message may or may not be published.
    fn publish(&self, message: Bytes) -> BusFuture<'_, Result<(), PublishError>>;

    /// Waits for the next event. One task receives; a second concurrent call takes events away from the first.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, no event is lost.
    fn next_event(&self) -> BusFuture<'_, BusEvent>;

    /// Abandons the connection and opens a new one, because nothing arrives on it although it looks healthy.
    ///
    /// Returns at once. [`BusEvent::Lost`] and [`BusEvent::Back`] report the outcome.
    fn reconnect(&self);

    /// Returns the size of the largest message that can be published, in bytes.
    fn max_message(&self) -> usize {
        MAX_MESSAGE
    }
}

/// The largest message that a bus carries, in bytes: the default limit of a NATS server (`max_payload`).
pub const MAX_MESSAGE: usize = 1024 * 1024;

/// Something that happened on a [`Bus`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BusEvent {
    /// A message arrived, of this process or of another.
    Message(Bytes),
    /// This many messages were dropped, because they were too large or arrived faster than they were taken.
    Missed(u64),
    /// The connection to the broker is gone.
    Lost,
    /// The connection is back; messages that were published in between are lost.
    Back,
}

/// A message was not published, or may not have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// There is no connection to the broker. The message was not published.
    #[error("there is no connection to the broker; the message was not published")]
    Disconnected,
    /// The connection broke, or the broker did not answer in time. The message may have been published.
    #[error("the broker did not confirm the message, which may have been published")]
    Unconfirmed,
    /// The message is too large for the bus. It was not published.
    #[error("the message has {len} bytes, but the bus carries {limit} at most")]
    TooLarge {
        /// The size of the message, in bytes.
        len: usize,
        /// The limit, in bytes.
        limit: usize,
    },
}

impl PublishError {
    /// Returns whether the message may have been published despite the error.
    #[must_use]
    pub const fn may_have_arrived(&self) -> bool {
        matches!(self, Self::Unconfirmed)
    }
}
