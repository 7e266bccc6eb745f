//! The runtime's timer for the deadline of a session, which mostly moves on before it is due.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep};

use crate::clock::now;

/// Wakes the task when a deadline has come.
///
/// Every packet of the server puts its timeout off. The timer of the runtime stays where it is then, which saves a change
/// of the runtime's list for each packet, and is set anew when it fires too early.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: Pin<Box<Sleep>>,
    /// The time for which it is set: never later than the deadline.
    armed: Option<Instant>,
}

impl Alarm {
    pub(super) fn new() -> Self {
        Self {
            timer: Box::pin(sleep(Duration::ZERO)),
            armed: None,
        }
    }

    /// Ready when the deadline has come; never without one.
    pub(super) fn poll(&mut self, deadline: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = deadline else {
            self.armed = None;
            return Poll::Pending;
        };
        loop {
            if self.armed.is_none_or(|armed| at < armed) {
                self.armed = Some(at);
                self.timer.as_mut().reset(at.into());
            }
            let has_fired = self.timer.as_mut().poll(cx).is_ready();
            // The runtime keeps even the time from a task that has read much, and a server may send without a pause.
            if now() >= at {
                self.armed = None;
                return Poll::Ready(());
            }
            if !has_fired {
                return Poll::Pending;
            }
            self.armed = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;

    use tokio::time::timeout;

    use super::*;

    /// Waits for the deadline in `at`, which may change between two polls, and returns the seconds that this took.
    async fn waited(alarm: &mut Alarm, at: &Cell<Instant>) -> u64 {
        let start = now();
        poll_fn(|cx| alarm.poll(Some(at.get()), cx)).await;
        (now() - start).as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_on_or_comes_closer_is_met_in_time() {
        let secs = Duration::from_secs;
        let mut alarm = Alarm::new();
        let at = Cell::new(now() + secs(10));
        timeout(secs(4), waited(&mut alarm, &at)).await.unwrap_err();
        // Moved on while nothing polls the alarm, and once more while the timer is set for the time before.
        at.set(now() + secs(10));
        timeout(secs(1), waited(&mut alarm, &at)).await.unwrap_err();
        at.set(now() + secs(10));
        assert_eq!(waited(&mut alarm, &at).await, 10);
        at.set(now() + secs(10));
        timeout(secs(1), waited(&mut alarm, &at)).await.unwrap_err();
        at.set(now() + secs(2));
        assert_eq!(waited(&mut alarm, &at).await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_deadline_it_never_rings() {
        let mut alarm = Alarm::new();
        let at = Cell::new(now() + Duration::from_secs(1));
        let ringing = waited(&mut alarm, &at);
        timeout(Duration::ZERO, ringing).await.unwrap_err();
        let silent = poll_fn(|cx| alarm.poll(None, cx));
        timeout(Duration::from_secs(5), silent).await.unwrap_err();
    }
}
