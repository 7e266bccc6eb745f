//! The session as seen by its GETs and POSTs: how they wait, and how they get their answers.

use std::sync::Arc;
use std::task::{Context, Poll};

use engineio_core::server::{ExchangeId, Input};
use engineio_core::{Payload, Refusal};

use super::state::State;
use super::waiter::{Signal, WaiterId};
use super::{Session, now};

/// The progress of a POST whose body has been read.
pub(crate) enum Posted {
    /// More packets are to be decoded, after other tasks have run.
    InPart,
    Answered(Result<(), Refusal>),
}

impl Session {
    /// Registers a GET that begins to wait.
    pub(crate) fn open_poll(self: &Arc<Self>) -> ExchangeId {
        self.change(|state| state.enter_exchange(Input::PollOpened))
    }

    /// Registers a GET that begins to wait, unless an upgrade is under way.
    pub(crate) fn open_poll_unless_upgrading(self: &Arc<Self>) -> Option<ExchangeId> {
        self.change(|state| {
            let waits = state.machine.is_upgrading();
            (!waits).then(|| state.enter_exchange(Input::PollOpened))
        })
    }

    /// Has the GET that waits answered now, if there is one.
    pub(crate) fn release_poll(self: &Arc<Self>) {
        self.update(|machine| machine.handle_input(now(), Input::PollReleased));
    }

    /// Registers a POST whose body is about to be read.
    pub(crate) fn open_post(self: &Arc<Self>) -> ExchangeId {
        self.change(|state| state.enter_exchange(Input::PostOpened))
    }

    /// Returns the answer to a POST when there is one; the session has forgotten the POST then. Otherwise its task is
    /// woken.
    pub(crate) fn poll_posted(&self, id: ExchangeId, cx: &Context<'_>) -> Poll<Posted> {
        let id = WaiterId::Exchange(id);
        // Cloned and dropped without the lock: both may be the application's code.
        let mut waker = Some(cx.waker().clone());
        let mut state = self.lock();
        let Some(waiter) = state.waiter(id) else {
            return Poll::Pending;
        };
        let answer = match waiter.take_signal() {
            None => {
                waiter.sleep(&mut waker);
                return Poll::Pending;
            }
            Some(Signal::Continue) => return Poll::Ready(Posted::InPart),
            Some(Signal::Accepted) => Ok(()),
            Some(Signal::Refused(refusal)) => Err(refusal),
            Some(_) => Err(Refusal::BadRequest),
        };
        let left = state.leave(id);
        drop(state);
        drop(left);
        Poll::Ready(Posted::Answered(answer))
    }

    /// Returns the answer to a GET when there is one; the session has forgotten the GET then. Otherwise its task is
    /// woken. Packets leave the queue at the moment at which the response is made, with no wait in between.
    pub(crate) fn poll_payload(
        self: &Arc<Self>,
        id: ExchangeId,
        cx: &Context<'_>,
    ) -> Poll<Result<Payload, Refusal>> {
        let waiter_id = WaiterId::Exchange(id);
        let (mut waker, mut left) = (Some(cx.waker().clone()), None);
        let polled = self.change(|state| {
            let answer = loop {
                let Some(waiter) = state.waiter(waiter_id) else {
                    return Poll::Pending;
                };
                match waiter.take_signal() {
                    Some(Signal::Refused(refusal)) => break Err(refusal),
                    Some(_) => {
                        if let Some(payload) = state.machine.take_payload(now(), id) {
                            break Ok(payload);
                        }
                    }
                    None => {
                        waiter.sleep(&mut waker);
                        return Poll::Pending;
                    }
                }
            };
            left = state.leave(waiter_id);
            Poll::Ready(answer)
        });
        drop((waker, left));
        polled
    }

    /// Forgets a waiter that has its answer, or has stopped waiting, which `input` reports to the machine.
    pub(crate) fn leave(self: &Arc<Self>, id: WaiterId, input: Option<Input>) {
        let left = self.change(|state| {
            let left = state.leave(id);
            if let Some(input) = input {
                state.machine.handle_input(now(), input);
            }
            left
        });
        drop(left);
    }
}

impl State {
    fn enter_exchange(&mut self, input: fn(ExchangeId) -> Input) -> ExchangeId {
        let id = self.machine.next_exchange();
        self.enter(WaiterId::Exchange(id));
        self.machine.handle_input(now(), input(id));
        id
    }
}
