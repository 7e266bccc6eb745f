//! Back pressure: the tasks that wait to send, first come, first served.

use std::collections::VecDeque;
use std::task::Waker;

/// An empty queue with at most this capacity keeps its allocation; a larger one releases it.
const KEPT_CAPACITY: usize = 8;

/// The tasks that wait for room in the outbox of one session.
///
/// Only the first of them may try to send. So small messages, for which there is nearly always room, cannot overtake a
/// large one for ever, and new room wakes one task instead of all. Each task that leaves the queue passes its turn to
/// the next, which may find room too.
///
/// The queue holds no lock, and neither wakes, clones nor drops a waker: the caller does so while it does not hold its own
/// lock. The functions of a waker may be the application's code.
///
/// # Examples
///
/// ```
/// use std::task::Waker;
/// use engineio_core::driver::{SendQueue, Ticket};
///
/// let mut queue = SendQueue::default();
/// let (mut first, mut second) = (Ticket::default(), Ticket::default());
/// drop(queue.wait(&mut first, Waker::noop().clone()));
/// drop(queue.wait(&mut second, Waker::noop().clone()));
/// assert!(queue.may_send(&first) && !queue.may_send(&second));
///
/// let left = queue.leave(&mut first); // It has sent its message.
/// assert!(queue.may_send(&second));
/// left.wake(); // The second one.
/// ```
#[derive(Debug, Default)]
pub struct SendQueue {
    /// A sender has no waker between being woken and waiting again.
    waiting: VecDeque<(u64, Option<Waker>)>,
    last_number: u64,
}

/// A sender's place in a [`SendQueue`]; the default has none, because it has not had to wait yet.
///
/// A sender that stops waiting must [leave](SendQueue::leave) the queue, or it blocks those behind it.
#[derive(Debug, Default)]
pub struct Ticket(Option<u64>);

/// The wakers that come out of a [`SendQueue`] when a sender [leaves](SendQueue::leave) it.
#[derive(Debug, Default)]
#[must_use = "the next sender waits until it is woken"]
pub struct Left {
    next: Option<Waker>,
    own: Option<Waker>,
}

impl Left {
    /// Wakes the next sender, if it has become its turn, and drops the waker of the one that left. Not for code that
    /// holds a lock.
    pub fn wake(self) {
        if let Some(next) = self.next {
            next.wake();
        }
        drop(self.own);
    }
}

impl Ticket {
    /// Returns whether the sender has waited, and has not left the queue since.
    #[must_use]
    pub const fn is_queued(&self) -> bool {
        self.0.is_some()
    }
}

impl SendQueue {
    /// Returns whether no task waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns whether it is this sender's turn: it is the first in the queue, or nobody waits.
    #[must_use]
    pub fn may_send(&self, ticket: &Ticket) -> bool {
        let first = self.waiting.front();
        first.is_none_or(|&(first, _)| Some(first) == ticket.0)
    }

    /// Returns a mark behind the tasks that wait now, for a sender that takes no place.
    #[must_use]
    pub const fn mark(&self) -> u64 {
        self.last_number
    }

    /// Returns whether all tasks have left that waited at this [mark](Self::mark). Those that wait then came later.
    #[must_use]
    pub fn has_passed(&self, mark: u64) -> bool {
        let first = self.waiting.front();
        first.is_none_or(|&(first, _)| first > mark)
    }

    /// Keeps the sender's place, or gives it the last one, and stores its waker. Returns the waker that is replaced, to
    /// be dropped.
    #[must_use = "its `Drop` may be the application's code"]
    pub fn wait(&mut self, ticket: &mut Ticket, waker: Waker) -> Option<Waker> {
        if let Some(at) = ticket.0.and_then(|number| self.position(number)) {
            return self.waiting[at].1.replace(waker);
        }
        self.last_number += 1;
        ticket.0 = Some(self.last_number);
        self.waiting.push_back((self.last_number, Some(waker)));
        None
    }

    /// Releases the sender's place, if it has one. If that place was the first, it is the turn of the next task.
    pub fn leave(&mut self, ticket: &mut Ticket) -> Left {
        let number = ticket.0.take();
        let Some(at) = number.and_then(|number| self.position(number)) else {
            return Left::default();
        };
        let own = self.waiting.remove(at).and_then(|(_, waker)| waker);
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT_CAPACITY {
            self.waiting = VecDeque::new();
        }
        let next = if at == 0 { self.first() } else { None };
        Left { next, own }
    }

    /// Takes the waker of the task whose turn it is, to be woken when there is room. `None` if nobody waits, or it has
    /// been woken already. The task keeps its place until it [leaves](Self::leave).
    #[must_use = "the first sender waits until it is woken"]
    pub fn first(&mut self) -> Option<Waker> {
        self.waiting.front_mut()?.1.take()
    }

    /// Empties the queue because there will never be room again. Returns all tasks, to be woken.
    #[must_use = "the senders wait until they are woken"]
    pub fn close(&mut self) -> impl Iterator<Item = Waker> + use<> {
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_iter().filter_map(|(_, waker)| waker)
    }

