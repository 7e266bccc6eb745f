//! The state that the application's handles and the driver share, behind a lock that is never held across an `await`.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use engineio_core::client::Session;
use engineio_core::driver::Ticket;
use engineio_core::{DisconnectReason, Message};

use crate::account::Account;
use crate::delivery::{Delivery, Event};
use crate::settings::Settings;
use crate::state::{Phase, State};
use crate::wakers::{BATCH, Interest, Key};
use crate::{FlushError, SendError, meter};

pub(crate) struct Shared {
    state: Mutex<State>,
}

/// Without messages and ids, which must not be logged.
impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.lock();
        f.debug_struct("Session")
            .field("transport", &state.session.transport())
            .field("is_open", &state.session.is_open())
            .field("reason", &state.session.closed())
            .field("queued", &state.session.queued_messages())
            .finish()
    }
}

/// Removes its waker from the list when it is dropped.
struct Waiter<'a> {
    shared: &'a Shared,
    slot: Option<Key>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if self.slot.is_some() {
            let removed = self.shared.lock().wakers.remove(&mut self.slot);
            drop(removed);
        }
    }
}

/// Leaves the queue when it is dropped.
struct Sender<'a> {
    shared: &'a Shared,
    ticket: Ticket,
}

impl Drop for Sender<'_> {
    fn drop(&mut self) {
        if self.ticket.is_queued() {
            let mut state = self.shared.lock();
            let left = state.senders.leave(&mut self.ticket);
            let was_last = state.senders.is_empty();
            drop(state);
            left.wake();
            if was_last {
                // A sink lets the senders go first, and nothing else may tell it that the last one gave up.
                self.shared.wake(Interest::Outbox);
            }
        }
    }
}

