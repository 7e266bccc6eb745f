//! The single stream of a session, as bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use quinn::{RecvStream, SendStream, StoppedError, VarInt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};

use crate::session::Session;
use crate::watch::{Deed, Signal};

/// The time that a page has to read what has arrived, beyond a round trip. A browser discards it when the session closes. A
/// busy one needs more than 50 ms. A client that closes its side when it has read the end does not wait for it.
const LINGER: Duration = Duration::from_millis(500);

/// The bytes discarded at once while the peer has time to read.
const DISCARD: usize = 4_096;

/// The stream that the client has opened.
pub(crate) struct Stream {
    pub(crate) session: Session,
    send: SendStream,
    recv: RecvStream,
    signal: Signal,
}

impl Stream {
    pub(crate) fn new(
        session: Session,
        (send, recv): (SendStream, RecvStream),
        signal: Signal,
    ) -> Self {
        Self {
            session,
            send,
            recv,
            signal,
        }
    }

    /// Waits until the peer takes no more data.
    pub(crate) fn stopped(
        &self,
    ) -> impl Future<Output = Result<Option<VarInt>, StoppedError>> + Send + use<> {
        self.send.stopped()
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
        let linger = Instant::now() + self.session.connection.rtt() + LINGER;
        let mut late = [0; DISCARD];
        let read = async { while let Ok(Some(1..)) = self.recv.read(&mut late).await {} };
        let _ = timeout_at(end.min(linger), read).await;
    }

    /// Returns the number of times that the peer has acknowledged packets. The packets carry the written data, apart
    /// from an occasional ping of QUIC.
    fn acknowledgements(&self) -> u64 {
        self.session.connection.stats().frame_rx.acks
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.recv).poll_read(cx, buffer);
        if read.is_ready() {
            return read;
        }
        // After what was sent before.
        match self.signal.get() {
            None => Poll::Pending,
            Some(Deed::SecondStream) => Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            Some(Deed::Stopped) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.send).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.send).poll_shutdown(cx)
    }
}
