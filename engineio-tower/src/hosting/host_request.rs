//! Requests and responses for hosts with types of their own.

use std::fmt::{self, Display};
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use engineio_core::Refusal;
use futures_core::Stream;
use http::{Request, Response};
use tokio::io::{AsyncRead, ReadBuf};

use crate::hosting::host_body::HostBody;
use crate::http::driver::Driver;
use crate::http::response::refused;
use crate::http::upgrade::HostUpgrade;
use crate::server::Server;
use crate::session::request::PeerAddr;

/// A request in the parts that every web framework has, for hosts that do not use the types of the crate `http`.
///
/// The host calls [`respond`](Self::respond), writes the [`HostResponse`], and runs the [`Driver`] in it, if there is one,
/// over the bytes that follow. A host with the types of `http` calls [`Server::respond`].
///
/// # Examples
///
/// ```
/// use engineio_tower::{HostRequest, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let server = Server::builder().build();
/// let headers = [("host", "localhost:5000")];
/// let peer = ([127, 0, 0, 1], 50_000).into();
/// let uri = "/engine.io/?EIO=4&transport=polling";
/// let request = HostRequest::new("GET", uri, headers, Some(peer));
/// let response = request.respond(&server, tokio::io::empty()).await;
/// assert_eq!(response.status, 200);
/// assert!(response.body.starts_with(b"0{"));
/// assert!(response.driver.is_none()); // It is not a WebSocket.
/// # }
/// ```
pub struct HostRequest {
    head: http::Result<Request<()>>,
}

impl HostRequest {
    /// Creates a request. The method and the URI are written as on the request line.
    ///
    /// A request that the crate `http` cannot represent is answered with 400.
    pub fn new<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        method: impl Display,
        uri: impl Display,
        headers: impl IntoIterator<Item = (N, V)>,
        peer: Option<SocketAddr>,
    ) -> Self {
        let mut head = Request::builder()
            .method(method.to_string().as_str())
            .uri(uri.to_string())
            .extension(HostUpgrade);
        for (name, value) in headers {
            head = head.header(name.as_ref(), value.as_ref());
        }
        if let Some(peer) = peer {
            head = head.extension(PeerAddr(peer));
        }
        Self {
            head: head.body(()),
        }
    }

    /// Adds a value to the extensions of the request, such as [`Scheme::Https`](crate::Scheme::Https) for a connection with
    /// TLS, or one for [`ConnectRequest::extensions`](crate::ConnectRequest::extensions).
    #[must_use]
    pub fn extension(mut self, value: impl Clone + Send + Sync + 'static) -> Self {
        if let Ok(head) = &mut self.head {
            head.extensions_mut().insert(value);
        }
        self
    }

    /// Returns the request in the types of the crate `http`, marked with [`HostUpgrade`] and the [`PeerAddr`], for
    /// [`Server::respond`].
    ///
    /// # Errors
    ///
    /// Fails if the crate cannot represent it.
    pub fn into_request(self) -> http::Result<Request<()>> {
        self.head
    }

    /// Serves the request, whose body is read from `body`. The server limits its length.
    ///
    /// `tokio_util::io::StreamReader` turns a stream of chunks into a reader.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future means that the client went away.
    pub async fn respond<R: AsyncRead + Unpin>(self, server: &Server, body: R) -> HostResponse {
        let response = match self.head {
            Ok(head) => {
                let body = HostBody::new(Chunks(body), head.headers());
                server.respond(head.map(|()| body)).await
            }
            Err(error) => {
                tracing::debug!(target: "engineio::request", %error, "a malformed request");
                refused(Refusal::BadRequest)
            }
        };
        HostResponse::new(response)
    }
}

impl fmt::Debug for HostRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostRequest").finish_non_exhaustive()
    }
}

/// The response to a [`HostRequest`].
#[derive(Debug)]
#[non_exhaustive]
pub struct HostResponse {
    /// The status.
    pub status: u16,
    /// The names and values of the headers; a name may occur several times. Bytes that are not UTF-8, which only the
    /// application's own headers can contain, are replaced.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// The WebSocket, if this is a 101 that accepts one. The host [runs](Driver::run) it over the bytes that follow.
    pub driver: Option<Driver>,
}

impl HostResponse {
    fn new(mut response: Response<Bytes>) -> Self {
        let driver = Driver::take(&mut response);
        let (head, body) = response.into_parts();
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into();
        let headers = head.headers.iter();
        Self {
            status: head.status.as_u16(),
            headers: headers
                .map(|(name, value)| (name.to_string(), text(value)))
                .collect(),
            body,
            driver,
        }
    }
}

/// The maximum number of bytes of a chunk.
const CHUNK: usize = 4_096;

/// A reader as a stream of chunks.
struct Chunks<R>(R);

impl<R: AsyncRead + Unpin> Stream for Chunks<R> {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut memory = [MaybeUninit::uninit(); CHUNK];
        let mut chunk = ReadBuf::uninit(&mut memory);
        let read = ready!(Pin::new(&mut self.0).poll_read(cx, &mut chunk));
        Poll::Ready(match (read, chunk.filled()) {
            (Err(error), _) => Some(Err(error)),
            (Ok(()), []) => None,
            (Ok(()), chunk) => Some(Ok(Bytes::copy_from_slice(chunk))),
        })
    }
}
