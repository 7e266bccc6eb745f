//! The requests of one kind, GET or POST: one at a time, over a connection that is kept from one to the next.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use engineio_core::Payload;
use engineio_core::client::RequestId;
use futures_core::future::BoxFuture;

use crate::Error;
use crate::clock::now;
use crate::net::http::{KEEP_ALIVE, Outcome};
use crate::net::kept::Kept;

pub(super) type Pending = (RequestId, BoxFuture<'static, Outcome>);

/// The request in progress, if any, and its time limit.
#[derive(Default)]
pub(super) struct Requests {
    pending: Option<Pending>,
    kept: Option<Box<Kept>>,
    /// The end of the time for the request or, without one, for the kept connection.
    deadline: Option<Instant>,
}

impl Requests {
    /// Starts a request, which `send` makes for the connection that was kept, unless its time is over: while the thread did
    /// something else, or the process was stopped, nobody has noticed that the server has closed it.
    pub(super) fn start(
        &mut self,
        id: RequestId,
        limit: Option<Duration>,
        send: impl FnOnce(Option<Box<Kept>>) -> BoxFuture<'static, Outcome>,
    ) {
        let now = now();
        let is_fresh = self.deadline.is_some_and(|deadline| now < deadline);
        self.pending = Some((id, send(self.kept.take().filter(|_| is_fresh))));
        self.deadline = limit.and_then(|limit| now.checked_add(limit));
    }

    /// Returns the answer to the request once it is there. Without a request, notices when the server closes the
    /// connection.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Option<(RequestId, Result<Payload, Error>)> {
        let Some((id, request)) = &mut self.pending else {
            self.kept.take_if(|kept| kept.poll(cx).is_ready());
            return None;
        };
        let (id, Poll::Ready((answer, kept))) = (*id, request.as_mut().poll(cx)) else {
            return None;
        };
        self.pending = None;
        self.deadline = kept.is_some().then(|| now() + KEEP_ALIVE);
        self.kept = kept;
        Some((id, answer))
    }

    /// Returns the request if it is the one with this id, for it to be dropped.
    pub(super) fn cancel(&mut self, id: RequestId) -> Option<Pending> {
        let cancelled = self.pending.take_if(|(pending, _)| *pending == id)?;
        self.deadline = None;
        Some(cancelled)
    }

    /// Closes the connection that is kept, if there is one.
    pub(super) fn close_kept(&mut self) {
        if self.kept.take().is_some() {
            self.deadline = None;
        }
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Ends what has reached its deadline, and returns the id of the request if it is that.
    pub(super) fn expire(&mut self, now: Instant) -> Option<RequestId> {
        self.deadline.take_if(|deadline| *deadline <= now)?;
        self.kept = None;
        self.pending.take().map(|(id, _)| id)
    }
}
