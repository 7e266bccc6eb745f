//! A request or a WebSocket that waits for the session, and the signal that the session has for it.

use std::task::{Context, Waker};

use engineio_core::server::ExchangeId;
use engineio_core::{DisconnectReason, LinkId, Refusal};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaiterId {
    Exchange(ExchangeId),
    Link(LinkId),
}

/// A signal of the session to a request or a WebSocket.
#[derive(Debug, Clone, Copy)]
pub(super) enum Signal {
    /// Take the payload, or the frames.
    Ready,
    /// The POST was received in full.
    Accepted,
    /// More packets of the POST are to be decoded.
    Continue,
    Refused(Refusal),
    Close(DisconnectReason),
}

pub(super) struct Waiter {
    pub(super) id: WaiterId,
    /// Taken when the task is woken, since a clone may be the application's code, as the `Drop` may.
    waker: Option<Waker>,
    /// Its task sleeps and must be woken. While it runs, it checks for itself before it sleeps again.
    asleep: bool,
    signal: Option<Signal>,
}

impl Waiter {
    pub(super) const fn new(id: WaiterId) -> Self {
        Self {
            id,
            waker: None,
            asleep: false,
            signal: None,
        }
    }

    /// Leaves a signal for the task. Returns the task to be woken, if it sleeps.
    #[must_use = "the task sleeps until it is woken"]
    pub(super) fn signal(&mut self, signal: Signal) -> Option<Waker> {
        self.leave_signal(signal);
        self.wake()
    }

    /// Leaves a signal for the task, unless it sleeps. Returns whether it was awake.
    #[inline]
    pub(super) fn signal_awake(&mut self, signal: Signal) -> bool {
        if !self.asleep {
            self.leave_signal(signal);
        }
        !self.asleep
    }

    #[inline]
    fn leave_signal(&mut self, signal: Signal) {
        // A close stands until it is seen; frames that are still to be sent are looked for anyway.
        if !matches!(self.signal, Some(Signal::Close(_))) {
            self.signal = Some(signal);
        }
    }

    pub(super) const fn take_signal(&mut self) -> Option<Signal> {
        self.signal.take()
    }

    /// Returns why the link is to be closed, if it is.
    pub(super) const fn close_signal(&self) -> Option<DisconnectReason> {
        match self.signal {
            Some(Signal::Close(reason)) => Some(reason),
            _ => None,
        }
    }

    pub(super) const fn is_asleep(&self) -> bool {
        self.asleep
    }

    /// Marks the task as sleeping, to be woken through `waker`. Leaves the waker that is replaced there, to be dropped
    /// without the lock.
    pub(super) const fn sleep(&mut self, waker: &mut Option<Waker>) {
        self.asleep = true;
        std::mem::swap(&mut self.waker, waker);
    }

    /// Marks the task as sleeping, if its waker of the last time is still there. Returns whether it is.
    pub(super) fn sleep_again(&mut self, cx: &Context<'_>) -> bool {
        self.asleep = match &self.waker {
            Some(known) => known.will_wake(cx.waker()),
            None => false,
        };
        self.asleep
    }

    /// Marks the task as awake. Returns it to be woken, if it sleeps.
    #[must_use = "the task sleeps until it is woken"]
    pub(super) fn wake(&mut self) -> Option<Waker> {
        match std::mem::take(&mut self.asleep) {
            true => self.waker.take(),
            false => None,
        }
    }

    /// Marks the task as running: it is about to see for itself that it is ready.
    pub(super) const fn stay_awake(&mut self) {
        self.asleep = false;
        if matches!(self.signal, Some(Signal::Ready)) {
            self.signal = None;
        }
    }
}
