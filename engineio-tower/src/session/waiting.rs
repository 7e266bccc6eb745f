//! The tasks that wait for the end of a session, or until its outbox is empty.

use std::collections::BTreeMap;
use std::task::{Context, Waker};

use super::Session;
use super::state::State;

/// The event that a task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// The client is gone.
    Closed,
    /// The outbox is empty, or the client is gone.
    Flushed,
}

/// The wakers of the tasks, by the number of their wait. A map, so that removing one is cheap however many there are.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    last_number: u64,
    closed: BTreeMap<u64, Waker>,
    flushed: BTreeMap<u64, Waker>,
}

impl Waiting {
    /// Registers a task, or replaces its waker. Returns the waker that is replaced, to be dropped without the lock.
    fn register(&mut self, until: Until, number: &mut Option<u64>, waker: Waker) -> Option<Waker> {
        let number = *number.get_or_insert_with(|| {
            self.last_number += 1;
            self.last_number
        });
        self.of(until).insert(number, waker)
    }

    /// Removes a task that waits no longer. Returns its waker, to be dropped without the lock.
    fn remove(&mut self, until: Until, number: u64) -> Option<Waker> {
        self.of(until).remove(&number)
    }

    /// Takes the tasks that wait for an empty outbox, to be woken.
    pub(super) fn take_flushed(&mut self) -> impl Iterator<Item = Waker> + use<> {
        std::mem::take(&mut self.flushed).into_values()
    }

    /// Takes all tasks, to be woken, because the client is gone.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Waker> + use<> {
        let closed = std::mem::take(&mut self.closed).into_values();
        closed.chain(self.take_flushed())
    }

    const fn of(&mut self, until: Until) -> &mut BTreeMap<u64, Waker> {
        match until {
            Until::Closed => &mut self.closed,
            Until::Flushed => &mut self.flushed,
        }
    }
}

/// The wait of one task. Dropping it takes its waker out of the session.
pub(super) struct Wait<'a> {
    session: &'a Session,
    until: Until,
    number: Option<u64>,
}

impl<'a> Wait<'a> {
    pub(super) const fn new(session: &'a Session, until: Until) -> Self {
        Self {
            session,
            until,
            number: None,
        }
    }

    /// Has the task woken when `until` has come, unless `answer` finds that it has.
    pub(super) fn poll<T>(
        &mut self,
        cx: &Context<'_>,
        answer: impl FnOnce(&State) -> Option<T>,
    ) -> Option<T> {
        // Cloned and dropped without the lock: both may be the application's code.
        let waker = cx.waker().clone();
        let mut state = self.session.lock();
        let answer = answer(&state);
        let unused = match &answer {
            Some(_) => Some(waker),
            None => {
                let waiting = state.waiting.get_or_insert_default();
                waiting.register(self.until, &mut self.number, waker)
            }
        };
        drop(state);
        drop(unused);
        answer
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let mut state = self.session.lock();
            let waiting = state.waiting.as_mut();
            let removed = waiting.and_then(|waiting| waiting.remove(self.until, number));
            drop(state);
            drop(removed);
        }
    }
}