impl Shared {
    pub(crate) fn new(session: Session, delivery: Delivery, settings: &Settings) -> Arc<Self> {
        let may_return = settings.reconnect.is_some();
        let state = State::new(
            session,
            delivery,
            may_return,
            settings.session.close_timeout,
        );
        Arc::new(Self {
            state: Mutex::new(state),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `check` has an answer; it is asked again after each change of that kind.
    pub(crate) async fn wait<T>(
        &self,
        interest: Interest,
        mut check: impl FnMut(&mut State) -> Option<T>,
    ) -> T {
        let mut waiter = Waiter {
            shared: self,
            slot: None,
        };
        poll_fn(|cx| self.poll_wait(&mut waiter.slot, interest, cx, &mut check)).await
    }

    /// Polls a [`wait`](Self::wait); `slot` keeps the place of the waker in the list between two calls.
    pub(crate) fn poll_wait<T>(
        &self,
        slot: &mut Option<Key>,
        interest: Interest,
        cx: &Context<'_>,
        check: impl FnOnce(&mut State) -> Option<T>,
    ) -> Poll<T> {
        // Cloned and dropped without the lock: both may be the application's code.
        let waker = cx.waker().clone();
        let mut state = self.lock();
        if let Some(answer) = check(&mut state) {
            let removed = state.wakers.remove(slot);
            drop(state);
            drop((removed, waker));
            return Poll::Ready(answer);
        }
        let replaced = state.wakers.register(slot, interest, waker);
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    /// Wakes those who wait for this change, without the lock. Of the senders, one is woken where there may be room,
    /// and all if the session accepts no more messages.
    pub(crate) fn wake(&self, change: Interest) {
        if change != Interest::Events {
            let mut state = self.lock();
            let is_open = state.session.is_open();
            let first = is_open.then(|| state.senders.first()).flatten();
            let all = (!is_open).then(|| state.senders.close());
            drop(state);
            let all = all.into_iter().flatten();
            first.into_iter().chain(all).for_each(Waker::wake);
        }
        let mut woken = [const { None::<Waker> }; BATCH];
        let end = self.lock().wakers.next_key();
        loop {
            let more = self.lock().wakers.take(change, end, &mut woken);
            woken
                .iter_mut()
                .filter_map(Option::take)
                .for_each(Waker::wake);
            if !more {
                return;
            }
        }
    }

    /// Moves on to another phase, unless the last one is reached, and wakes everybody.
    pub(crate) fn enter(&self, phase: Phase) {
        let mut state = self.lock();
        if !state.phase().is_done() {
            state.set_phase(phase);
        }
        drop(state);
        self.wake(Interest::Phase);
    }

    /// Queues a message if there is room for it and no other sender waits.
    pub(crate) fn try_send(&self, message: Message, account: &Account) -> Result<(), SendError> {
        let bytes = message.len();
        let mut state = self.lock();
        let held = send_held_first(&mut state, account);
        let outcome = match held {
            Poll::Ready(_) => try_send(&mut state, message, account),
            Poll::Pending if state.session.is_open() => Err(SendError::Full(message)),
            Poll::Pending => Err(SendError::Closed(message)),
        };
        drop(state);
        if let Poll::Ready(Some(held)) = held {
            meter::sent(held);
        }
        if outcome.is_ok() {
            meter::sent(bytes);
        }
        outcome
    }

    /// Queues a message of the sink, or keeps it until there is room for it.
    pub(crate) fn sink(&self, message: Message, account: &Account) -> Result<(), SendError> {
        let bytes = message.len();
        let mut state = self.lock();
        if state.held_bytes().is_some() {
            // Not asked by `poll_ready`.
            return Err(SendError::Full(message));
        }
        match try_send(&mut state, message, account) {
            Err(SendError::Full(message)) => state.hold(message),
            Err(SendError::Closed(message)) if state.is_coming_back() => state.hold(message),
            Err(error) => return Err(error),
            Ok(()) => {
                drop(state);
                meter::sent(bytes);
            }
        }
        Ok(())
    }

    /// Waits until the message that the sink holds is queued, or will never be.
    pub(crate) fn poll_held(
        &self,
        slot: &mut Option<Key>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        let queued = self.poll_wait(slot, Interest::Outbox, cx, |state| {
            let bytes = state.held_bytes();
            let before = state.queued();
            let outcome = state.send_held()?;
            Some((outcome, bytes.filter(|_| state.queued() > before)))
        });
        let (outcome, sent) = ready!(queued);
        sent.into_iter().for_each(meter::sent);
        Poll::Ready(outcome)
    }

    /// Queues the message in `unsent` when there is room for it and it is this sender's turn.
    pub(crate) fn poll_send(
        &self,
        ticket: &mut Ticket,
        unsent: &mut Option<Message>,
        account: &Account,
        cx: &Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        let bytes = unsent.as_ref().map_or(0, Message::len);
        let mut waker = None;
        loop {
            let mut state = self.lock();
            let mut outcome = None;
            if state.senders.may_send(ticket) {
                match send_held_first(&mut state, account) {
                    Poll::Ready(None) => outcome = state.send_when_possible(unsent),
                    Poll::Ready(Some(held)) => {
                        drop(state);
                        meter::sent(held);
                        continue;
                    }
                    Poll::Pending => {}
                }
            }
            if let Some(outcome) = outcome {
                if outcome.is_ok() {
                    account.queue(state.queued(), state.lost());
                }
                let left = state.senders.leave(ticket);
                drop(state);
                left.wake();
                if outcome.is_ok() {
                    meter::sent(bytes);
                }
                return Poll::Ready(outcome);
            }
            if let Some(waker) = waker.take() {
                let replaced = state.senders.wait(ticket, waker);
                drop(state);
                drop(replaced);
                return Poll::Pending;
            }
            drop(state);
            waker = Some(cx.waker().clone());
        }
    }

    /// Queues a message, waiting for room in the order in which senders came. If this is dropped before it returns, the
    /// message stays in `unsent`.
    pub(crate) async fn send(
        &self,
        unsent: &mut Option<Message>,
        account: &Account,
    ) -> Result<(), SendError> {
        let mut sender = Sender {
            shared: self,
            ticket: Ticket::default(),
        };
        poll_fn(|cx| {
            // A sender that always finds room lets other tasks of the thread run at times, as `poll_stream` does.
            ready!(tokio::task::coop::poll_proceed(cx)).made_progress();
            self.poll_send(&mut sender.ticket, unsent, account, cx)
        })
        .await
    }

    /// Waits until the messages that were queued before the call have left for the server.
    pub(crate) async fn flush(&self, account: &Account) -> Result<(), FlushError> {
        let (position, since) = {
            let state = self.lock();
            (state.queued(), account.note(state.lost()))
        };
        let lost = self.wait(Interest::Outbox, |state| {
            if !state.has_sent(position) {
                return None;
            }
            let lost = state.lost();
            account.settle(lost, state.queued() > position);
            Some(lost)
        });
        match lost.await == since {
            true => Ok(()),
            false => Err(FlushError::Lost),
        }
    }

    /// Lets `connect` return.
    pub(crate) fn connect_handled(&self) {
        let was_handled = std::mem::replace(&mut self.lock().is_connect_handled, true);
        if !was_handled {
            self.wake(Interest::Phase);
        }
    }

    /// Begins a graceful close, or ends the session at once.
    pub(crate) fn stop(&self, at_once: Option<DisconnectReason>) {
        let mut state = self.lock();
        state.stopping = true;
        state.has_panicked |= at_once == Some(DisconnectReason::HandlerPanic);
        let (mut before, mut queued) = (None, None);
        match at_once {
            Some(reason) => {
                state.abort(reason);
                if state.session.closed() == Some(DisconnectReason::Client) {
                    before = state.note_end(None);
                }
            }
            None => queued = state.close(),
        }
        state.wake_driver();
        drop(state);
        drop(before);
        queued.into_iter().for_each(meter::sent);
        self.wake(Interest::Outbox);
    }

    /// Returns the next event for the stream. If handlers take the messages, the end is its only event.
    pub(crate) fn poll_stream(
        &self,
        slot: &mut Option<Key>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Message>> {
        // A stream that always has a message lets other tasks of the thread run at times, as a socket of tokio does.
        let coop = ready!(tokio::task::coop::poll_proceed(cx));
        let message = self.poll_wait(slot, Interest::Events, cx, |state| {
            if state.delivery.is_to_handler() {
                return state.phase().is_over().then_some(None);
            }
            loop {
                match state.take_event()? {
                    Some(Event::Message(message)) => return Some(Some(message)),
                    Some(_) => {}
                    None => return Some(None),
                }
            }
        });
        if let Poll::Ready(message) = &message {
            coop.made_progress();
            message
                .iter()
                .for_each(|message| meter::received(message.len()));
        }
        message
    }

    /// Returns the next event for the handlers, or `None` after the last one.
    pub(crate) async fn next_event(&self) -> Option<Event> {
        let next = self.wait(Interest::Events, |state| {
            match state.delivery.take_lifecycle() {
                Some(Some(event)) => Some(Some(event)),
                Some(None) => state.phase().is_over().then_some(None),
                None => state.take_event(),
            }
        });
        next.await
    }
}

/// Queues the message that the sink of a client holds, ahead of one that the client sends after it. Returns its size if it
/// was queued. One that may not be sent counts as lost, and is kept for the application.
fn send_held_first(state: &mut State, account: &Account) -> Poll<Option<usize>> {
    let Some(bytes) = state.held_bytes().filter(|_| account.is_of_client()) else {
        return Poll::Ready(None);
    };
    let before = state.queued();
    match state.send_held() {
        None => Poll::Pending,
        Some(Ok(())) => Poll::Ready((state.queued() > before).then_some(bytes)),
        Some(Err(error)) => {
            state.left_over.push(error.into_message());
            state.lost += 1;
            Poll::Ready(None)
        }
    }
}

/// Queues the message if there is room for it and no other sender waits.
fn try_send(state: &mut State, message: Message, account: &Account) -> Result<(), SendError> {
    if !state.senders.is_empty() && state.session.is_open() {
        return Err(SendError::Full(message));
    }
    state.send(message)?;
    account.queue(state.queued(), state.lost());
    Ok(())
}
