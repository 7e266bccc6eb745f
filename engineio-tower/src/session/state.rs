//! The state behind the lock of a client, and the effects of its changes.

use std::task::Waker;
use std::time::{Duration, Instant};

use engineio_core as proto;
use engineio_core::driver::{Budget, SendQueue};
use engineio_core::server::Output;
use engineio_core::{Discarded, DisconnectReason, LinkId, Transport};
use smallvec::SmallVec;

use super::direct::{Direct, Leave};
use super::waiter::{Signal, Waiter, WaiterId};
use super::waiting::Waiting;
use crate::policy::admission::Permit;
use crate::server::PendingWork;

/// The watcher looks at a session after this long at the latest, so that its heap forgets sessions that have ended:
/// entries are not taken out, and a heartbeat may be days away.
const LONGEST_WATCH: Duration = Duration::from_secs(60);

pub(super) struct State {
    pub(super) machine: proto::server::Session,
    /// The client's place among those that the server admits, until its last handler has run.
    pub(super) permit: Option<Permit>,
    /// Held from the acceptance of the client until its last handler has run: a shutdown waits for it.
    pub(super) pending: Option<PendingWork>,
    /// The requests and the WebSocket that wait for the session. A GET and a POST fit inline, which saves each session
    /// an allocation.
    pub(super) waiters: SmallVec<[Waiter; 2]>,
    /// The tasks that wait until the outbox is empty, or for the end.
    pub(super) waiting: Option<Box<Waiting>>,
    /// The senders that wait for room in the outbox.
    pub(super) senders: SendQueue,
    /// A task runs the handlers; no other may, so that messages stay in order.
    pub(super) pumping: bool,
    /// The number of message handlers that run concurrently, each in a task of its own.
    pub(super) concurrent: u32,
    /// Too many of them run, or their messages are too large together: no further event is handled.
    pub(super) is_saturated: bool,
    /// The length of their messages.
    pub(super) concurrent_bytes: usize,
    /// The end of the client, which waits for the concurrent handlers.
    pub(super) pending_close: Option<DisconnectReason>,
    /// The events that the task of the handlers may still handle in this turn.
    pub(super) events: Budget,
    /// The WebSocket whose task runs the handlers, and is woken for events instead of a new task.
    pub(super) driver: Option<LinkId>,
    /// Writes frames for the task of the WebSocket while it sleeps, if its connection can be shared. In a box, because
    /// clients that poll have none.
    pub(super) direct: Option<Box<Direct>>,
    /// The task of the WebSocket waits for room in the inbox before it reads on.
    pub(super) waiting_for_inbox: bool,
    /// The earliest time at which the watcher will look at the session.
    pub(super) watched: Option<Instant>,
    /// The time at which the session was accepted; `on_disconnect` will run since then.
    pub(super) accepted: Option<Instant>,
    /// The transport by which the client is counted; `None` before it is accepted and after its end.
    pub(super) counted_as: Option<Transport>,
}

/// The effects of a change, applied after the lock has been released.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) wake: Option<Waker>,
    pub(super) wake_more: Vec<Waker>,
    /// There are events, and no task to run their handlers.
    pub(super) pump: bool,
    pub(super) finished: bool,
    pub(super) watch: Option<Instant>,
    /// The client has moved to this transport.
    pub(super) upgraded: Option<Transport>,
    pub(super) end: Option<End>,
    /// There are frames that are written later, by whoever has made the change.
    pub(super) deferred: bool,
    /// Messages whose `Drop` may be the application's code.
    pub(super) discarded: Discarded,
}

/// The end of the session of an accepted client.
pub(super) struct End {
    pub(super) transport: Transport,
    pub(super) reason: DisconnectReason,
    /// The time since its acceptance.
    pub(super) stayed: Duration,
}

impl Effects {
    pub(super) fn wake(&mut self, waker: Option<Waker>) {
        match waker {
            Some(waker) if self.wake.is_none() => self.wake = Some(waker),
            Some(waker) => self.wake_more.push(waker),
            None => {}
        }
    }
}

