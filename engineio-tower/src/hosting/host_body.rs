//! A request body for hosts whose own type does not implement [`Body`].

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use futures_core::Stream;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Body, Frame, SizeHint};

/// A stream of chunks as a request body, for hosts without hyper. For adapters.
///
/// It knows the length that the request announced, so that a body that is too large is refused before it is read.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use engineio_tower::HostBody;
/// use http_body::Body;
///
/// let mut request = http::Request::new(());
/// request.headers_mut().insert("content-length", "5".parse().unwrap());
/// let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from("hello"))]);
/// let body = HostBody::new(chunks, request.headers());
/// assert_eq!(body.size_hint().exact(), Some(5));
/// ```
#[derive(Debug)]
pub struct HostBody<S> {
    stream: S,
    /// The bytes that were announced and have not come yet.
    remaining: Option<u64>,
}

impl<S> HostBody<S> {
    /// Creates the body of a request with these headers from a stream of chunks.
    pub fn new(stream: S, headers: &HeaderMap) -> Self {
        let announced = headers.get(CONTENT_LENGTH);
        Self {
            stream,
            remaining: announced.and_then(|length| length.to_str().ok()?.parse().ok()),
        }
    }
}

impl<S, D, E> Body for HostBody<S>
where
    S: Stream<Item = Result<D, E>> + Unpin,
    D: Buf,
{
    type Data = D;
    type Error = E;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<D>, E>>> {
        let chunk = ready!(Pin::new(&mut self.stream).poll_next(cx));
        if let (Some(remaining), Some(Ok(chunk))) = (&mut self.remaining, &chunk) {
            *remaining = remaining.saturating_sub(chunk.remaining() as u64);
        }
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
