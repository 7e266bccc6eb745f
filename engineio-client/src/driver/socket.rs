//! A WebSocket of a session, from its opening to its farewell.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use engineio_core::{DisconnectReason, Frame, LinkId};
use tokio::time::{Instant, Sleep};

use crate::net::websocket::{Ended, WebSocket};

/// How many frames are read before anything else gets its turn.
const READ_BUDGET: usize = 64;

/// How long the server may take for its part of the closing handshake.
const FAREWELL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) id: LinkId,
    websocket: WebSocket,
    /// The session has announced frames.
    pub(super) has_frames: bool,
    unflushed: bool,
    /// Nothing can be written any more: the end that this will be unless the server has said another, for which it is
    /// waited a little.
    broken: Option<(Ended, Pin<Box<Sleep>>)>,
}

impl Socket {
    pub(super) const fn new(id: LinkId, websocket: WebSocket) -> Self {
        Self {
            id,
            websocket,
            has_frames: false,
            unflushed: false,
            broken: None,
        }
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, Ended>> {
        self.websocket.poll_frame(cx)
    }

    /// Sends what `next` gives, as fast as the server takes it. Returns whether anything was taken.
    ///
    /// While the session is closing, each frame is out before the next is taken: the last one ends the session, and with
    /// it the time that a slow server has.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        is_closing: bool,
        next: impl FnMut(LinkId) -> Option<Frame>,
    ) -> Result<bool, Ended> {
        if let Some((end, mut deadline)) = self.broken.take() {
            if deadline.as_mut().poll(cx).is_ready() || Instant::now() >= deadline.deadline() {
                return Err(end);
            }
            self.broken = Some((end, deadline));
            return Ok(false);
        }
        self.poll_write(cx, is_closing, next).or_else(|end| {
            self.broken = Some((end, Box::pin(tokio::time::sleep(FAREWELL))));
            Ok(true)
        })
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        is_closing: bool,
        mut next: impl FnMut(LinkId) -> Option<Frame>,
    ) -> Result<bool, Ended> {
        let mut sent = false;
        while self.has_frames {
            let ready = match is_closing {
                true => self.websocket.poll_flush(cx),
                false => self.websocket.poll_ready(cx),
            };
            match ready? {
                Poll::Ready(()) => {}
                Poll::Pending => return Ok(sent),
            }
            sent = true;
            match next(self.id) {
                Some(frame) => {
                    self.websocket.start_send(frame)?;
                    self.unflushed = true;
                }
                None => self.has_frames = false,
            }
        }
        if self.unflushed && self.websocket.poll_flush(cx)?.is_ready() {
            self.unflushed = false;
        }
        Ok(sent)
    }

    /// Begins to close, behind the frames that were sent.
    pub(super) fn close(mut self, reason: DisconnectReason) -> Farewell {
        let told = self.websocket.start_close(reason).is_ok();
        Farewell {
            websocket: self.websocket,
            // Nobody is listening if the close frame could not be sent.
            deadline: Box::pin(tokio::time::sleep(if told {
                FAREWELL
            } else {
                Duration::ZERO
            })),
        }
    }
}

/// A WebSocket that waits for the server's close frame.
#[derive(Debug)]
pub(super) struct Farewell {
    websocket: WebSocket,
    deadline: Pin<Box<Sleep>>,
}

impl Farewell {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_over = self.deadline.as_mut().poll(cx).is_ready();
        // A server that sends without a pause must not put the end off; see `Connection::poll_timer`.
        if is_over || Instant::now() >= self.deadline.deadline() {
            return Poll::Ready(());
        }
        if let Poll::Ready(Err(_)) = self.websocket.poll_flush(cx) {
            return Poll::Ready(());
        }
        for _ in 0..READ_BUDGET {
            match self.websocket.poll_frame(cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
