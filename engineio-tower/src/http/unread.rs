//! Discards the rest of a request body if the answer is sent before the body was read.

use std::any::Any;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Buf;
use http::Request;
use http::header::EXPECT;
use http::request::Parts;
use http_body::{Body, Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::time::timeout;

/// The time for which the rest of a body is discarded, in total and without a byte of it, as nginx's `lingering_time`
/// and `lingering_timeout` by default.
const TOTAL: Duration = Duration::from_secs(30);
const SILENCE: Duration = Duration::from_secs(5);

/// The number of bytes that are discarded at most. A body that is known to be larger is not read on at all.
const LIMIT: usize = 64 * 1024 * 1024;

/// A request body whose rest is read and discarded, by a task of its own, when it is dropped before its end.
///
/// A host that closes a connection on which bytes are still arriving resets it, and the reset may overtake the answer:
/// the client, or the proxy in front, then reports a broken connection and not the status (RFC 9112, section 9.6). With
/// this body the answer leaves at once and the connection stays open while the rest arrives, for 30 s, 5 s without a byte
/// or 64 MiB at most.
///
/// [`EngineIoService`](crate::EngineIoService) does this by itself for the bodies of hyper, and for those that its
/// [`discard_unread`](crate::EngineIoService::discard_unread) names. Hosts that call
/// [`Server::respond`](crate::Server::respond) wrap theirs.
///
/// Over HTTP/2, hyper reports a body whose stream the client has reset without an error as one that has ended. With this body
/// such a part of a POST is not taken for the whole.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use engineio_tower::DiscardUnread;
/// use http_body_util::Full;
///
/// let request = http::Request::new(Full::<Bytes>::from("4hello"));
/// let request = DiscardUnread::wrap(request);
/// # let _ = request;
/// ```
#[derive(Debug)]
pub struct DiscardUnread<B> {
    /// `None` once it is read or broken.
    body: Option<B>,
    /// `None` if the body is dropped like any other.
    discard: Option<fn(B)>,
    /// The client sends the body only when it is asked to (`Expect: 100-continue`).
    waits: bool,
    /// What hyper reports as the end may be a reset: no length was announced that would show it.
    may_be_reset: bool,
}

impl<B: Body + Send + Unpin + 'static> DiscardUnread<B> {
    /// Wraps the body of a request.
    pub fn wrap(request: Request<B>) -> Request<Self> {
        let (head, body) = request.into_parts();
        let body = Self::by(Some(discard), &head, body);
        Request::from_parts(head, body)
    }
}

impl<B: Body> DiscardUnread<B> {
    pub(super) fn by(discard: Option<fn(B)>, head: &Parts, body: B) -> Self {
        let ended = body.is_end_stream();
        let may_be_reset = body.size_hint().exact().is_none();
        Self {
            waits: !ended && head.headers.contains_key(EXPECT),
            body: (!ended).then_some(body),
            discard,
            may_be_reset,
        }
    }
}

impl<B: Body + Unpin> Body for DiscardUnread<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        this.waits = false;
        if frame.is_none() && this.may_be_reset && !body.is_end_stream() {
            // hyper drops the request of a stream that was reset as soon as this is pending. A body that hides its end behind
            // a layer takes one turn more.
            this.body = None;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl<B> Drop for DiscardUnread<B> {
    fn drop(&mut self) {
        if let (Some(body), Some(discard), false) = (self.body.take(), self.discard, self.waits) {
            discard(body);
        }
    }
}

/// A function `fn(B)` that discards the rest of a body of one type `B`.
pub(super) type Discard = &'static (dyn Any + Send + Sync);

/// Returns the function for bodies of this type.
pub(super) const fn discard_of<B: Body + Send + Unpin + 'static>() -> Discard {
    const { &(discard::<B> as fn(B)) }
}

fn discard<B: Body + Send + Unpin + 'static>(mut body: B) {
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    if body.is_end_stream() || body.size_hint().lower() > LIMIT as u64 {
        return;
    }
    crate::sync::spawn(&runtime, async move {
        let mut left = LIMIT;
        let rest = async {
            while left > 0 {
                let read = timeout(SILENCE, poll_fn(|cx| poll_len(&mut body, cx))).await;
                let Ok(Some(len)) = read else { break };
                left = left.saturating_sub(len);
            }
        };
        let in_time = timeout(TOTAL, rest).await.is_ok();
        tracing::trace!(target: "engineio::request", discarded = LIMIT - left, in_time, "the rest of a body was discarded");
    });
}

/// Reads a frame and returns the number of its bytes, or `None` at the end.
fn poll_len<B: Body + Unpin>(body: &mut B, cx: &mut Context<'_>) -> Poll<Option<usize>> {
    let frame = ready!(Pin::new(body).poll_frame(cx));
    Poll::Ready(match frame {
        Some(Ok(frame)) => Some(frame.data_ref().map_or(0, Buf::remaining)),
        _ => None,
    })
}
