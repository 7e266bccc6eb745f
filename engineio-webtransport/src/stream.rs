//! The single stream of a session, as bytes.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};
use web_transport_quinn::{RecvStream, SendStream, Session};

/// The time that a page has to read what has arrived, beyond a round trip. A browser discards it when the session closes. A
/// busy one needs more than 50 ms. A client that closes its side when it has read the end does not wait for it.
const LINGER: Duration = Duration::from_millis(500);

/// The bytes discarded at once while the peer has time to read.
const DISCARD: usize = 4_096;

/// The stream that the client has opened.
pub(crate) struct Stream {
    /// Shared with `intruder`, because a clone of a session has its own copies of the request and the response.
    session: Arc<Session>,
    send: SendStream,
    recv: RecvStream,
    /// Completes when the client opens another stream. It is in a set so that it is polled only when it was itself
    /// woken, not with each packet.
    intruder: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl Stream {
    pub(crate) fn new(session: Session, send: SendStream, recv: RecvStream) -> Self {
        let session = Arc::new(session);
        let intruder = FuturesUnordered::new();
        intruder.push(intrusion(Arc::clone(&session)).boxed());
        Self {
            session,
            send,
            recv,
            intruder,
        }
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Waits until the peer has received the written data and has had some time to read it, or until it closes its
    /// side. Gives up after `patience`, or when it has acknowledged nothing for the time of `stall`.
    pub(crate) async fn settle(&mut self, patience: Duration, stall: Duration) {
        let end = Instant::now() + patience;
        loop {
            let acknowledged = self.acknowledgements();
            match timeout_at(end.min(Instant::now() + stall), self.send.stopped()).await {
                Ok(Ok(None)) => break,
                Ok(_) => return,
                Err(_) if Instant::now() >= end || self.acknowledgements() == acknowledged => {
                    return;
                }
                Err(_) => {}
            }
        }
        let linger = Instant::now() + self.session.rtt() + LINGER;
        let mut late = [0; DISCARD];
        let read = async {
            while let Ok(1..) = self
                .recv
                .read(&mut late)
                .await
                .map(Option::unwrap_or_default)
            {}
        };
        let _ = timeout_at(end.min(linger), read).await;
    }

    /// Returns the number of times that the peer has acknowledged packets. The packets carry the written data, apart
    /// from an occasional ping of QUIC.
    fn acknowledgements(&self) -> u64 {
        quinn::Connection::stats(&self.session).frame_rx.acks
    }
}

/// Waits for a stream that the client must not open.
async fn intrusion(session: Arc<Session>) {
    let opened = {
        let bidirectional = pin!(session.accept_bi());
        let unidirectional = pin!(session.accept_uni());
        match select(bidirectional, unidirectional).await {
            Either::Left((opened, _)) => opened.is_ok(),
            Either::Right((opened, _)) => opened.is_ok(),
        }
    };
    if !opened {
        // The session has ended, which the stream notices by itself.
        std::future::pending::<()>().await;
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.recv).poll_read(cx, buffer) {
            Poll::Pending => match self.intruder.poll_next_unpin(cx) {
                Poll::Ready(Some(())) => Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                _ => Poll::Pending,
            },
            ready => ready,
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.send).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.send).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.send).poll_shutdown(cx)
    }
}
