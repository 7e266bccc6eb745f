//! The bounded queue between the task that reads from a broker and the task that takes the events.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{BusEvent, MAX_MESSAGE};

/// Unread messages beyond this number are dropped and counted.
const MAX_QUEUED: usize = 4096;

/// Unread messages beyond this size, in bytes, are dropped and counted.
const MAX_QUEUED_BYTES: usize = 16 * 1024 * 1024;

/// Events that were received and not taken yet. Clones share one queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventQueue {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    readable: Notify,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<BusEvent>,
    messages: usize,
    bytes: usize,
}

impl EventQueue {
    /// Adds a message, or counts it as missed if it is too large or the queue is full.
    pub(crate) fn push_message(&self, message: Bytes) {
        let mut state = self.lock();
        let fits = message.len() <= MAX_MESSAGE
            && state.messages < MAX_QUEUED
            && state.bytes + message.len() <= MAX_QUEUED_BYTES;
        if fits {
            state.messages += 1;
            state.bytes += message.len();
            state.events.push_back(BusEvent::Message(message));
        } else {
            state.add_missed(1);
        }
        self.notify(state);
    }

    /// Records that messages were dropped before they came here.
    #[cfg(feature = "nats")]
    pub(crate) fn push_missed(&self, count: u64) {
        let mut state = self.lock();
        state.add_missed(count);
        self.notify(state);
    }

    /// Records that the connection is gone.
    pub(crate) fn push_lost(&self) {
        let mut state = self.lock();
        match state.events.back() {
            // Nobody has seen the short connection: a flapping broker must not fill the queue.
            Some(BusEvent::Back) => {
                state.events.pop_back();
            }
            Some(BusEvent::Lost) => {}
            _ => state.events.push_back(BusEvent::Lost),
        }
        // If a `Back` was first in the queue, the taker has seen the `Lost` before it.
        self.notify(state);
    }

    /// Records that there is a connection again.
    pub(crate) fn push_back(&self) {
        let mut state = self.lock();
        if state.events.back() != Some(&BusEvent::Back) {
            state.events.push_back(BusEvent::Back);
        }
        self.notify(state);
    }

    /// Takes the oldest event, and waits for one if there is none. Cancel-safe.
    pub(crate) async fn next(&self) -> BusEvent {
        loop {
            let readable = self.shared.readable.notified();
            if let Some(event) = self.lock().take() {
                return event;
            }
            readable.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements, so a panic elsewhere has broken nothing.
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn notify(&self, state: MutexGuard<'_, State>) {
        drop(state);
        self.shared.readable.notify_one();
    }
}

impl State {
    fn add_missed(&mut self, count: u64) {
        if let Some(BusEvent::Missed(missed)) = self.events.back_mut() {
            *missed = missed.saturating_add(count);
        } else {
            self.events.push_back(BusEvent::Missed(count));
        }
    }

    fn take(&mut self) -> Option<BusEvent> {
        let event = self.events.pop_front()?;
        if let BusEvent::Message(message) = &event {
            self.messages -= 1;
            self.bytes -= message.len();
        }
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn events_come_out_in_the_order_in_which_they_came_in() {
        let queue = EventQueue::default();
        queue.push_message(Bytes::from_static(b"one"));
        queue.push_lost();
        queue.push_back();
        queue.push_message(Bytes::from_static(b"two"));
        assert_eq!(
            queue.next().await,
            BusEvent::Message(Bytes::from_static(b"one"))
        );
        assert_eq!(queue.next().await, BusEvent::Lost);
        assert_eq!(queue.next().await, BusEvent::Back);
        assert_eq!(
            queue.next().await,
            BusEvent::Message(Bytes::from_static(b"two"))
        );
    }

    #[tokio::test]
    async fn messages_beyond_the_limits_are_dropped_and_counted() {
        let queue = EventQueue::default();
        for _ in 0..MAX_QUEUED + 3 {
            queue.push_message(Bytes::from_static(b"x"));
        }
        for _ in 0..MAX_QUEUED {
            assert!(matches!(queue.next().await, BusEvent::Message(_)));
        }
        assert_eq!(queue.next().await, BusEvent::Missed(3));

        let large = Bytes::from(vec![0; MAX_MESSAGE]);
        let fitting = MAX_QUEUED_BYTES / MAX_MESSAGE;
        for _ in 0..fitting + 1 {
            queue.push_message(large.clone());
        }
        for _ in 0..fitting {
            assert!(matches!(queue.next().await, BusEvent::Message(_)));
        }
        assert_eq!(queue.next().await, BusEvent::Missed(1));
    }

    #[tokio::test]
    async fn a_message_of_33_mb_is_dropped_and_the_next_one_arrives() {
        let queue = EventQueue::default();
        queue.push_message(Bytes::from(vec![0; 33 * 1024 * 1024]));
        queue.push_message(Bytes::from_static(b"next"));
        assert_eq!(queue.next().await, BusEvent::Missed(1));
        assert_eq!(
            queue.next().await,
            BusEvent::Message(Bytes::from_static(b"next"))
        );
    }

    #[tokio::test]
    async fn a_flapping_connection_does_not_fill_the_queue() {
        let queue = EventQueue::default();
        for _ in 0..1000 {
            queue.push_lost();
            queue.push_back();
        }
        assert!(queue.lock().events.len() <= 2);
        assert_eq!(queue.next().await, BusEvent::Lost);
        assert_eq!(queue.next().await, BusEvent::Back);
    }
}
