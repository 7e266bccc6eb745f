//! The body of a request on its way to the owner of the session.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use engineio_tower::forward::RequestBody;
use h2::SendStream;
use http_body::Body;

use super::kind::Kind;
use crate::link::stream::poll_send;

/// Chunks below this size are put together, up to the second size: a client chooses its chunks, and each one sent costs both
/// nodes a frame.
const SMALL: usize = 4 * 1024;
const GATHERED: usize = 16 * 1024;

/// The frames of a body that are discarded at once, before other tasks run.
const FRAMES: usize = 16;

/// The state of the body.
pub(super) struct Upload {
    /// The bytes that wait for room.
    chunk: Bytes,
    end: End,
    /// The body is read and means nothing.
    is_discarded: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    /// There may be more.
    Open,
    /// The chunk is the last one.
    Seen,
    /// The client broke off behind the chunk.
    Broken,
    /// All of it has been sent, or the owner takes no more.
    Done,
}

/// The body of the client broke off.
pub(super) struct BrokenOff;

impl Upload {
    pub(super) const fn new(kind: Kind) -> Self {
        Self {
            chunk: Bytes::new(),
            end: match kind {
                Kind::Post | Kind::Poll { has_body: true } => End::Open,
                Kind::Poll { .. } | Kind::WebSocket => End::Done,
            },
            is_discarded: matches!(kind, Kind::Poll { .. }),
        }
    }

    /// Sends as much of the body as there is and the owner takes.
    pub(super) fn poll(
        &mut self,
        stream: &mut SendStream<Bytes>,
        body: &mut RequestBody<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), BrokenOff> {
        if self.is_discarded {
            return self.discard(body, cx);
        }
        loop {
            if !self.chunk.is_empty() {
                let last = self.end == End::Seen;
                match poll_send(stream, &mut self.chunk, last, cx) {
                    Poll::Pending => return Ok(()),
                    // The response of the owner tells why.
                    Poll::Ready(false) => self.end = End::Done,
                    Poll::Ready(true) if last => self.end = End::Done,
                    Poll::Ready(true) => {}
                }
            }
            match self.end {
                End::Open => {}
                End::Seen => {
                    let _ = stream.send_data(Bytes::new(), true);
                    self.end = End::Done;
                    return Ok(());
                }
                End::Broken => {
                    // The owner must not take what has come for all of it.
                    stream.send_reset(h2::Reason::CANCEL);
                    self.end = End::Done;
                    return Err(BrokenOff);
                }
                End::Done => return Ok(()),
            }
            self.gather(body, cx);
            if self.chunk.is_empty() && self.end == End::Open {
                return Ok(());
            }
        }
    }

    /// Reads what has arrived of the body.
    fn discard(
        &mut self,
        body: &mut RequestBody<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), BrokenOff> {
        for _ in 0..FRAMES {
            if self.end != End::Open {
                return Ok(());
            }
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(None) => self.end = End::Done,
                Poll::Ready(Some(Err(_))) => return Err(BrokenOff),
                Poll::Ready(Some(Ok(_))) => {}
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Takes the available part of the body. A large chunk is not copied.
    fn gather(&mut self, body: &mut RequestBody<'_>, cx: &mut Context<'_>) {
        let mut gathered = BytesMut::new();
        while self.end == End::Open {
            let chunk = match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => {
                    self.end = End::Seen;
                    break;
                }
                Poll::Ready(Some(Err(_))) => {
                    self.end = End::Broken;
                    break;
                }
                Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            };
            if body.is_end_stream() {
                self.end = End::Seen;
            }
            if gathered.is_empty() && (chunk.len() >= SMALL || self.end == End::Seen) {
                self.chunk = chunk;
                return;
            }
            gathered.extend_from_slice(&chunk);
            if gathered.len() >= GATHERED {
                break;
            }
        }
        self.chunk = gathered.freeze();
    }
}
