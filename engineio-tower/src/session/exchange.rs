//! The requests and WebSockets that wait for the session, and how GETs and POSTs get their answers.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use engineio_core::server::{ExchangeId, Input};
use engineio_core::{DisconnectReason, LinkId, Payload, Refusal};

use super::state::{Effects, State};
use super::{Session, now};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaiterId {
    Exchange(ExchangeId),
    WebSocket(LinkId),
}

/// A request or a WebSocket, and the signal that the session has for it.
pub(super) struct Waiter {
    id: WaiterId,
    waker: Option<Waker>,
    /// Its task sleeps and must be woken. While it runs, it checks for itself before it sleeps again.
    asleep: bool,
    signal: Option<Signal>,
}

/// A signal of the session to a request or a WebSocket.
#[derive(Debug, Clone, Copy)]
pub(super) enum Signal {
    /// Take the payload, or the frames.
    Ready,
    /// The POST was received in full.
    Accepted,
    Refused(Refusal),
    Close(DisconnectReason),
}

impl Waiter {
    pub(super) const fn take_signal(&mut self) -> Option<Signal> {
        self.signal.take()
    }

    /// Marks the task as sleeping, to be woken through `cx`.
    pub(super) fn sleep(&mut self, cx: &Context<'_>) {
        self.asleep = true;
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    pub(super) fn wake(&mut self, effects: &mut Effects) {
        if std::mem::take(&mut self.asleep) {
            effects.wake(self.waker.clone());
        }
    }

    /// Marks the task as running: it is about to see what it was signalled.
    const fn stay_awake(&mut self) {
        self.asleep = false;
        if matches!(self.signal, Some(Signal::Ready)) {
            self.signal = None;
        }
    }
}

impl Session {
    /// Registers a GET that begins to wait.
    pub(crate) fn open_poll(self: &Arc<Self>) -> ExchangeId {
        self.enter_exchange(Input::PollOpened)
    }

    /// Registers a POST whose body is about to be read.
    pub(crate) fn open_post(self: &Arc<Self>) -> ExchangeId {
        self.enter_exchange(Input::PostOpened)
    }

    fn enter_exchange(self: &Arc<Self>, input: fn(ExchangeId) -> Input) -> ExchangeId {
        self.change(|state| {
            let id = state.machine.next_exchange();
            state.enter(WaiterId::Exchange(id));
            state.machine.handle_input(now(), input(id));
            id
        })
    }

    /// Returns the answer to a POST when there is one; the session has forgotten the POST then. Otherwise its task is
    /// woken.
    pub(crate) fn poll_posted(
        &self,
        id: ExchangeId,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Refusal>> {
        let id = WaiterId::Exchange(id);
        let mut state = self.lock();
        let Some(waiter) = state.waiter(id) else {
            return Poll::Pending;
        };
        let answer = match waiter.take_signal() {
            None => {
                waiter.sleep(cx);
                return Poll::Pending;
            }
            Some(Signal::Accepted) => Ok(()),
            Some(Signal::Refused(refusal)) => Err(refusal),
            Some(_) => Err(Refusal::BadRequest),
        };
        state.leave(id);
        Poll::Ready(answer)
    }

    /// Returns the answer to a GET when there is one; the session has forgotten the GET then. Otherwise its task is
    /// woken. Packets leave the queue at the moment at which the response is made, with no wait in between.
    pub(crate) fn poll_payload(
        self: &Arc<Self>,
        id: ExchangeId,
        cx: &Context<'_>,
    ) -> Poll<Result<Payload, Refusal>> {
        let waiter_id = WaiterId::Exchange(id);
        self.change(|state| {
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
                        waiter.sleep(cx);
                        return Poll::Pending;
                    }
                }
            };
            state.leave(waiter_id);
            Poll::Ready(answer)
        })
    }

    /// Forgets a waiter that has its answer, or has given up, which the machine learns by `input`.
    pub(crate) fn leave(self: &Arc<Self>, id: WaiterId, input: Option<Input>) {
        self.change(|state| {
            state.leave(id);
            if let Some(input) = input {
                state.machine.handle_input(now(), input);
            }
        });
    }
}

impl State {
    pub(super) fn waiter(&mut self, id: WaiterId) -> Option<&mut Waiter> {
        self.waiters.iter_mut().find(|waiter| waiter.id == id)
    }

    pub(super) fn enter(&mut self, id: WaiterId) {
        self.waiters.push(Waiter {
            id,
            waker: None,
            asleep: false,
            signal: None,
        });
    }

    /// Forgets a request or a WebSocket.
    pub(super) fn leave(&mut self, id: WaiterId) {
        self.waiters.retain(|waiter| waiter.id != id);
        if self.driver.map(WaiterId::WebSocket) == Some(id) {
            self.driver = None;
        }
    }

    pub(super) fn signal(&mut self, id: WaiterId, signal: Signal, effects: &mut Effects) {
        if let Some(waiter) = self.waiter(id) {
            // A close stands until it is seen; frames that are still to be sent are looked for anyway.
            if !matches!(waiter.signal, Some(Signal::Close(_))) {
                waiter.signal = Some(signal);
            }
            waiter.wake(effects);
        }
    }

    /// Marks the task of the WebSocket as running: it sees for itself that there are frames to be sent.
    pub(super) fn stay_awake(&mut self, id: LinkId) {
        self.waiting_for_inbox = false;
        if let Some(waiter) = self.waiter(WaiterId::WebSocket(id)) {
            waiter.stay_awake();
        }
    }
}
