//! The session as seen by the application's handles: sending, and waiting for room, for the end, or for an empty
//! outbox.

use std::cell::Cell;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use engineio_core as proto;
use engineio_core::driver::{Left, Ticket};
use engineio_core::{DisconnectReason, Message, SendError, SendOptions};
use tokio::task::coop;

use super::direct::Leave;
use super::state::State;
use super::{Session, Until, Wait, now};
use crate::policy::options::WhenFull;
use crate::server::meter;

/// One message, or several that are queued together with nothing in between.
pub(crate) trait Unsent: Sized {
    /// Returns the number of messages, and of their bytes.
    fn size(&self) -> (usize, usize);

    fn queue(
        self,
        options: SendOptions,
        session: &mut proto::server::Session,
    ) -> Result<(), SendError<Self>>;
}

impl Unsent for Message {
    fn size(&self) -> (usize, usize) {
        (1, self.len())
    }

    fn queue(
        self,
        options: SendOptions,
        session: &mut proto::server::Session,
    ) -> Result<(), SendError> {
        session.send_with(self, options)
    }
}

impl Unsent for Vec<Message> {
    fn size(&self) -> (usize, usize) {
        (self.len(), self.iter().map(Message::len).sum())
    }

    fn queue(
        self,
        _: SendOptions,
        session: &mut proto::server::Session,
    ) -> Result<(), SendError<Self>> {
        session.send_many(self)
    }
}

/// The state of a sender whose message was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unqueued {
    /// It returns the error.
    Failed,
    /// It will be woken.
    Waits,
    /// It has to clone its waker, without the lock because that may be the application's code, and to try again.
    NeedsWaker,
}

/// The sends for which a task is charged once. tokio's look at the budget of the task costs some 25 instructions, and a task
/// has 128 charges in a turn: with 16, other tasks wait for about half a millisecond.
const SENDS: u32 = 16;

thread_local! {
    /// The sends of this thread that no task was charged for.
    static UNCHARGED: Cell<u32> = const { Cell::new(0) };
}

/// Lets other tasks of the thread run at times, when a sender always finds room.
#[inline]
fn poll_turn(cx: &mut Context<'_>) -> Poll<()> {
    let sends = UNCHARGED.get() + 1;
    if sends < SENDS {
        UNCHARGED.set(sends);
        return Poll::Ready(());
    }
    charge(cx)
}

/// Charges the task for its sends. One that has no budget left sends in its next turn, and charges that.
#[cold]
fn charge(cx: &mut Context<'_>) -> Poll<()> {
    ready!(coop::poll_proceed(cx)).made_progress();
    UNCHARGED.set(0);
    Poll::Ready(())
}

/// A sender's place in the session's queue. Dropping it hands the turn to the next sender.
struct QueuedSender<'a> {
    session: &'a Arc<Session>,
    ticket: Ticket,
}

impl<'a> QueuedSender<'a> {
    fn new(session: &'a Arc<Session>) -> Self {
        Self {
            session,
            ticket: Ticket::default(),
        }
    }
}

impl Drop for QueuedSender<'_> {
    fn drop(&mut self) {
        if self.ticket.is_queued() {
            let left = self.session.lock().senders.leave(&mut self.ticket);
            left.wake();
        }
    }
}

impl Session {
    pub(crate) fn try_send<U: Unsent>(
        self: &Arc<Self>,
        unsent: U,
        options: SendOptions,
    ) -> Result<(), SendError<U>> {
        self.send_and(unsent, options, Leave::ByTask).0
    }

    /// Sends if there is room; the message leaves as `leave` says. Returns whether the caller has to have it
    /// [written](Self::write_directly).
    pub(crate) fn send_and<U: Unsent>(
        self: &Arc<Self>,
        unsent: U,
        options: SendOptions,
        leave: Leave,
    ) -> (Result<(), SendError<U>>, bool) {
        let when_full = self.server.options.when_full;
        let (messages, bytes) = unsent.size();
        let (sent, deferred) = self.change_and(leave, |state| {
            if messages > 0 && state.has_queued_senders() {
                return Err(SendError::Full(unsent));
            }
            let sent = unsent.queue(options, &mut state.machine);
            if when_full == WhenFull::Disconnect
                && let Err(SendError::Full(unsent)) = sent
            {
                let reason = DisconnectReason::SlowConsumer;
                state.machine.abort(now(), reason);
                return Err(SendError::Closed(unsent));
            }
            sent
        });
        if sent.is_ok() {
            meter::sent(messages, bytes);
        }
        (sent, deferred)
    }

