//! Two time limits where hyper has one: for an idle connection, and for the head of a request that has begun.
//!
//! hyper starts its limit when it begins to wait for a head, at the end of the previous response. It gets its sleep
//! from the timer of this module, which learns from the stream when the first bytes arrive, and then shortens the wait.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Activity;

/// Returns the stream of a connection and the timer for its heads, which may take this long.
pub(super) fn heads<IO>(
    io: IO,
    limit: Duration,
    activity: &Arc<Activity>,
) -> (Heads<IO>, HeadTimer) {
    let io = Heads {
        io,
        activity: Arc::clone(activity),
    };
    let activity = Arc::clone(activity);
    (io, HeadTimer { activity, limit })
}

/// A stream that tells the timer and the task of its connection when bytes come and go.
#[derive(Debug)]
pub(crate) struct Heads<IO> {
    io: IO,
    activity: Arc<Activity>,
}

impl<IO> Heads<IO> {
    pub(crate) fn into_inner(self) -> IO {
        self.io
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Heads<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if !buf.filled().is_empty() {
            self.activity.note_read();
        }
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Heads<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        if written.is_ready() {
            self.activity.note_written();
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        if written.is_ready() {
            self.activity.note_written();
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// The timer of one HTTP/1 connection, which hyper uses for nothing but heads.
#[derive(Debug)]
pub(super) struct HeadTimer {
    activity: Arc<Activity>,
    limit: Duration,
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        // Bytes of the first head have been read already, to tell HTTP/1 from HTTP/2.
        if self.activity.was_asked() {
            self.activity.await_read();
        }
        Box::pin(Wait {
            sleep: tokio::time::sleep_until(deadline.into()),
            activity: Arc::clone(&self.activity),
            limit: Some(self.limit),
        })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

pin_project! {
    /// Waits for a head.
    struct Wait {
        #[pin]
        sleep: tokio::time::Sleep,
        activity: Arc<Activity>,
        // `None` once the head has begun and the limit applies.
        limit: Option<Duration>,
    }
}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        // hyper polls it after each read that did not complete the head.
        if this.activity.has_read()
            && let Some(limit) = this.limit.take()
        {
            let deadline = tokio::time::Instant::now() + limit;
            this.sleep.as_mut().reset(deadline);
        }
        this.sleep.poll(cx)
    }
}

impl Sleep for Wait {}
