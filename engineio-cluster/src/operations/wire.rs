//! The form of operations in HTTP, and their limits.

use std::time::Duration;

use bytes::Bytes;
use engineio_tower::{Message, Text};
use http::HeaderValue;

/// The paths of operations begin with it. Its number is the version of the protocol between nodes.
pub(super) const PREFIX: &str = "/v1/";

/// `POST` queues the body for the session that follows; `DELETE` disconnects it.
pub(super) const SESSION: &str = "session/";

/// `GET` answers ids of sessions, one a line, from the one behind the id in the query.
pub(super) const SESSIONS: &str = "sessions";

/// `POST` broadcasts the body to the clients of the node.
pub(super) const BROADCAST: &str = "broadcast";

/// `GET` answers the state of the node and the number of its sessions.
pub(super) const NODE_STATE: &str = "node";

/// The time limit for an operation.
pub(crate) const LIMIT: Duration = Duration::from_secs(5);

/// The time that the other node may wait for room or for the end of a session, so that its answer comes in time.
pub(super) const REMOTE_LIMIT: Duration = Duration::from_secs(4);

/// The largest message that one node sends to another, in bytes.
pub(super) const MAX_MESSAGE: usize = 64 * 1024 * 1024;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Returns a message as a content type and a body. Nothing is copied: a text goes as the packet that it is.
pub(super) fn encode(message: Message) -> (HeaderValue, Bytes) {
    match message {
        Message::Text(text) => (TEXT, text.into_wire()),
        Message::Binary(bytes) => (BINARY, bytes),
    }
}

/// Reads a message, if it is one.
pub(super) fn decode(content_type: Option<&HeaderValue>, body: Bytes) -> Option<Message> {
    if content_type != Some(&TEXT) {
        return Some(Message::Binary(body));
    }
    let packet = String::from_utf8(body.into()).ok()?;
    Text::from_packet(packet).map(Message::Text)
}
