//! The inputs, outputs and events of a client's session.

use super::opened::InvalidOpened;
use crate::inbox::{self, Notice};
use crate::{DecodeError, DisconnectReason, Frame, LinkId, Message, Payload, Transport};

/// One HTTP request of the polling transport, as named by the session in [`Output::Poll`] or [`Output::Post`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub(super) u32);

/// Everything that can happen to a client's session.
///
/// An input with an id that the session does not know, or no longer knows, came late and is ignored.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input {
    /// A poll was answered with a success status; this is the whole body.
    PollAnswered(RequestId, Payload),
    /// A poll failed: [`DisconnectReason::Refused`] for another status, [`DisconnectReason::PayloadTooLarge`] for a
    /// body that is larger than the driver accepts, [`DisconnectReason::TransportError`] for a broken connection.
    PollFailed(RequestId, DisconnectReason),
    /// A POST was answered with a success status.
    PostAnswered(RequestId),
    /// A POST failed; the reasons are those of [`Input::PollFailed`].
    PostFailed(RequestId, DisconnectReason),
    /// A link is open.
    LinkOpened(LinkId),
    /// A frame arrived on a link.
    LinkFrame(LinkId, Frame),
    /// A link is gone, or could not be opened: [`DisconnectReason::TransportClose`] for a close frame or the end of the
    /// connection, another reason if it failed.
    LinkClosed(LinkId, DisconnectReason),
    /// Time has passed; has no effect when nothing is due.
    Timeout,
}

/// The tasks of the driver, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Send a GET: without an id of a session while [`Session::opened`](super::Session::opened) is `None`.
    Poll(RequestId),
    /// Send a POST whose body is [`Session::take_payload`](super::Session::take_payload).
    Post(RequestId),
    /// Abandon the request; its answer has no meaning any more.
    Cancel(RequestId),
    /// Open a link by this transport: without an id of a session while [`Session::opened`](super::Session::opened) is `None`.
    OpenLink(LinkId, Transport),
    /// Frames can be sent: take them with [`Session::take_frame`](super::Session::take_frame) until there is none.
    SendFrames(LinkId),
    /// Close the link with the code of this reason, after the frames that were taken, or abandon opening it.
    CloseLink(LinkId, DisconnectReason),
    /// Events wait for the application: take them with [`Session::take_event`](super::Session::take_event).
    Events,
    /// The outbox has drained or closed; senders waiting for room should retry.
    Room,
    /// The session is over; no output follows.
    Finished,
}

/// The events for the application, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The server accepted the session; [`Session::opened`](super::Session::opened) returns its parameters.
    Opened,
    /// The server sent a message.
    Message(Message),
    /// The session moved from polling to a link; [`Session::transport`](super::Session::transport) says by which
    /// transport.
    Upgraded,
    /// The attempt to move to a link failed. The session goes on by polling and has lost nothing.
    UpgradeFailed(ProbeFailure),
    /// The session is over, or could not be opened. Comes exactly once, as the last event.
    Closed(DisconnectReason),
}

/// The reason for which a session stays on polling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbeFailure {
    /// The link could not be opened, or was closed before the upgrade was complete.
    Closed(DisconnectReason),
    /// The server answered the probe with something other than `3probe`.
    WrongAnswer,
    /// The upgrade was not complete within [`Config::upgrade_timeout`](super::Config::upgrade_timeout).
    Timeout,
}

/// A fault in the server's data that ended the session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Bytes that are not a packet.
    #[error("the server sent something that is not a packet")]
    Decode(#[source] DecodeError),
    /// The first packet was not an open packet.
    #[error("the server's first packet was not an open packet")]
    NotOpen,
    /// An open packet that cannot be used.
    #[error("the server's open packet cannot be used")]
    Opened(#[source] InvalidOpened),
    /// More packets in one poll response than [`Config::max_poll_packets`](super::Config::max_poll_packets).
    #[error("the server sent more than {0} packets in one response")]
    TooManyPackets(usize),
    /// The server did not send an open packet within [`Config::open_timeout`](super::Config::open_timeout).
    #[error("the server did not complete the handshake in time")]
    OpenTimeout,
}

impl From<Notice> for Output {
    fn from(notice: Notice) -> Self {
        match notice {
            Notice::Events => Self::Events,
            Notice::Room => Self::Room,
            Notice::Finished => Self::Finished,
        }
    }
}

impl From<Message> for Event {
    fn from(message: Message) -> Self {
        Self::Message(message)
    }
}

impl inbox::Event for Event {
    fn message(&self) -> Option<&Message> {
        match self {
            Self::Message(message) => Some(message),
            _ => None,
        }
    }

    fn into_message(self) -> Option<Message> {
        match self {
            Self::Message(message) => Some(message),
            _ => None,
        }
    }
}
