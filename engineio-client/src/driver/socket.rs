//! A WebSocket of a session, from its opening to its closing handshake.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use engineio_core::driver::Budget;
use engineio_core::{DisconnectReason, Frame, LinkId};
use tokio::time::{Instant, Sleep};

use crate::net::websocket::{Closed, Ended, WebSocket};

/// The time limit for the server's part of the closing handshake.
const CLOSE_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(1);

/// The maximum number of frames that are taken from the session under one lock.
const BATCH: usize = 16;

/// The bytes of frames after which no further one is taken under the same lock.
const BATCH_BYTES: usize = 32 * 1024;

/// Frames on their way from the session to the WebSocket, which encodes them without the lock.
pub(super) struct Frames {
    slots: [Option<Frame>; BATCH],
    len: usize,
    most: usize,
    /// The session has no more.
    is_last: bool,
}

impl Frames {
    const fn new(most: usize) -> Self {
        Self {
            slots: [const { None }; BATCH],
            len: 0,
            most,
            is_last: false,
        }
    }

    /// Takes frames until there is no more, or enough.
    pub(super) fn fill(&mut self, mut take: impl FnMut() -> Option<Frame>) {
        let mut bytes = 0;
        while self.len < self.most && bytes < BATCH_BYTES {
            let Some(frame) = take() else {
                self.is_last = true;
                return;
            };
            bytes += frame.as_bytes().len();
            self.slots[self.len] = Some(frame);
            self.len += 1;
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn drain(&mut self) -> impl Iterator<Item = Frame> {
        let len = std::mem::take(&mut self.len);
        self.slots[..len].iter_mut().filter_map(Option::take)
    }
}

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) id: LinkId,
    websocket: WebSocket,
    /// The session has announced frames.
    pub(super) has_frames: bool,
    /// Everything that was sent has been written to the network.
    pub(super) is_written: bool,
    /// Set once nothing can be written any more: the error with which the WebSocket will end, unless the server's own
    /// reason arrives within a short time.
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

    /// Returns the part of a turn, in bytes, that a frame takes that was just read.
    pub(super) fn cost_of(&mut self, frame: &Frame) -> usize {
        self.websocket.cost_of(frame)
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame>, Closed>> {
        self.websocket.poll_frame(cx)
    }

    /// Sends the frames that `next` returns, as fast as the server takes them. Returns whether to call this again at
    /// once.
    ///
    /// While the session is closing, each frame is written before the next one is taken, because the last one ends the
    /// session and with it the time that a slow server has.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        is_closing: bool,
        next: impl FnMut(LinkId, &mut Frames),
    ) -> Result<bool, Ended> {
        if let Some((end, mut deadline)) = self.broken.take() {
            if deadline.as_mut().poll(cx).is_ready() || Instant::now() >= deadline.deadline() {
                return Err(end);
            }
            self.broken = Some((end, deadline));
            return Ok(false);
        }
        Ok(match self.poll_write(cx, is_closing, next) {
            Ok(()) => false,
            Err(end) => {
                let deadline = tokio::time::sleep(CLOSE_HANDSHAKE_TIMEOUT);
                self.broken = Some((end, Box::pin(deadline)));
                true
            }
        })
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        is_closing: bool,
        mut next: impl FnMut(LinkId, &mut Frames),
    ) -> Result<(), Ended> {
        let mut frames = Frames::new(if is_closing { 1 } else { BATCH });
        while self.has_frames {
            let ready = match is_closing {
                true => self.websocket.poll_flush(cx),
                false => self.websocket.poll_ready(cx),
            };
            match ready? {
                Poll::Ready(()) => {}
                Poll::Pending => return Ok(()),
            }
            next(self.id, &mut frames);
            self.has_frames = !frames.is_last;
            self.is_written &= frames.is_empty();
            frames
                .drain()
                .for_each(|frame| self.websocket.start_send(frame));
        }
        // Even without a frame there may be a ping to answer.
        self.is_written = self.websocket.poll_flush(cx)?.is_ready();
        Ok(())
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
    /// The server sends no more data.
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
