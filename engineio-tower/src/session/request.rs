//! The request as a connect handler sees it.

use std::net::SocketAddr;

use engineio_core::{Revision, Transport};
use http::request::Parts;
use http::{Extensions, HeaderMap, Method, Uri};

/// The address of the peer, as a request extension.
///
/// The adapters and [`serve`](crate::serve) insert it, and other hosts may. Only
/// [`Socket::peer_addr`](crate::Socket::peer_addr), [`ConnectRequest::peer_addr`],
/// [`max_sockets_per_peer`](crate::ServerBuilder::max_sockets_per_peer) and the limit on the [handshakes in
/// progress](crate::ServerBuilder::max_pending_sockets) of one connection depend on it.
///
/// ```
/// use std::net::SocketAddr;
/// use engineio_tower::PeerAddr;
///
/// // In a custom host, before the request goes to the service:
/// fn tell<B>(request: &mut http::Request<B>, peer: SocketAddr) {
///     request.extensions_mut().insert(PeerAddr(peer));
/// }
/// # let _ = tell::<()>;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);

/// The head of the request that opens a session.
///
/// It lives as long as the connect handler: copy the parts that are needed later, for example with
/// [`Socket::set`](crate::Socket::set). (The head pins the buffer that the connection read it into.)
///
/// ```
/// use engineio_tower::{ConnectRequest, Rejection};
///
/// fn token(request: &ConnectRequest) -> Result<String, Rejection> {
///     request.query("token").ok_or_else(Rejection::unauthorized)
/// }
/// # let _ = token;
/// ```
pub struct ConnectRequest {
    head: Parts,
    transport: Transport,
    revision: Revision,
    peer: Option<SocketAddr>,
}

impl ConnectRequest {
    pub(crate) const fn new(
        head: Parts,
        transport: Transport,
        revision: Revision,
        peer: Option<SocketAddr>,
    ) -> Self {
        Self {
            head,
            transport,
            revision,
            peer,
        }
    }

    /// Returns the method: GET, or CONNECT for a WebSocket over HTTP/2.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.head.method
    }

    /// Returns the URI as the service received it. Below a nested router it lacks the prefix.
    #[must_use]
    pub const fn uri(&self) -> &Uri {
        &self.head.uri
    }

    /// Returns the headers.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Returns the extensions that layers in front of the service attached to the request.
    #[must_use]
    pub const fn extensions(&self) -> &Extensions {
        &self.head.extensions
    }

    /// Returns the last value of a query parameter, percent-decoded.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        let query = self.head.uri.query().unwrap_or_default();
        form_urlencoded::parse(query.as_bytes())
            .filter(|(known, _)| known == name)
            .last()
            .map(|(_, value)| value.into_owned())
    }

    /// Returns the address of the peer, if the host passed it on: the client's, or that of the proxy in front.
    #[must_use]
    pub const fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Returns the transport over which the session begins.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// Returns the protocol revision that the client speaks.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// Returns the whole head.
    #[must_use]
    pub const fn head(&self) -> &Parts {
        &self.head
    }

    /// Returns the whole head for changes, which extractors of web frameworks require.
    pub const fn head_mut(&mut self) -> &mut Parts {
        &mut self.head
    }
}

/// Leaves out what may be secret: the query and the headers.
impl std::fmt::Debug for ConnectRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectRequest")
            .field("method", &self.head.method)
            .field("path", &self.head.uri.path())
            .field("transport", &self.transport)
            .field("revision", &self.revision)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