impl State {
    pub(super) fn waiter(&mut self, id: WaiterId) -> Option<&mut Waiter> {
        self.waiters.iter_mut().find(|waiter| waiter.id == id)
    }

    pub(super) fn enter(&mut self, id: WaiterId) {
        self.waiters.push(Waiter::new(id));
    }

    /// Forgets a request or a WebSocket. Returns what is left of it, to be dropped without the lock.
    #[must_use = "the `Drop` of its waker may be the application's code"]
    pub(super) fn leave(&mut self, id: WaiterId) -> Option<Waiter> {
        let at = self.waiters.iter().position(|waiter| waiter.id == id);
        let left = at.map(|at| self.waiters.swap_remove(at));
        if self.driver.map(WaiterId::Link) == Some(id) {
            self.driver = None;
        }
        if self.direct.as_ref().map(|direct| direct.waiter()) == Some(id) {
            self.direct = None;
        }
        left
    }

    /// Marks the task of the WebSocket as running: it sees for itself that there are frames to be sent.
    pub(super) fn stay_awake(&mut self, id: LinkId) {
        self.waiting_for_inbox = false;
        if let Some(waiter) = self.waiter(WaiterId::Link(id)) {
            waiter.stay_awake();
        }
    }

    pub(super) fn signal(&mut self, id: WaiterId, signal: Signal, effects: &mut Effects) {
        if let Some(waiter) = self.waiter(id) {
            effects.wake(waiter.signal(signal));
        }
    }

    /// Returns the WebSocket whose task runs the handlers.
    fn driver(&mut self) -> Option<&mut Waiter> {
        let id = WaiterId::Link(self.driver?);
        self.waiter(id)
    }

    /// Collects the effects of a change, if it has any. Most messages have no effect beyond the queue that they are put
    /// into, and this check makes them cheap.
    #[inline]
    pub(super) fn collect_effects(&mut self, leave: Leave) -> Option<Effects> {
        let output = self.next_output();
        // The end of the client and its move to another transport come with outputs, so that none is missed here.
        if output.is_none() && !self.has_silent_effects() {
            return None;
        }
        Some(self.effects(output, leave))
    }

    /// Returns whether a change may have effects that come without an output.
    #[inline]
    pub(super) fn has_silent_effects(&self) -> bool {
        let is_sooner = match (self.machine.poll_timeout(), self.watched) {
            (Some(at), Some(watched)) => at < watched,
            (at, _) => at.is_some(),
        };
        is_sooner || self.waiting_for_inbox
    }

    /// Returns the next output that concerns more than the task of the WebSocket. Most messages bring none: while that task
    /// is awake, it looks for events and frames itself.
    #[inline]
    pub(super) fn next_output(&mut self) -> Option<Output> {
        let mut output = self.machine.poll_output()?;
        if self.must_count() || self.machine.has_discarded() {
            return Some(output);
        }
        while self.settle(&output) {
            output = self.machine.poll_output()?;
        }
        Some(output)
    }

    /// Carries out an output if it has no effect outside of the lock. Returns whether it has none.
    #[inline]
    fn settle(&mut self, output: &Output) -> bool {
        match output {
            Output::Events => self.driver().is_some_and(|waiter| !waiter.is_asleep()),
            Output::SendFrames(id) => match self.waiter(WaiterId::Link(*id)) {
                Some(waiter) => waiter.signal_awake(Signal::Ready),
                None => true,
            },
            Output::Room => self.waiting.is_none() && self.senders.is_empty(),
            _ => false,
        }
    }

    /// Collects the effects of a change that has some. Not inlined, so that the check above needs no room for them.
    #[inline(never)]
    fn effects(&mut self, output: Option<Output>, leave: Leave) -> Effects {
        let mut effects = Effects::default();
        self.complete(output, leave, &mut effects);
        effects
    }

