//! An open link of a session, up to the end of its closing handshake.

use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use engineio_core::client::{Input, Session};
use engineio_core::driver::Budget;
use engineio_core::{DisconnectReason, Frame, LinkId};
use tokio::time::{Instant, Sleep, sleep};

use super::give_way;
use crate::error::Ended;
use crate::net::link::Link;
use crate::net::route::Route;
use crate::shared::Shared;

/// The time limit for the server's part of the closing handshake, unless a graceful close has more.
const CLOSE_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(1);

/// The maximum number of frames that are taken from the session under one lock.
const BATCH: usize = 16;

/// The bytes of frames after which no further one is taken under the same lock.
const BATCH_BYTES: usize = 32 * 1024;

/// Frames on their way from the session to the link, which encodes them without the lock.
struct Frames {
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
    fn fill(&mut self, mut take: impl FnMut() -> Option<Frame>) {
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

    const fn is_empty(&self) -> bool {
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
    link: Link,
    /// The session has announced frames.
    pub(super) has_frames: bool,
    /// Everything that was sent has been written to the network.
    pub(super) is_written: bool,
    /// Set once nothing can be written any more: the error with which the link will end, unless the server's own
    /// reason arrives within a short time.
    broken: Option<Box<Broken>>,
}

#[derive(Debug)]
struct Broken {
    end: Ended,
    /// The connection was reset.
    is_reset: bool,
    deadline: Pin<Box<Sleep>>,
}

impl Socket {
    pub(super) const fn new(id: LinkId, link: Link) -> Self {
        Self {
            id,
            link,
            has_frames: false,
            is_written: true,
            broken: None,
        }
    }

    /// Reads and writes frames. Returns whether to call this again at once.
    ///
    /// # Errors
    ///
    /// Returns why the link has ended.
    pub(super) fn poll(
        &mut self,
        shared: &Shared,
        route: &Route,
        cx: &mut Context<'_>,
        budget: &mut Budget,
    ) -> Result<bool, Ended> {
        let id = self.id;
        // What comes while it is closing is dropped, and a server that waits for it to be read would not read.
        let look = |session: &Session| {
            let is_closing = !session.is_open();
            let reads = (session.wants_input() || is_closing) && session.closed().is_none();
            (reads, is_closing)
        };
        let (mut reads, mut is_closing) = look(&shared.lock().session);
        // Of the first of the frames that came together.
        let mut arrived = None;
        while reads && !budget.is_spent() {
            match self.link.poll_frame(cx) {
                Poll::Ready(Ok(None)) => budget.charge_empty_read(),
                Poll::Ready(Ok(Some(frame))) => {
                    budget.charge_frame(self.link.cost_of(&frame));
                    let mut state = shared.lock();
                    let now = *arrived.get_or_insert_with(|| state.clock.now());
                    state.session.handle_input(now, Input::LinkFrame(id, frame));
                    (reads, is_closing) = look(&state.session);
                }
                Poll::Ready(Err(end)) => {
                    // A connection tells of a reset once, and after that only that it has ended.
                    let told = self
                        .broken
                        .take_if(|broken| broken.is_reset && end.is_eof());
                    if let Some(broken) = told {
                        return Err(broken.end);
                    }
                    return Err(end.describe(|| route.secrets(Some(&shared.lock().session))));
                }
                Poll::Pending => break,
            }
        }
        self.poll_send(cx, is_closing, budget, |frames: &mut Frames| {
            let mut state = shared.lock();
            // The frames before one that is taken while it is closing are written; the last is the close packet.
            state.is_written |= is_closing;
            frames.fill(|| state.session.take_frame(id));
            state.is_written &= frames.is_empty() || state.session.closed().is_some();
        })
    }

    /// Sends the frames that `next` returns, as fast as the server takes them. Returns whether to call this again at
    /// once.
    ///
    /// While the session is closing, each frame is written before the next one is taken, because the last one ends the
    /// session and with it the time that a slow server has.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        is_closing: bool,
        budget: &mut Budget,
        next: impl FnMut(&mut Frames),
    ) -> Result<bool, Ended> {
        if let Some(mut broken) = self.broken.take() {
            let deadline = &mut broken.deadline;
            if deadline.as_mut().poll(cx).is_ready() || Instant::now() >= deadline.deadline() {
                return Err(broken.end);
            }
            self.broken = Some(broken);
            return Ok(false);
        }
        Ok(match self.poll_write(cx, is_closing, budget, next) {
            Ok(()) => false,
            Err(end) => {
                let deadline = sleep(CLOSE_HANDSHAKE_TIMEOUT);
                let deadline = Box::pin(deadline);
                let cause = end.1.as_ref().and_then(StdError::source);
                let cause = cause.and_then(|cause| cause.downcast_ref::<io::Error>());
                let is_reset =
                    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::ConnectionReset);
                self.broken = Some(Box::new(Broken {
                    end,
                    is_reset,
                    deadline,
                }));
                true
            }
        })
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        is_closing: bool,
        budget: &mut Budget,
        mut next: impl FnMut(&mut Frames),
    ) -> Result<(), Ended> {
        let mut frames = Frames::new(if is_closing { 1 } else { BATCH });
        while self.has_frames {
            let ready = match is_closing {
                true => self.link.poll_flush(cx),
                false => self.link.poll_ready(cx),
            };
            match ready? {
                Poll::Ready(()) => {}
                Poll::Pending => return Ok(()),
            }
            next(&mut frames);
            self.has_frames = !frames.is_last;
            self.is_written &= frames.is_empty();
            frames.drain().for_each(|frame| self.link.start_send(frame));
            if self.has_frames {
                // Other threads may send as fast as the server reads.
                budget.charge_round();
                if budget.is_spent() {
                    break;
                }
            }
        }
        // Even without a frame there may be a ping to answer.
        self.is_written = self.link.poll_flush(cx)?.is_ready();
        Ok(())
    }

