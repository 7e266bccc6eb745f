//! The bytes of a WebSocket: they come as the body of a request and leave as the body of its response.

use std::cell::RefCell;
use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use actix_web::body::{BodyStream, BoxBody};
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{Stream, poll_fn};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The number of bytes that are buffered towards the connection before a writer has to wait.
const HIGH_WATER: usize = 64 * 1024;

/// The state that both ends share. They live on one thread, so nothing is locked and no other thread is woken.
#[derive(Default)]
struct Shared {
    out: BytesMut,
    /// Nothing more will be written.
    finished: bool,
    /// The connection is gone.
    gone: bool,
    /// The rest of the request's body after the end of the WebSocket. It is held until the close frame is written:
    /// actix-web would read and drop a body that is not held for as long as it comes.
    rest: Option<Payload>,
    /// The task of the WebSocket, which reads and writes.
    task: Option<Waker>,
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

/// The connection's end, of which the body of the response is made.
struct Outlet(Rc<RefCell<Shared>>);

/// A byte stream that reads what follows the request, and the body that carries what is written to it.
pub(crate) fn bridge(payload: Payload) -> (ActixIo, BoxBody) {
    let shared = Rc::<RefCell<Shared>>::default();
    let outlet = Outlet(Rc::clone(&shared));
    let body = BodyStream::new(poll_fn(move |cx| outlet.poll_next(cx)));
    let io = ActixIo {
        payload,
        chunk: Bytes::new(),
        shared,
    };
    (io, BoxBody::new(body))
}

impl AsyncRead for ActixIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        while self.chunk.is_empty() {
            let mut shared = self.shared.borrow_mut();
            if shared.gone {
                return Poll::Ready(Ok(()));
            }
            shared.task = Some(cx.waker().clone());
            drop(shared);
            self.chunk = match ready!(Pin::new(&mut self.payload).poll_next(cx)) {
                Some(Ok(chunk)) => chunk,
                // A WebSocket has no length that could be missed: the peer closed the connection.
                None | Some(Err(PayloadError::Incomplete(_))) => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(Error::other(error.to_string()))),
            };
        }
        let len = self.chunk.len().min(buf.remaining());
        // Splitting off a whole chunk leaves no reference to its buffer, so an idle client keeps none.
        buf.put_slice(&self.chunk.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ActixIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        let mut shared = self.shared.borrow_mut();
        if shared.gone {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let room = HIGH_WATER.saturating_sub(shared.out.len());
        if room == 0 {
            shared.task = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let len = buf.len().min(room);
        shared.out.extend_from_slice(&buf[..len]);
        wake(&mut shared.body);
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        // The connection has been woken and takes everything at once.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        // The driver drops it next, which ends the body once everything is written.
        Poll::Ready(Ok(()))
    }
}

impl Drop for ActixIo {
    fn drop(&mut self) {
        let mut shared = self.shared.borrow_mut();
        shared.rest = Some(self.payload.take());
        shared.finished = true;
        wake(&mut shared.body);
    }
}

impl Outlet {
    fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let mut shared = self.0.borrow_mut();
        if !shared.out.is_empty() {
            // All of it as one chunk: small ones would each become a packet.
            let chunk = std::mem::take(&mut shared.out).freeze();
            if chunk.len() >= HIGH_WATER {
                wake(&mut shared.task);
            }
            return Poll::Ready(Some(Ok(chunk)));
        }
        if shared.finished {
            return Poll::Ready(None);
        }
        shared.body = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let mut shared = self.0.borrow_mut();
        shared.gone = true;
        wake(&mut shared.task);
    }
}