    /// Adds the effects of the outputs, and those that come without an output.
    #[inline]
    pub(super) fn complete(&mut self, first: Option<Output>, leave: Leave, effects: &mut Effects) {
        self.dispatch(first, leave, effects);
        self.watch(effects);
        self.count(effects);
        effects.discarded = self.machine.take_discarded();
    }

    /// Passes on the outputs of the machine.
    fn dispatch(&mut self, first: Option<Output>, leave: Leave, effects: &mut Effects) {
        let mut next = first;
        while let Some(output) = next {
            match output {
                Output::AnswerPoll(id) => {
                    self.signal(WaiterId::Exchange(id), Signal::Ready, effects);
                }
                Output::RefusePoll(id, refusal) | Output::AnswerPost(id, Err(refusal)) => {
                    self.signal(WaiterId::Exchange(id), Signal::Refused(refusal), effects);
                }
                Output::AnswerPost(id, Ok(())) => {
                    self.signal(WaiterId::Exchange(id), Signal::Accepted, effects);
                }
                Output::ContinuePost(id) => {
                    self.signal(WaiterId::Exchange(id), Signal::Continue, effects);
                }
                Output::SendFrames(id) => self.send_frames(id, leave, effects),
                Output::CloseLink(id, reason) => {
                    self.signal(WaiterId::Link(id), Signal::Close(reason), effects);
                }
                Output::Events => match self.driver() {
                    Some(waiter) => effects.wake(waiter.wake()),
                    None => effects.pump = true,
                },
                Output::Room => {
                    self.wake_waiting(effects);
                    // The first of the senders that wait is woken, or all if the session has ended.
                    if self.machine.is_open() {
                        effects.wake_more.extend(self.senders.first());
                    } else {
                        effects.wake_more.extend(self.senders.close());
                    }
                }
                Output::Finished => effects.finished = true,
                _ => {}
            }
            next = self.machine.poll_output();
        }
        if self.waiting_for_inbox && self.machine.wants_input() {
            self.waiting_for_inbox = false;
            if let Some(waiter) = self.driver() {
                effects.wake(waiter.wake());
            }
        }
    }

    /// Wakes the tasks whose wait is over.
    fn wake_waiting(&mut self, effects: &mut Effects) {
        let Some(waiting) = &mut self.waiting else {
            return;
        };
        if self.machine.closed().is_some() {
            effects.wake_more.extend(waiting.take_all());
        } else if self.machine.queued_messages() == 0 {
            effects.wake_more.extend(waiting.take_flushed());
        }
    }

    /// Has the watcher look at the session when its next deadline comes.
    fn watch(&mut self, effects: &mut Effects) {
        if let Some(at) = self.machine.poll_timeout()
            && self.watched.is_none_or(|watched| at < watched)
        {
            let at = at.min(super::now() + LONGEST_WATCH);
            self.watched = Some(at);
            effects.watch = Some(at).filter(|_| self.accepted.is_some());
        }
    }

    /// Returns whether the client is to be counted anew.
    #[inline]
    fn must_count(&self) -> bool {
        self.counted_as.is_some_and(|transport| {
            self.machine.closed().is_some() || transport != self.machine.transport()
        })
    }

    /// Keeps the counts: a client is counted by the transport that it uses, from its acceptance to its end, however
    /// long its handlers take.
    fn count(&mut self, effects: &mut Effects) {
        let (Some(transport), Some(accepted)) = (self.counted_as, self.accepted) else {
            return;
        };
        if let Some(reason) = self.machine.closed() {
            self.counted_as = None;
            if let Some(permit) = &mut self.permit {
                permit.set_pending();
            }
            effects.end = Some(End {
                transport,
                reason,
                stayed: super::now().saturating_duration_since(accepted),
            });
        } else if transport != self.machine.transport() {
            self.counted_as = Some(self.machine.transport());
            effects.upgraded = self.counted_as;
        }
    }

    /// Returns whether a sender that does not wait would overtake those that do. None waits once the session ends.
    pub(super) fn has_queued_senders(&self) -> bool {
        !self.senders.is_empty() && self.machine.is_open()
    }
}
