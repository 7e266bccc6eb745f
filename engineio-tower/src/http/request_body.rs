//! Reads the bodies of requests: in turns, without those that mean nothing, and for another process.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

/// The frames of a body that are read at once, before other tasks run.
pub(super) const FRAMES: usize = 16;

/// Reads what has arrived of a body that means nothing.
pub(super) fn discard<B: Body>(
    mut body: Pin<&mut Option<B>>,
    cx: &mut Context<'_>,
) -> Result<(), B::Error> {
    for _ in 0..FRAMES {
        let Some(rest) = body.as_mut().as_pin_mut() else {
            return Ok(());
        };
        match rest.poll_frame(cx) {
            Poll::Pending => return Ok(()),
            Poll::Ready(None) => body.set(None),
            Poll::Ready(Some(frame)) => drop(frame?),
        }
    }
    cx.waker().wake_by_ref();
    Ok(())
}

/// Returns whether a limit in front of this service cut the body (tower-http's `RequestBodyLimitLayer`, for example).
pub(super) fn is_length_limit(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A body as [`RequestBody`](crate::forward::RequestBody) has it. It borrows the real one, which need be neither `Send` nor `'static`.
pub(crate) struct BorrowedBody<'a, B> {
    body: Pin<&'a mut B>,
    /// A limit in front of the server has cut it.
    pub(crate) is_too_large: bool,
}

impl<'a, B> BorrowedBody<'a, B> {
    pub(crate) const fn new(body: Pin<&'a mut B>) -> Self {
        Self {
            body,
            is_too_large: false,
        }
    }
}

impl<B> Unpin for BorrowedBody<'_, B> {}

impl<B> Body for BorrowedBody<'_, B>
where
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = self.body.as_mut().poll_frame(cx);
        // Costs no copy where the data is `Bytes`.
        frame.map(|frame| {
            let copied = |frame: Frame<B::Data>| {
                frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
            };
            Some(frame?.map(copied).map_err(|error| {
                let error = error.into();
                self.is_too_large = is_length_limit(&*error);
                error
            }))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