    fn position(&self, number: u64) -> Option<usize> {
        self.waiting
            .binary_search_by_key(&number, |&(number, _)| number)
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::{KEPT_CAPACITY, SendQueue, Ticket};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn queued(queue: &mut SendQueue, count: &Arc<Count>) -> Ticket {
        let waker = Waker::from(Arc::clone(count));
        let mut ticket = Ticket::default();
        assert!(queue.wait(&mut ticket, waker).is_none());
        ticket
    }

    fn wakes(count: &Arc<Count>) -> usize {
        count.0.load(Ordering::Relaxed)
    }

    #[test]
    fn a_sender_that_leaves_hands_its_turn_to_the_next_alone() {
        let mut queue = SendQueue::default();
        let counts: [Arc<Count>; 3] = Default::default();
        let mut tickets = counts.each_ref().map(|count| queued(&mut queue, count));
        assert!(queue.may_send(&tickets[0]));
        assert!(!queue.may_send(&tickets[1]) && !queue.may_send(&Ticket::default()));
        queue.leave(&mut tickets[0]).wake();
        assert_eq!(counts.each_ref().map(wakes), [0, 1, 0]);
        assert!(queue.may_send(&tickets[1]) && !tickets[0].is_queued());
    }

    #[test]
    fn a_sender_that_gives_up_in_the_middle_wakes_nobody() {
        let mut queue = SendQueue::default();
        let counts: [Arc<Count>; 3] = Default::default();
        let mut tickets = counts.each_ref().map(|count| queued(&mut queue, count));
        queue.leave(&mut tickets[1]).wake();
        assert_eq!(counts.each_ref().map(wakes), [0, 0, 0]);
        queue.leave(&mut tickets[0]).wake();
        assert_eq!(counts.each_ref().map(wakes), [0, 0, 1]);
    }

    #[test]
    fn a_sender_that_waits_again_keeps_its_place() {
        let mut queue = SendQueue::default();
        let (old, new) = (Arc::<Count>::default(), Arc::<Count>::default());
        let mut ticket = queued(&mut queue, &old);
        let behind = queued(&mut queue, &Arc::default());
        let waker = Waker::from(Arc::clone(&new));
        drop(queue.wait(&mut ticket, waker));
        queue.first().unwrap().wake();
        assert!(queue.first().is_none());
        assert_eq!((wakes(&old), wakes(&new)), (0, 1));
        assert!(queue.may_send(&ticket) && !queue.may_send(&behind));
    }

    #[test]
    fn closing_wakes_all_and_lets_nobody_wait() {
        let mut queue = SendQueue::default();
        let counts: [Arc<Count>; 3] = Default::default();
        let mut tickets = counts.each_ref().map(|count| queued(&mut queue, count));
        queue.close().for_each(Waker::wake);
        assert_eq!(counts.each_ref().map(wakes), [1, 1, 1]);
        assert!(queue.is_empty() && queue.may_send(&tickets[2]));
        queue.leave(&mut tickets[0]).wake();
        assert_eq!(counts.each_ref().map(wakes), [1, 1, 1]);
    }

    #[test]
    fn no_waker_is_cloned_or_dropped_by_the_queue() {
        let mut queue = SendQueue::default();
        let (old, new) = (Arc::<Count>::default(), Arc::<Count>::default());
        let mut ticket = queued(&mut queue, &old);
        let replaced = queue.wait(&mut ticket, Waker::from(Arc::clone(&new)));
        assert!(replaced.is_some_and(|replaced| replaced.will_wake(&Waker::from(old))));
        let first = queue.first();
        assert_eq!(Arc::strong_count(&new), 2);
        assert!(queue.wait(&mut ticket, first.unwrap()).is_none());
        let left = queue.leave(&mut ticket);
        assert_eq!(Arc::strong_count(&new), 2);
        assert!(left.own.is_some_and(|own| own.will_wake(&Waker::from(new))));
    }

    #[test]
    fn a_mark_is_passed_when_those_before_it_have_left() {
        let mut queue = SendQueue::default();
        assert!(queue.has_passed(queue.mark()));
        let mut tickets = [(); 2].map(|()| queued(&mut queue, &Arc::default()));
        let mark = queue.mark();
        let _behind = queued(&mut queue, &Arc::default());
        for ticket in &mut tickets {
            assert!(!queue.has_passed(mark));
            queue.leave(ticket).wake();
        }
        assert!(queue.has_passed(mark) && !queue.is_empty());
    }

    #[test]
    fn the_memory_of_a_crowd_is_given_back() {
        let mut queue = SendQueue::default();
        let count = Arc::default();
        let tickets: Vec<_> = (0..1000).map(|_| queued(&mut queue, &count)).collect();
        for mut ticket in tickets {
            queue.leave(&mut ticket).wake();
        }
        assert!(queue.waiting.capacity() <= KEPT_CAPACITY);
        assert_eq!(wakes(&count), 999);
    }
}
