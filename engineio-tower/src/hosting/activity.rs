//! The activity on one HTTP connection: the requests in progress, and the bytes that come and go.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::sleep;

/// The time without a request and without a written byte after which a connection has nothing more to do.
pub(super) const QUIET: Duration = Duration::from_secs(2);

/// The activity on a connection, shared by its stream, its requests and its task.
#[derive(Debug, Default)]
pub(super) struct Activity {
    was_asked: AtomicBool,
    in_progress: AtomicUsize,
    has_read: AtomicBool,
    has_written: AtomicBool,
}

impl Activity {
    /// Counts a request, until the guard is dropped.
    pub(super) fn begin_request(self: &Arc<Self>) -> InProgress {
        self.was_asked.store(true, Ordering::Relaxed);
        self.in_progress.fetch_add(1, Ordering::Relaxed);
        InProgress(Arc::clone(self))
    }

    /// Returns whether there ever was a request.
    pub(super) fn was_asked(&self) -> bool {
        self.was_asked.load(Ordering::Relaxed)
    }

    pub(super) fn note_read(&self) {
        self.has_read.store(true, Ordering::Relaxed);
    }

    pub(super) fn note_written(&self) {
        self.has_written.store(true, Ordering::Relaxed);
    }

    /// Begins to wait for bytes from the peer.
    pub(super) fn await_read(&self) {
        self.has_read.store(false, Ordering::Relaxed);
    }

    /// Returns whether bytes have come since then.
    pub(super) fn has_read(&self) -> bool {
        self.has_read.load(Ordering::Relaxed)
    }

    /// Waits until there is no request, and the peer has taken nothing for at least [`QUIET`]: the rest of a response
    /// may be in hyper's buffers.
    pub(super) async fn ceased(&self) {
        loop {
            self.has_written.store(false, Ordering::Relaxed);
            sleep(QUIET).await;
            if self.in_progress.load(Ordering::Relaxed) == 0
                && !self.has_written.load(Ordering::Relaxed)
            {
                return;
            }
        }
    }
}

/// A request in progress, from its head to the end of the body of its response.
#[derive(Debug)]
pub(super) struct InProgress(Arc<Activity>);

impl InProgress {
    /// Ties the request to the body of its response.
    pub(super) const fn until_sent<B>(self, body: B) -> Response<B> {
        Response {
            body,
            _request: self,
        }
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.in_progress.fetch_sub(1, Ordering::Relaxed);
    }
}

pin_project! {
    /// The body of a response, with the request that it answers.
    #[derive(Debug)]
    pub(super) struct Response<B> {
        #[pin]
        body: B,
        _request: InProgress,
    }
}

impl<B: Body> Body for Response<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
