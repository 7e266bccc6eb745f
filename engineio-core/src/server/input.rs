//! The inputs, outputs and events of a session.

use crate::inbox::{self, Notice};
use crate::{DisconnectReason, Frame, LinkId, Message, Payload, Refusal, Transport};

/// One HTTP request of the polling transport, as named by [`Session::next_exchange`](super::Session::next_exchange).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExchangeId(pub(super) u32);

/// The connection over which an accepted session begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// The handshake request, which is answered like a poll.
    Polling(ExchangeId),
    /// An open link by this transport.
    Link(LinkId, Transport),
}

/// Everything that can happen to a session.
///
/// An input with an id that the session does not know came late: it is answered or ignored, never an error.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input {
    /// The application accepted the client.
    Accepted(First),
    /// A GET arrived and waits for packets.
    PollOpened(ExchangeId),
    /// The client abandoned a poll that was not answered yet.
    PollAborted(ExchangeId),
    /// The poll that waits, if there is one, is to be answered now, with a noop if there is nothing to send: the process
    /// through which it came goes away, and the client is to poll again.
    PollReleased,
    /// A POST arrived, whose body has not been read yet. Overlapping POSTs are refused at this point.
    PostOpened(ExchangeId),
    /// The body of a POST is complete. Its kind follows from the content type of the request: binary for exactly
    /// `application/octet-stream`. For a JSONP request, this is the result of [`jsonp::unwrap`](crate::jsonp::unwrap).
    PostReceived(ExchangeId, Payload),
    /// The body of a POST is complete and contains no payload, not even an empty one: a JSONP form without its field.
    /// It is accepted, as in the reference.
    PostWithoutPayload(ExchangeId),
    /// Other tasks had their turn after [`Output::ContinuePost`]; more packets of the POST are decoded.
    PostContinued(ExchangeId),
    /// The client abandoned a POST before its body was complete.
    PostAborted(ExchangeId),
    /// The body of a POST is larger than [`Config::max_payload`](crate::Config::max_payload).
    PostTooLarge(ExchangeId),
    /// A link was opened, to which the session may upgrade.
    LinkOpened {
        /// Its name, from [`Session::next_link`](super::Session::next_link).
        id: LinkId,
        /// Its transport.
        transport: Transport,
        /// Whether its handshake asked for binary data as text (the `b64` query parameter).
        base64: bool,
    },
    /// A frame arrived on a link.
    LinkFrame(LinkId, Frame),
    /// A link is gone: [`DisconnectReason::TransportClose`] for a close frame or the end of the connection,
    /// [`DisconnectReason::TransportError`] or [`DisconnectReason::PayloadTooLarge`] if it failed.
    LinkClosed(LinkId, DisconnectReason),
    /// Time has passed; has no effect when nothing is due.
    Timeout,
}

/// The tasks of the driver, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// The poll can be answered: take the body with [`Session::take_payload`](super::Session::take_payload) at the
    /// moment at which it is written, so that an aborted poll loses nothing.
    AnswerPoll(ExchangeId),
    /// Answer the poll with a refusal.
    RefusePoll(ExchangeId, Refusal),
    /// Answer the POST: its packets were accepted, or it is refused.
    AnswerPost(ExchangeId, Result<(), Refusal>),
    /// More packets of the POST are to be decoded. Let other tasks run, then give [`Input::PostContinued`] to the
    /// session. Otherwise a client that fills a body with packets that are not messages would occupy the thread.
    ContinuePost(ExchangeId),
    /// Frames can be sent: take them with [`Session::take_frame`](super::Session::take_frame) until there is none.
    SendFrames(LinkId),
    /// Close the link with the code of this reason, after the frames that were taken.
    CloseLink(LinkId, DisconnectReason),
    /// Events wait for the application: take them with [`Session::take_event`](super::Session::take_event).
    Events,
    /// The outbox has drained or closed; senders waiting for room should retry.
    Room,
    /// The session can be forgotten; only answers to late requests follow. Events and the answer of the last poll that
    /// were announced before can still be taken. Comes exactly once.
    Finished,
}

/// The events for the application, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The client sent a message.
    Message(Message),
    /// The session moved from polling to a link; [`Session::transport`](super::Session::transport) says by which
    /// transport.
    Upgraded,
    /// All queued messages have been taken to be written. Only with
    /// [`Config::drain_events`](crate::Config::drain_events).
    Drained,
    /// The session is over. Comes exactly once, as the last event.
    Closed(DisconnectReason),
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
