//! Requests for sessions of other processes: the interface to `engineio-cluster`.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::Bytes;
use engineio_core::{Refusal, Sid};
use http::Response;
use http::request::Parts;
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite};

/// Forwards requests for sessions that other processes own. For `engineio-cluster`, which implements it;
/// [`Server::forward`](crate::Server::forward) installs it.
///
/// The server decides by the session id alone, before it looks the session up. The process that receives a request
/// checks the origin, the query and the WebSocket handshake; the owner of the session does everything else.
pub trait Forward: Send + Sync + 'static {
    /// Returns the text that the server appends to the ids of its sessions, after a dot.
    fn node(&self) -> &str;

    /// Returns whether another process that is alive owns the session with this id.
    fn is_elsewhere(&self, sid: &Sid) -> bool;

    /// Begins to forward a request to the owner of the session.
    ///
    /// `websocket` means that the request is a WebSocket handshake, which the server has checked.
    fn forward(
        &self,
        sid: &Sid,
        head: Parts,
        peer: Option<SocketAddr>,
        websocket: bool,
    ) -> Box<dyn Forwarding>;
}

/// A request on its way to the owner of its session. Dropping it tells the owner that the client went away.
pub trait Forwarding: Send {
    /// Sends the body of the request and waits for the response.
    ///
    /// # Errors
    ///
    /// Fails with the refusal to answer if the owner gives no response.
    fn poll_response(
        &mut self,
        body: &mut RequestBody<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Forwarded, Refusal>>;

    /// Asks the owner to answer a poll at once, because this process is going away. Does nothing for other requests.
    fn release(&mut self);
}

/// The body of a request while it is being forwarded.
pub type RequestBody<'a> =
    dyn Body<Data = Bytes, Error = Box<dyn Error + Send + Sync>> + Unpin + 'a;

/// The response of the owner of a session.
pub struct Forwarded {
    /// The response without connection headers. Its body is one buffer, like that of a local response.
    pub response: Response<Bytes>,
    /// The bytes of the WebSocket, if the owner has accepted one.
    pub tunnel: Option<Box<dyn Tunnel>>,
    /// The packets in the body, if it has any.
    pub packets: Option<Box<dyn Packets>>,
}

impl fmt::Debug for Forwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarded")
            .field("status", &self.response.status())
            .field("websocket", &self.tunnel.is_some())
            .finish()
    }
}

/// The packets of a forwarded response, which have left the queue of their session. Dropping them unconfirmed tells the owner
/// that the client did not get them.
pub trait Packets: Send + Sync {
    /// Tells the owner that the host has taken all of them and will write them.
    fn confirm(self: Box<Self>);
}

/// The bytes of a WebSocket whose session another process owns. Dropping it tells the owner that the client went away.
pub trait Tunnel: Send {
    /// Copies bytes in both directions, with back pressure, until one end is gone.
    fn poll_relay(&mut self, io: &mut dyn ByteStream, cx: &mut Context<'_>) -> Poll<()>;
}

/// The connection of a client, as a stream of bytes.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> ByteStream for T {}

/// A request extension by which the listener of a cluster marks a request that another process has forwarded. Such a
/// request is served here or not at all, and its origin has been checked.
#[derive(Clone, Copy, Debug)]
pub struct Arrived;