    /// Sends, waiting for its turn and for room (back pressure).
    pub(crate) async fn send<U: Unsent>(
        self: &Arc<Self>,
        unsent: U,
        options: SendOptions,
    ) -> Result<(), SendError<U>> {
        let mut unsent = Some(unsent);
        let mut sender = QueuedSender::new(self);
        poll_fn(|cx| {
            ready!(poll_turn(cx));
            let mut waker = None;
            while let Some(current) = unsent.take() {
                match self.poll_send(current, options, &mut sender, &mut waker) {
                    Ok(()) => break,
                    Err((error, Unqueued::Failed)) => return Poll::Ready(Err(error)),
                    Err((error, unqueued)) => {
                        unsent = Some(error.into_inner());
                        if unqueued == Unqueued::Waits {
                            return Poll::Pending;
                        }
                        waker = Some(cx.waker().clone());
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Sends from a plain thread, blocking it while there is no room.
    ///
    /// Panics inside an async task if there is none.
    pub(crate) fn blocking_send<U: Unsent>(
        self: &Arc<Self>,
        unsent: U,
    ) -> Result<(), SendError<U>> {
        let options = SendOptions::new();
        match self.try_send(unsent, options) {
            Err(SendError::Full(unsent)) => match tokio::runtime::Handle::try_current() {
                // A thread of a runtime's blocking pool; anywhere else inside a runtime this is what panics.
                Ok(runtime) => runtime.block_on(self.send(unsent, options)),
                Err(_) => super::wait::wait(self.send(unsent, options)),
            },
            result => result,
        }
    }

    /// Sends if the message leaves at once. Returns whether it was sent.
    pub(crate) fn send_volatile(self: &Arc<Self>, message: Message) -> bool {
        let bytes = message.len();
        // A message that is not sent is dropped here, not under the lock.
        let sent = self.change(|state| {
            if state.machine.is_ready() && !state.has_queued_senders() {
                state.machine.send(message)
            } else {
                Err(SendError::Full(message))
            }
        });
        if sent.is_ok() {
            meter::sent(1, bytes);
        }
        sent.is_ok()
    }

    /// Sends, or registers the task to be woken when it is its turn and there is room (back pressure). Leaves what is to be
    /// dropped in place of the `waker`.
    ///
    /// Until the application has accepted the client, nothing leaves the outbox, so a full one is an error at once.
    fn poll_send<U: Unsent>(
        self: &Arc<Self>,
        unsent: U,
        options: SendOptions,
        sender: &mut QueuedSender<'_>,
        waker: &mut Option<Waker>,
    ) -> Result<(), (SendError<U>, Unqueued)> {
        if self.server.options.when_full != WhenFull::Wait {
            let sent = self.try_send(unsent, options);
            return sent.map_err(|error| (error, Unqueued::Failed));
        }
        let (messages, bytes) = unsent.size();
        let mut left = Left::default();
        let sent = self.change(|state| {
            let is_next = messages == 0 || state.senders.may_send(&sender.ticket);
            let sent = if state.machine.is_open() && !is_next {
                Err(SendError::Full(unsent))
            } else {
                unsent.queue(options, &mut state.machine)
            };
            let wait = state.accepted.is_some() && matches!(sent, Err(SendError::Full(_)));
            let unqueued = if !wait {
                // There may be room for one more.
                left = state.senders.leave(&mut sender.ticket);
                Unqueued::Failed
            } else if let Some(given) = waker.take() {
                *waker = state.senders.wait(&mut sender.ticket, given);
                Unqueued::Waits
            } else {
                Unqueued::NeedsWaker
            };
            sent.map_err(|error| (error, unqueued))
        });
        left.wake();
        sent.inspect(|()| meter::sent(messages, bytes))
    }

    /// Waits until the session is closed, and returns the reason.
    pub(crate) async fn closed(&self) -> DisconnectReason {
        let mut wait = Wait::new(self, Until::Closed);
        poll_fn(|cx| match wait.poll(cx, |state| state.machine.closed()) {
            Some(reason) => Poll::Ready(reason),
            None => Poll::Pending,
        })
        .await
    }

    /// Waits until the outbox is empty, or the session is closed.
    pub(crate) async fn flushed(&self) {
        let mut wait = Wait::new(self, Until::Flushed);
        // Nobody takes anything before the application has accepted the client; it would wait for itself.
        let is_flushed = |state: &State| {
            state.accepted.is_none()
                || state.machine.queued_messages() == 0
                || state.machine.closed().is_some()
        };
        poll_fn(
            |cx| match wait.poll(cx, |state| is_flushed(state).then_some(())) {
                Some(()) => Poll::Ready(()),
                None => Poll::Pending,
            },
        )
        .await;
    }
}
