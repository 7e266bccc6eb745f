//! The two directions of a stream of HTTP/2.

use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::{RecvStream, SendStream};

/// Waits until the stream has room for some of the `len` bytes that are to be sent. Returns how many it takes, or `None` if
/// the other end takes no more.
///
/// Never without data: what is reserved is missing to the other streams of the connection.
pub(crate) fn poll_capacity(
    stream: &mut SendStream<Bytes>,
    len: usize,
    cx: &mut Context<'_>,
) -> Poll<Option<usize>> {
    stream.reserve_capacity(len);
    let mut room = stream.capacity();
    while room == 0 {
        match ready!(stream.poll_capacity(cx)) {
            Some(Ok(capacity)) => room = capacity,
            Some(Err(_)) | None => return Poll::Ready(None),
        }
    }
    Poll::Ready(Some(room))
}

/// Sends a chunk as the stream has room; ready when it is sent, with `false` if the other end takes no more. `last` ends
/// the stream with it.
pub(crate) fn poll_send(
    stream: &mut SendStream<Bytes>,
    chunk: &mut Bytes,
    last: bool,
    cx: &mut Context<'_>,
) -> Poll<bool> {
    while !chunk.is_empty() {
        let Some(room) = ready!(poll_capacity(stream, chunk.len(), cx)) else {
            return Poll::Ready(false);
        };
        let part = chunk.split_to(room.min(chunk.len()));
        if stream.send_data(part, last && chunk.is_empty()).is_err() {
            return Poll::Ready(false);
        }
    }
    Poll::Ready(true)
}

/// The body of a response. One of a single chunk is not copied.
#[derive(Default)]
pub(crate) struct Collected {
    first: Bytes,
    more: BytesMut,
}

impl Collected {
    pub(crate) fn poll(
        &mut self,
        stream: &mut RecvStream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), h2::Error>> {
        while !stream.is_end_stream() {
            let Some(chunk) = ready!(stream.poll_data(cx)) else {
                break;
            };
            let chunk = chunk?;
            let _ = stream.flow_control().release_capacity(chunk.len());
            if self.first.is_empty() {
                self.first = chunk;
                continue;
            }
            if self.more.is_empty() {
                self.more.extend_from_slice(&self.first);
            }
            self.more.extend_from_slice(&chunk);
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) fn finish(self) -> Bytes {
        match self.more.is_empty() {
            true => self.first,
            false => self.more.freeze(),
        }
    }
}
