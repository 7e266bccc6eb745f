//! A connection between two nodes that gives way to the streams on it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The bytes that are read before the tasks of the streams get their turn.
const TURN: usize = 64 * 1024;

/// A connection whose reader pauses after some bytes. Without it the task of the connection reads all that has come before
/// any stream takes its part: megabytes, which are out of the processor's cache by then.
#[derive(Debug)]
pub(crate) struct Paced<IO> {
    io: IO,
    read: usize,
    arrivals: Arrivals,
}

/// The reads of a connection that have returned something, which prove that the other end is alive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrivals(Arc<AtomicU64>);

impl Arrivals {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl<IO> Paced<IO> {
    pub(crate) fn new(io: IO) -> Self {
        Self {
            io,
            read: 0,
            arrivals: Arrivals::default(),
        }
    }

    pub(crate) fn arrivals(&self) -> Arrivals {
        self.arrivals.clone()
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Paced<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let turn = std::mem::take(&mut this.read);
        if turn >= TURN {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        this.read = turn + buf.filled().len() - before;
        this.arrivals.0.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Paced<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_reader_gives_way_after_each_turn_and_loses_nothing() {
        let sent: Vec<u8> = (0..10 * TURN).map(|number| number as u8).collect();
        let (mut near, far) = tokio::io::duplex(sent.len());
        near.write_all(&sent).await.unwrap();
        drop(near);
        let mut paced = Paced::new(far);
        let mut received = Vec::new();
        let mut reading = std::pin::pin!(paced.read_to_end(&mut received));
        let mut turns = 0;
        std::future::poll_fn(|cx| {
            turns += 1;
            reading.as_mut().poll(cx)
        })
        .await
        .unwrap();
        assert!(turns > 5, "{turns}");
        assert!(received == sent);
    }
}
