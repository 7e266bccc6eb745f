//! The body of a request of another node.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Body, Frame, SizeHint};

/// The body of a request of another node. That of a WebSocket is empty, because its stream is the WebSocket.
#[derive(Debug)]
pub(crate) struct RequestBody {
    stream: Option<RecvStream>,
    /// The length that the request announces, in bytes, as far as it has not come. h2 checks it.
    missing: Option<u64>,
}

impl RequestBody {
    pub(super) const fn empty() -> Self {
        Self {
            stream: None,
            missing: None,
        }
    }

    pub(super) fn new(stream: RecvStream, headers: &HeaderMap) -> Self {
        let length = headers.get(CONTENT_LENGTH);
        Self {
            stream: Some(stream),
            missing: length.and_then(|length| length.to_str().ok()?.parse().ok()),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(None);
        };
        let Some(data) = ready!(stream.poll_data(cx)) else {
            return Poll::Ready(None);
        };
        let data = data?;
        let _ = stream.flow_control().release_capacity(data.len());
        self.missing = self
            .missing
            .map(|missing| missing.saturating_sub(data.len() as u64));
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.as_ref().is_none_or(RecvStream::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match self.missing {
            Some(missing) if !self.is_end_stream() => SizeHint::with_exact(missing),
            _ if self.is_end_stream() => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}
