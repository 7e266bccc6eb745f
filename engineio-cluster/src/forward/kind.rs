//! The kinds of forwarded requests.

/// The kind of a request, and with it the use of its stream to the owner.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// The stream ends when the packets of the response are on their way to the client.
    Poll {
        /// The client sends one, which means nothing.
        has_body: bool,
    },
    /// The stream carries the body.
    Post,
    /// The stream carries the bytes of the WebSocket.
    WebSocket,
}
