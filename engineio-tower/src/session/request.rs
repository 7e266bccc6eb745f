//! What a connect handler sees of the request.

use std::net::SocketAddr;

use engineio_core::{Revision, Transport};
use http::request::Parts;
use http::{Extensions, HeaderMap, Method, Uri};

/// The address of the peer, as a request extension.
///
/// A host that knows it inserts it; the adapters and [`serve`](crate::serve) do. Everything works without.
///
/// ```
/// use std::net::SocketAddr;
/// use engineio_tower::PeerAddr;
///
/// // In a host of your own, before the request goes to the service:
/// fn tell<B>(request: &mut http::Request<B>, peer: SocketAddr) {
///     request.extensions_mut().insert(PeerAddr(peer));
/// }
/// # let _ = tell::<()>;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);

/// The head of the request that asks for a session.
///
/// It lives as long as the connect handler: what is needed later is copied out of it, for example with
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
#[derive(Debug)]
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

    /// The method: GET, or CONNECT for a WebSocket over HTTP/2.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.head.method
    }

    /// The URI as the service got it. Below a nested router it lacks the prefix.
    #[must_use]
    pub const fn uri(&self) -> &Uri {
        &self.head.uri
    }

    /// The headers.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// What layers in front of the service attached to the request.
    #[must_use]
    pub const fn extensions(&self) -> &Extensions {
        &self.head.extensions
    }

    /// The last value of a query parameter, with its percent-encoding undone.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        let query = self.head.uri.query().unwrap_or_default();
        form_urlencoded::parse(query.as_bytes())
            .filter(|(known, _)| known == name)
            .last()
            .map(|(_, value)| value.into_owned())
    }

    /// The address of the peer, if the host told it: the client's, or that of the proxy in front.
    #[must_use]
    pub const fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The transport over which the session begins.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// The revision of the protocol that the client speaks.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// The whole head.
    #[must_use]
    pub const fn head(&self) -> &Parts {
        &self.head
    }

    /// The whole head, to be changed: extractors of web frameworks want it so.
    pub const fn head_mut(&mut self) -> &mut Parts {
        &mut self.head
    }
}
