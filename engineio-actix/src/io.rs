//! The bytes of a WebSocket: they come as the body of a request and leave as the body of its response.

use std::cell::RefCell;
use std::io::{Error, Result};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use actix_web::body::{BodyStream, BoxBody};
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{StreamExt, poll_fn};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The number of bytes that are buffered towards the connection before a writer has to wait.
const HIGH_WATER: usize = 64 * 1024;

/// The state that both ends share. They live on one thread, so nothing is locked and no other thread is woken.
struct Shared {
    /// The input of the client. It is held until both ends are gone, after the close frame is written: actix-web would
    /// read and drop a body that is not held for as long as it comes.
    payload: Payload,
    chunk: Bytes,
    out: BytesMut,
    /// One of the ends is gone: the WebSocket has ended, or the connection.
    closed: bool,
    /// The task of the WebSocket, which reads and writes.
    task: Option<Waker>,
    /// The task of the connection, which sends the body of the response.
    body: Option<Waker>,
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// One of the two ends: the server's is a byte stream, and the connection's makes the body of the response.
pub(crate) struct End(Rc<RefCell<Shared>>);

/// Returns a byte stream that reads what follows the request, and the body that carries what is written to it.
pub(crate) fn bridge(payload: Payload) -> (End, BoxBody) {
    let shared = Rc::new(RefCell::new(Shared {
        payload,
        chunk: Bytes::new(),
        out: BytesMut::new(),
        closed: false,
        task: None,
        body: None,
    }));
    let outlet = End(Rc::clone(&shared));
    let body = BodyStream::new(poll_fn(move |cx| outlet.poll_next(cx)));
    (End(shared), BoxBody::new(body))
}

impl Drop for End {
    fn drop(&mut self) {
        let mut shared = self.0.borrow_mut();
        shared.closed = true;
        wake(&mut shared.task);
        wake(&mut shared.body);
    }
}

impl End {
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
        if shared.closed {
            return Poll::Ready(None);
        }
        shared.body = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let shared = &mut *self.0.borrow_mut();
        while shared.chunk.is_empty() {
            shared.task = Some(cx.waker().clone());
            let end = match shared.payload.poll_next_unpin(cx) {
                Poll::Pending if !shared.closed => return Poll::Pending,
                Poll::Ready(Some(Ok(chunk))) => {
                    shared.chunk = chunk;
                    continue;
                }
                // A WebSocket has no length that could be missed: the peer closed the connection.
                Poll::Ready(None | Some(Err(PayloadError::Incomplete(_)))) | Poll::Pending => {
                    Ok(())
                }
                Poll::Ready(Some(Err(error))) => Err(Error::other(error.to_string())),
            };
            return Poll::Ready(end);
        }
        // Splitting off a whole chunk leaves no reference to its buffer, so an idle client keeps none.
        let len = shared.chunk.len().min(buf.remaining());
        buf.put_slice(&shared.chunk.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        let mut shared = self.0.borrow_mut();
        if shared.closed {
            // The answers to what had arrived before the end go nowhere, as with a socket whose peer is gone: an error
            // would end the session before it is handled. The end itself is read.
            return Poll::Ready(Ok(buf.len()));
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
