//! The right to run a client's handlers, which one task has at a time, and the length of its turn (fairness).

use std::pin::pin;
use std::sync::Arc;
use std::task::Context;

use engineio_core as proto;
use engineio_core::Message;
use engineio_core::driver::Budget;
use engineio_core::server::Event;

use super::pump::Pump;
use super::state::State;
use super::{Session, now};
use crate::server::meter;

/// The maximum number of message handlers of one client that run concurrently. Their messages are limited in bytes as
/// those in the inbox are. Further messages wait there, so that it paces the client.
const MAX_CONCURRENT: u32 = 1_000;

/// The next step of the task that runs the handlers.
pub(crate) enum Next {
    Event(Event),
    /// There are more events, but other tasks run first.
    Yield,
    /// There are no more events, or too many handlers run concurrently; the right to run the handlers has been given back.
    Idle,
}

/// Wakes the task after others have run and the runtime has polled its I/O. A task that wakes itself directly lets the
/// runtime do so only once in some sixty turns, and all others would wait for that.
pub(crate) fn give_way(cx: &mut Context<'_>) {
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}

impl Session {
    /// Runs the handlers in a task of their own, if there are events and no task runs them already.
    pub(crate) fn pump_elsewhere(self: &Arc<Self>) {
        if self.claim_events() {
            self.pump_on(Pump::default());
        }
    }

    /// Continues to run the handlers in a task of their own; the caller has claimed the right to run them.
    pub(crate) fn pump_on(self: &Arc<Self>, pump: Pump) {
        let task = pump.run(Arc::clone(self));
        self.server.spawn(task);
    }

    /// Makes a change that brings events, and runs their handlers here until the first that has to wait; a task gets
    /// the rest. So a POST whose handler answers at once completes the waiting GET without a change of task.
    pub(crate) fn update_and_pump(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        change: impl FnOnce(&mut proto::server::Session),
    ) {
        let claimed = self.change(|state| {
            let claimed = !std::mem::replace(&mut state.pumping, true);
            change(&mut state.machine);
            claimed
        });
        if claimed {
            let mut pump = Pump::default();
            if pump.poll(self, cx).is_pending() {
                self.pump_on(pump);
            }
        }
    }

    /// Takes the right to run the handlers, if no task has it and there is something to do.
    pub(crate) fn claim_events(&self) -> bool {
        let mut state = self.lock();
        let claim = !state.pumping && state.has_events();
        state.pumping |= claim;
        claim
    }

    /// Takes the right to run the handlers together with the first event of a turn, if no task has it and there is
    /// something to do.
    pub(crate) fn claim_event(self: &Arc<Self>) -> Option<Event> {
        self.change(|state| {
            if state.pumping || !state.has_events() {
                return None;
            }
            state.first_event()
        })
    }

    /// Takes the next event for the handlers, and gives the right to run them back when there is none. The `first` one
    /// begins a turn.
    pub(crate) fn next_event(self: &Arc<Self>, first: bool) -> Next {
        self.change(|state| {
            let event = if first {
                state.first_event()
            } else if state.events.is_spent() && state.has_events() {
                return Next::Yield;
            } else {
                state.next_event()
            };
            event.map_or(Next::Idle, Next::Event)
        })
    }

    /// Takes the next message, if the next event is one and the turn is not over.
    ///
    /// Where messages are handled concurrently, each has a handler of its own.
    pub(crate) fn next_message(self: &Arc<Self>) -> Option<Message> {
        if self.server.options.concurrent_messages {
            return None;
        }
        let message = self.change(|state| {
            if state.events.is_spent() {
                return None;
            }
            state.events.charge_event();
            state.machine.take_message(now)
        });
        message.inspect(|message| meter::received(message.len()))
    }

    /// Counts a message handler that runs concurrently, for a message of this length; `on_disconnect` waits for it.
    pub(crate) fn begin_concurrent(&self, len: usize) {
        let limit = self.server.config.inbox_limit;
        let mut state = self.lock();
        state.concurrent += 1;
        state.concurrent_bytes += len;
        state.update_saturation(limit);
    }

    /// Counts a concurrent message handler as finished, and runs what has waited for it: the next message, or
    /// `on_disconnect`.
    pub(crate) fn end_concurrent(self: &Arc<Self>, len: usize) {
        let limit = self.server.config.inbox_limit;
        let mut state = self.lock();
        let was_saturated = state.is_saturated;
        state.concurrent -= 1;
        state.concurrent_bytes -= len;
        state.update_saturation(limit);
        let last = state.concurrent == 0 && state.pending_close.is_some();
        // While there were too many handlers, nobody looked for events. Even if there are none now, the machine has to be
        // asked: it announces later ones only after it has said that there are none.
        let waited = last || (was_saturated && !state.is_saturated);
        let claimed = waited && !std::mem::replace(&mut state.pumping, true);
        drop(state);
        if claimed {
            self.pump_on(Pump::default());
        }
    }

    /// After the last handler of the client, drops the values that the application has attached to it, releases its
    /// place, and lets a shutdown go on.
    pub(crate) fn release(&self) {
        let mut state = self.lock();
        // Dropped last, even if the `Drop` of a value panics.
        let _held = (state.permit.take(), state.pending.take());
        drop(state);
        self.data.clear();
    }
}

impl State {
    /// Returns whether there are events whose handlers may run now.
    pub(super) fn has_events(&self) -> bool {
        !self.is_saturated && self.machine.has_events()
    }

    /// One message may exceed the `limit`, as in the inbox.
    const fn update_saturation(&mut self, limit: usize) {
        self.is_saturated = self.concurrent >= MAX_CONCURRENT || self.concurrent_bytes > limit;
    }

    /// Begins a turn of the handlers, and takes its first event.
    fn first_event(&mut self) -> Option<Event> {
        self.events = Budget::for_events();
        self.next_event()
    }

    /// Takes the next event for the application, and the right to run the handlers with it, which ends when there is
    /// none. The close waits for the concurrent handlers.
    fn next_event(&mut self) -> Option<Event> {
        self.events.charge_event();
        if self.is_saturated {
            self.pumping = false;
            return None;
        }
        let event = match self.machine.take_event(now) {
            Some(Event::Closed(reason)) if self.concurrent > 0 => {
                self.pending_close = Some(reason);
                None
            }
            None if self.concurrent == 0 => self.pending_close.take().map(Event::Closed),
            event => event,
        };
        self.pumping = event.is_some();
        event
    }
}
