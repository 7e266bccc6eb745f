//! The tasks that wait for a client to change, in one list.

use std::task::Waker;

/// The maximum number of wakers that are taken out of the list at a time, so that waking allocates nothing.
pub(crate) const BATCH: usize = 8;

/// The kind of change that a task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// The server sent something for the application.
    Events,
    /// The outbox has drained or closed.
    Outbox,
    /// The client opened, ended or changed its transport. Wakes every task of the list.
    Phase,
}

/// Identifies an entry of the list. Keys are never used twice.
pub(crate) type Key = u64;

#[derive(Debug)]
struct Entry {
    key: Key,
    interest: Interest,
    waker: Waker,
}

/// The list itself. Each entry is removed when it is woken.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    entries: Vec<Entry>,
    next: Key,
}

impl Wakers {
    /// Registers a waker under the key in `slot`, which gets a new key unless the old one is still in the list. Returns the
    /// waker that is replaced, to be dropped without the lock.
    #[must_use = "its `Drop` may be the application's code"]
    pub(crate) fn register(
        &mut self,
        slot: &mut Option<Key>,
        interest: Interest,
        waker: Waker,
    ) -> Option<Waker> {
        let known = slot.and_then(|key| self.entries.iter_mut().find(|entry| entry.key == key));
        if let Some(entry) = known {
            entry.interest = interest;
            return Some(std::mem::replace(&mut entry.waker, waker));
        }
        self.entries.push(Entry {
            key: self.next,
            interest,
            waker,
        });
        *slot = Some(self.next);
        self.next += 1;
        None
    }

    /// Removes the entry of `slot`, if there still is one. Returns its waker, to be dropped without the lock.
    #[must_use = "its `Drop` may be the application's code"]
    pub(crate) fn remove(&mut self, slot: &mut Option<Key>) -> Option<Waker> {
        let key = slot.take()?;
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at).waker)
    }

    /// Returns the key for the next new entry. A task that is woken and waits again gets a key that is not below it.
    pub(crate) const fn next_key(&self) -> Key {
        self.next
    }

    /// Returns whether anybody waits for this change.
    pub(crate) fn wait_for(&self, change: Interest) -> bool {
        self.entries.iter().any(|entry| entry.interest == change)
    }

    /// Takes out the wakers that wait for `change`, of the entries before `end`. Returns whether there may be more.
    pub(crate) fn take(
        &mut self,
        change: Interest,
        end: Key,
        into: &mut [Option<Waker>; BATCH],
    ) -> bool {
        let is_woken = |entry: &mut Entry| {
            entry.key < end && (change == Interest::Phase || entry.interest == change)
        };
        let mut woken = self.entries.extract_if(.., is_woken);
        for slot in &mut *into {
            *slot = woken.next().map(|entry| entry.waker);
        }
        into.iter().all(Option::is_some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(wakers: &mut Wakers, change: Interest) -> usize {
        let mut woken = [const { None }; BATCH];
        let end = wakers.next_key();
        let mut count = 0;
        while {
            let more = wakers.take(change, end, &mut woken);
            count += woken.iter().flatten().count();
            more
        } {}
        count
    }

    #[test]
    fn a_change_wakes_those_who_wait_for_it_and_a_phase_wakes_all() {
        let mut wakers = Wakers::default();
        let mut slots = [None; 20];
        for (n, slot) in slots.iter_mut().enumerate() {
            let interest = [Interest::Events, Interest::Outbox][n % 2];
            for _ in 0..2 {
                // The second time it is replaced.
                drop(wakers.register(slot, interest, Waker::noop().clone()));
            }
        }
        assert_eq!(taken(&mut wakers, Interest::Events), 10);
        assert_eq!(taken(&mut wakers, Interest::Events), 0);
        assert!(wakers.remove(&mut slots[1]).is_some());
        assert_eq!(taken(&mut wakers, Interest::Phase), 9);
    }
}