    /// Begins to close, behind the frames that were sent.
    pub(super) fn close(mut self, reason: DisconnectReason, patience: Duration) -> CloseHandshake {
        self.link.start_close(reason);
        CloseHandshake {
            link: self.link,
            heard: false,
            deadline: Box::pin(sleep(CLOSE_HANDSHAKE_TIMEOUT)),
            is_graceful: !patience.is_zero(),
            end: Instant::now() + patience,
            output: Output::Open,
        }
    }

    /// Answers the end of a link that the server has begun, or returns `None` if nothing can be sent.
    pub(super) fn answer(
        self,
        reason: DisconnectReason,
        patience: Duration,
    ) -> Option<CloseHandshake> {
        self.link
            .owes_answer()
            .then(|| self.close(reason, patience))
    }
}

/// A link that sends its last frames and waits for the server's part of the end.
#[derive(Debug)]
pub(super) struct CloseHandshake {
    link: Link,
    /// The server sends no more data, or the connection has broken.
    heard: bool,
    deadline: Pin<Box<Sleep>>,
    /// The session was closed gracefully, so the server is to get all messages.
    is_graceful: bool,
    /// The end of the time for a server that may still take what was sent.
    end: Instant,
    output: Output,
}

/// The client's direction of a connection that is closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Open,
    /// The server does not answer the close. It is to read that nothing follows, in case that it looks for that only.
    Ending,
    Ended,
}

impl CloseHandshake {
    /// Returns whether the server may not have all messages, now that the handshake is over.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.link.is_in_doubt(self.is_graceful && !self.heard)
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A server that sends without a pause must not put the end off; see `Connection::poll_timer`.
        while self.deadline.as_mut().poll(cx).is_ready()
            || Instant::now() >= self.deadline.deadline()
        {
            let now = Instant::now();
            if now >= self.end || !self.link.is_still_sending() {
                return Poll::Ready(());
            }
            let next = self.end.min(now + CLOSE_HANDSHAKE_TIMEOUT);
            self.deadline.as_mut().reset(next);
            if self.output == Output::Open {
                self.output = Output::Ending;
            }
        }
        let flushed = match self.link.poll_flush(cx) {
            Poll::Ready(Err(_)) => {
                self.heard = true;
                return Poll::Ready(());
            }
            flushed => flushed.is_ready(),
        };
        if flushed && self.output == Output::Ending && self.link.poll_end_output(cx).is_ready() {
            self.output = Output::Ended;
        }
        let mut budget = Budget::for_frames();
        while !self.heard {
            if budget.is_spent() {
                give_way(cx);
                return Poll::Pending;
            }
            match self.link.poll_frame(cx) {
                Poll::Ready(Ok(Some(frame))) => budget.charge_frame(self.link.cost_of(&frame)),
                Poll::Ready(Ok(None)) => budget.charge_empty_read(),
                Poll::Ready(Err(_)) => self.heard = true,
                Poll::Pending => return Poll::Pending,
            }
        }
        match flushed {
            true => self.link.poll_shut_down(cx),
            false => Poll::Pending,
        }
    }
}
