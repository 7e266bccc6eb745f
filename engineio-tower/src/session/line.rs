//! Those who wait to send, in the order in which they came.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Waker};

use super::Shared;

/// A line of so many keeps its memory when it is empty; that of a crowd is given back.
const KEPT: usize = 8;

/// The tasks that wait for room in the outbox. Only the first of them tries, so that a large message is not overtaken by
/// small ones that always find room, and that room wakes one task and not all.
#[derive(Default)]
pub(super) struct Line {
    waiting: VecDeque<(u64, Waker)>,
    /// The number of the last place that was given.
    last: u64,
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether nobody came before the one with this number, or before a newcomer.
    pub(super) fn lets_try(&self, number: Option<u64>) -> bool {
        let first = self.waiting.front();
        first.is_none_or(|&(first, _)| Some(first) == number)
    }

    /// Keeps the place with this number, or takes the last one.
    pub(super) fn wait(&mut self, number: &mut Option<u64>, cx: &Context<'_>) {
        if let Some(at) = number.and_then(|number| self.position(number)) {
            self.waiting[at].1.clone_from(cx.waker());
            return;
        }
        self.last += 1;
        *number = Some(self.last);
        self.waiting.push_back((self.last, cx.waker().clone()));
    }

    /// Gives a place up. Returns whose turn it is now, if that was the first one.
    pub(super) fn leave(&mut self, number: &mut Option<u64>) -> Option<Waker> {
        let at = self.position(number.take()?)?;
        self.waiting.remove(at);
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT {
            self.waiting = VecDeque::new();
        }
        if at == 0 { self.first() } else { None }
    }

    /// Whose turn it is.
    pub(super) fn first(&self) -> Option<Waker> {
        self.waiting.front().map(|(_, waker)| waker.clone())
    }

    /// Everybody, since there is nothing to wait for any more.
    pub(super) fn dissolve(&mut self) -> impl Iterator<Item = Waker> {
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_iter().map(|(_, waker)| waker)
    }

    fn position(&self, number: u64) -> Option<usize> {
        self.waiting
            .binary_search_by_key(&number, |&(number, _)| number)
            .ok()
    }
}

/// The place of one who sends: none as long as it need not wait. Dropped, it passes its turn on.
pub(crate) struct Place<'a> {
    pub(super) session: &'a Arc<Shared>,
    pub(super) number: Option<u64>,
}

impl<'a> Place<'a> {
    pub(crate) const fn new(session: &'a Arc<Shared>) -> Self {
        Self {
            session,
            number: None,
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.number.is_some() {
            let next = self.session.lock().line.leave(&mut self.number);
            if let Some(waker) = next {
                waker.wake();
            }
        }
    }
}
