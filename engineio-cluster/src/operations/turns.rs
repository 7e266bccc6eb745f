//! The order in which the operations of one connection are carried out.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use engineio_tower::Sid;
use http::{Method, Request};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::task::coop::unconstrained;

use super::wire::{BROADCAST, PREFIX, SESSION};

/// Gives the operations of one connection that send something their turns, in the order in which they arrive.
///
/// Each operation has a task of its own, and a runtime runs those in any order. A sender that waits for each answer does
/// not notice, but one that gives up on a message and sends the next does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns {
    queues: Arc<Mutex<HashMap<Recipient, Arc<Semaphore>>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Recipient {
    Session(Sid),
    /// The clients of this node.
    All,
}

/// The place of an operation among those for one recipient. Those behind it come once it is dropped.
pub(crate) struct Turn {
    turns: Turns,
    recipient: Recipient,
    place: Option<Place>,
}

type Queued = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// The parts are held only to be dropped.
enum Place {
    First { _permit: OwnedSemaphorePermit },
    Behind(Queued),
}

impl Turns {
    /// Returns the place of a request, if it sends something. It is called when the request arrives, before it gets a task.
    pub(crate) fn enter<B>(&self, request: &Request<B>) -> Option<Box<Turn>> {
        if request.method() != Method::POST {
            return None;
        }
        let path = request.uri().path().strip_prefix(PREFIX)?;
        let recipient = match path.strip_prefix(SESSION) {
            Some(sid) => Recipient::Session(sid.parse().ok()?),
            None if path == BROADCAST => Recipient::All,
            None => return None,
        };
        Some(Box::new(self.line_up(recipient)))
    }

    fn line_up(&self, recipient: Recipient) -> Turn {
        let mut queues = self.lock();
        let queue = queues
            .entry(recipient)
            .or_insert_with(|| Arc::new(Semaphore::new(1)));
        let place = match Arc::clone(queue).try_acquire_owned() {
            Ok(permit) => Place::First { _permit: permit },
            Err(_) => {
                // The first poll takes the place in the queue, whatever the task has spent of its budget.
                let queue = Arc::clone(queue);
                let mut queued: Queued = Box::pin(unconstrained(queue.acquire_owned()));
                let mut cx = Context::from_waker(Waker::noop());
                match queued.as_mut().poll(&mut cx) {
                    Poll::Ready(Ok(permit)) => Place::First { _permit: permit },
                    _ => Place::Behind(queued),
                }
            }
        };
        Turn {
            turns: self.clone(),
            recipient,
            place: Some(place),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Recipient, Arc<Semaphore>>> {
        // Each statement leaves the table whole, so a panic elsewhere has broken nothing.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Waits until all operations that were before this one are over.
    pub(super) async fn come(&mut self) {
        if let Some(Place::Behind(queued)) = &mut self.place
            && let Ok(permit) = queued.await
        {
            self.place = Some(Place::First { _permit: permit });
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // A place holds the queue, so whoever sees the table's reference alone is the last one.
        let mut queues = self.turns.lock();
        self.place = None;
        if let Some(queue) = queues.get(&self.recipient)
            && Arc::strong_count(queue) == 1
        {
            queues.remove(&self.recipient);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn has_come(turn: &mut Turn) -> bool {
        let mut come = std::pin::pin!(turn.come());
        poll_fn(|cx| Poll::Ready(come.as_mut().poll(cx).is_ready())).await
    }

    fn request(method: Method, path: &str) -> Request<()> {
        Request::builder()
            .method(method)
            .uri(path)
            .body(())
            .unwrap()
    }

    #[tokio::test]
    async fn turns_come_in_order_even_if_one_in_between_is_given_up() {
        let turns = Turns::default();
        let mut first = turns.line_up(Recipient::All);
        let given_up = turns.line_up(Recipient::All);
        let mut third = turns.line_up(Recipient::All);
        let mut fourth = turns.line_up(Recipient::All);
        assert!(has_come(&mut first).await);
        drop(given_up);
        assert!(!has_come(&mut third).await);
        drop(first);
        assert!(!has_come(&mut fourth).await);
        assert!(has_come(&mut third).await);
        drop(third);
        assert!(has_come(&mut fourth).await);
        drop(fourth);
        assert!(turns.lock().is_empty());
    }

    #[tokio::test]
    async fn recipients_do_not_wait_for_each_other_and_only_what_sends_waits() {
        let turns = Turns::default();
        let one = request(Method::POST, "http://cluster/v1/session/AAAA.a");
        let other = request(Method::POST, "http://cluster/v1/session/BBBB.a");
        let all = request(Method::POST, "http://cluster/v1/broadcast");
        let mut places: Vec<_> = [&one, &other, &all]
            .map(|request| turns.enter(request).unwrap())
            .into();
        for turn in &mut places {
            assert!(has_come(turn).await);
        }
        assert!(!has_come(&mut turns.enter(&one).unwrap()).await);
        for (method, path) in [
            (Method::DELETE, "/v1/session/AAAA.a"),
            (Method::GET, "/v1/node"),
            (Method::POST, "/engine.io/"),
        ] {
            assert!(turns.enter(&request(method, path)).is_none(), "{path}");
        }
        drop(places);
        assert!(turns.lock().is_empty());
    }

    #[tokio::test]
    async fn a_place_is_taken_even_by_a_task_without_budget() {
        let turns = Turns::default();
        let first = turns.line_up(Recipient::All);
        poll_fn(|cx| {
            while let Poll::Ready(step) = tokio::task::coop::poll_proceed(cx) {
                step.made_progress();
            }
            Poll::Ready(())
        })
        .await;
        let mut second = turns.line_up(Recipient::All);
        let mut third = turns.line_up(Recipient::All);
        drop(first);
        assert!(!has_come(&mut third).await);
        assert!(has_come(&mut second).await);
    }
}
