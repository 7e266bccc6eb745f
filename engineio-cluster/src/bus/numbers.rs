//! The numbers of the messages that this process publishes.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use super::duplicates::WINDOW;

/// Numbers the messages of this process.
///
/// Tasks that publish at the same time overtake each other. A number waits while one that is [`WINDOW`] lower is being
/// published: receivers would take the lower one for a message that they have had.
#[derive(Debug)]
pub(crate) struct Numbers {
    turns: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next: u64,
    /// The lowest number that is being published, or that is next.
    lowest: u64,
    /// The numbers above it that are not being published any more.
    done: BTreeSet<u64>,
}

/// A number. Dropping it says that its message is not being published any more.
#[derive(Debug)]
pub(crate) struct Number<'a> {
    numbers: &'a Numbers,
    pub(crate) value: u64,
}

impl Default for Numbers {
    fn default() -> Self {
        Self {
            turns: Semaphore::new(WINDOW as usize),
            state: Mutex::new(State {
                next: 1,
                lowest: 1,
                done: BTreeSet::new(),
            }),
        }
    }
}

impl Numbers {
    /// Returns the next number, as soon as it may be published.
    pub(crate) async fn next(&self) -> Number<'_> {
        // It is never closed.
        if let Ok(turn) = self.turns.acquire().await {
            turn.forget();
        }
        let mut state = self.lock();
        let value = state.next;
        state.next += 1;
        drop(state);
        Number {
            numbers: self,
            value,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // It is whole between any two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Number<'_> {
    fn drop(&mut self) {
        let mut state = self.numbers.lock();
        state.done.insert(self.value);
        let before = state.lowest;
        while {
            let lowest = state.lowest;
            state.done.remove(&lowest)
        } {
            state.lowest += 1;
        }
        let turns = state.lowest - before;
        drop(state);
        self.numbers.turns.add_permits(turns as usize);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};
    use std::time::Instant;

    use super::*;
    use crate::bus::duplicates::Duplicates;
    use crate::bus::fields::Stamp;

    fn at_once<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    #[test]
    fn no_message_is_overtaken_by_so_many_that_it_counts_as_a_duplicate() {
        let (numbers, mut received) = (Numbers::default(), Duplicates::default());
        let mut arrive = |number: Number<'_>| {
            let stamp = Stamp {
                sender: 1,
                number: number.value,
            };
            assert!(received.is_new(Instant::now(), stamp), "{number:?}");
        };
        for _ in 0..3 {
            let slow = at_once(pin!(numbers.next())).unwrap();
            let mut overtaking = 0;
            while let Some(number) = at_once(pin!(numbers.next())) {
                arrive(number);
                overtaking += 1;
            }
            assert_eq!(overtaking, WINDOW - 1);
            let mut next = pin!(numbers.next());
            assert!(at_once(next.as_mut()).is_none());
            arrive(slow);
            arrive(at_once(next).unwrap());
        }
    }
}
