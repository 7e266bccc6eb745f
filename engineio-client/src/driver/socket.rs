//! A WebSocket of a session, from its opening to its closing handshake.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use engineio_core::driver::Budget;
use engineio_core::{DisconnectReason, Frame, LinkId};
use tokio::time::{Instant, Sleep};

use crate::net::websocket::{Ended, WebSocket};

/// The time limit for the server's part of the closing handshake.
const CLOSE_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) id: LinkId,
    websocket: WebSocket,
    /// The session has announced frames.
    pub(super) has_frames: bool,
    /// Everything that was sent has been written to the network.
    pub(super) is_written: bool,
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
            is_written: true,
            broken: None,
        }
    }

    /// Returns what a frame that was just read takes of a turn, in bytes.
    pub(super) fn cost_of(&mut self, frame: &Frame) -> usize {
        self.websocket.cost_of(frame)
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame>, Ended>> {
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
            self.broken = Some((end, Box::pin(tokio::time::sleep(CLOSE_HANDSHAKE_TIMEOUT))));
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
                    self.websocket.start_send(frame);
                    self.is_written = false;
                }
                None => self.has_frames = false,
            }
        }
        // Even without a frame there may be a ping to answer.
        self.is_written = self.websocket.poll_flush(cx)?.is_ready();
        Ok(sent)
    }

    /// Begins to close, behind the frames that were sent.
    pub(super) fn close(mut self, reason: DisconnectReason) -> CloseHandshake {
        self.websocket.start_close(reason);
        CloseHandshake {
            websocket: self.websocket,
            heard: false,
            deadline: Box::pin(tokio::time::sleep(CLOSE_HANDSHAKE_TIMEOUT)),
        }
    }

    /// Answers the close frame or the violation that ended the WebSocket, or returns `None` if nothing can be sent.
    pub(super) fn answer(self, reason: DisconnectReason) -> Option<CloseHandshake> {
        self.websocket.owes_answer().then(|| self.close(reason))
    }
}

/// A WebSocket that sends its last frames and waits for the server's close frame.
#[derive(Debug)]
pub(super) struct CloseHandshake {
    websocket: WebSocket,
    /// The server sends nothing any more.
    heard: bool,
    deadline: Pin<Box<Sleep>>,
}

impl CloseHandshake {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_over = self.deadline.as_mut().poll(cx).is_ready();
        // A server that sends without a pause must not put the end off; see `Connection::poll_timer`.
        if is_over || Instant::now() >= self.deadline.deadline() {
            return Poll::Ready(());
        }
        let flushed = match self.websocket.poll_flush(cx) {
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            flushed => flushed.is_ready(),
        };
        let mut budget = Budget::for_frames();
        while !self.heard {
            if budget.is_spent() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.websocket.poll_frame(cx) {
                Poll::Ready(Ok(Some(frame))) => budget.charge_frame(self.websocket.cost_of(&frame)),
                Poll::Ready(Ok(None)) => budget.charge_empty_read(),
                Poll::Ready(Err(_)) => self.heard = true,
                Poll::Pending => return Poll::Pending,
            }
        }
        if !flushed {
            return Poll::Pending;
        }
        self.websocket.shut_down(cx);
        Poll::Ready(())
    }
}
