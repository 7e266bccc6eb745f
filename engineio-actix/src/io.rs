//! The bytes of a WebSocket: they come as the body of a request and leave as the body of its response.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use bytes::{Buf, Bytes, BytesMut};
use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is buffered towards the connection before a writer has to wait.
const HIGH_WATER: usize = 64 * 1024;

/// What both ends share. They live on one thread, so that nothing is locked and nothing wakes another thread.
#[derive(Default)]
struct Shared {
    out: BytesMut,
    /// Nothing more will be written.
    finished: bool,
    /// The connection is gone.
    gone: bool,
    writer: Option<Waker>,
    reader: Option<Waker>,
    body: Option<Waker>,
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// The server's end: a byte stream.
pub(crate) struct ActixIo {
    payload: Payload,
    chunk: Bytes,
    shared: Rc<RefCell<Shared>>,
}

/// The connection's end: the body of the response.
pub(crate) struct OutBody(Rc<RefCell<Shared>>);

/// Both ends of the stream that reads what follows the request.
pub(crate) fn bridge(payload: Payload) -> (ActixIo, OutBody) {
    let shared = Rc::<RefCell<Shared>>::default();
    let io = ActixIo {
        payload,
        chunk: Bytes::new(),
        shared: Rc::clone(&shared),
    };
    (io, OutBody(shared))
}

impl AsyncRead for ActixIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.chunk.is_empty() {
            let mut shared = self.shared.borrow_mut();
            if shared.gone {
                return Poll::Ready(Ok(()));
            }
            shared.reader = Some(cx.waker().clone());
            drop(shared);
            self.chunk = match ready!(Pin::new(&mut self.payload).poll_next(cx)) {
                Some(Ok(chunk)) => chunk,
                // A WebSocket has no length that could be missed: the peer closed the connection.
                None | Some(Err(PayloadError::Incomplete(_))) => return Poll::Ready(Ok(())),
                Some(Err(PayloadError::Io(error))) => return Poll::Ready(Err(error)),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error.to_string()))),
            };
        }
        let len = self.chunk.len().min(buf.remaining());
        buf.put_slice(&self.chunk[..len]);
        self.chunk.advance(len);
        if self.chunk.is_empty() {
            // An idle client must not pin the buffer that its last bytes came in.
            self.chunk = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ActixIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut shared = self.shared.borrow_mut();
        if shared.gone || shared.finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = HIGH_WATER.saturating_sub(shared.out.len());
        if room == 0 {
            shared.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let len = buf.len().min(room);
        shared.out.extend_from_slice(&buf[..len]);
        wake(&mut shared.body);
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection has been woken and takes everything at once.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.shared.borrow_mut();
        shared.finished = true;
        wake(&mut shared.body);
        Poll::Ready(Ok(()))
    }
}

impl Drop for ActixIo {
    fn drop(&mut self) {
        let mut shared = self.shared.borrow_mut();
        shared.finished = true;
        wake(&mut shared.body);
    }
}

impl MessageBody for OutBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        let mut shared = self.0.borrow_mut();
        if !shared.out.is_empty() {
            // All of it as one chunk: small ones would each become a packet.
            let chunk = std::mem::take(&mut shared.out).freeze();
            wake(&mut shared.writer);
            return Poll::Ready(Some(Ok(chunk)));
        }
        if shared.finished {
            return Poll::Ready(None);
        }
        shared.body = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for OutBody {
    fn drop(&mut self) {
        let mut shared = self.0.borrow_mut();
        shared.gone = true;
        wake(&mut shared.writer);
        wake(&mut shared.reader);
    }
}
