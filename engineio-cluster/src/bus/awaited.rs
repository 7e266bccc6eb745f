//! What other processes, or the broker, have to send back: replies to requests, and own messages.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// The time within which a message has to be published and come back to its publisher. Publishing alone may take two
/// seconds of it.
///
/// The broker has taken it then. That it was published proves less: with NATS, only that it was written to a socket.
pub(crate) const ECHO_LIMIT: Duration = Duration::from_secs(3);

/// Answers that are waited for, by the number of the message that asks for them.
#[derive(Debug)]
pub(crate) struct Awaited<T> {
    senders: Mutex<HashMap<u64, oneshot::Sender<T>>>,
}

/// An answer that is waited for. Dropping it gives the wait up.
#[derive(Debug)]
pub(crate) struct Answer<'a, T> {
    awaited: &'a Awaited<T>,
    number: u64,
    since: Instant,
    receiver: oneshot::Receiver<T>,
}

impl<T> Default for Awaited<T> {
    fn default() -> Self {
        Self {
            senders: Mutex::default(),
        }
    }
}

impl<T> Awaited<T> {
    /// Expects the answer to a message that is about to be published.
    pub(crate) fn expect(&self, number: u64) -> Answer<'_, T> {
        let (sender, receiver) = oneshot::channel();
        self.lock().insert(number, sender);
        Answer {
            awaited: self,
            number,
            since: Instant::now(),
            receiver,
        }
    }

    /// Hands an answer to the task that waits for it, if any does.
    pub(crate) fn arrived(&self, number: u64, answer: T) {
        let sender = self.lock().remove(&number);
        if let Some(sender) = sender {
            let _ = sender.send(answer);
        }
    }

    /// Ends all waits, because an answer that was sent meanwhile never comes.
    pub(crate) fn end(&self) {
        // They wake tasks when they are dropped, which must not happen under the lock.
        let senders = std::mem::take(&mut *self.lock());
        drop(senders);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<T>>> {
        // Each entry stands for itself, so a panic elsewhere has broken nothing.
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Answer<'_, T> {
    /// Waits for the answer. Returns `None` if it does not come within the limit, counted from when it was first expected,
    /// or if the wait was ended.
    pub(crate) async fn within(mut self, limit: Duration) -> Option<T> {
        let deadline = self.since + limit;
        timeout_at(deadline, &mut self.receiver).await.ok()?.ok()
    }
}

impl<T> Drop for Answer<'_, T> {
    fn drop(&mut self) {
        self.awaited.lock().remove(&self.number);
    }
}
