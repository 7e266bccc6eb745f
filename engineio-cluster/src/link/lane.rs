//! One connection to another node, and how many requests are on it.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;

use super::limits::STREAMS;

/// A connection that takes requests.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    requests: SendRequest<Bytes>,
    /// Counts the requests by its references.
    load: Arc<()>,
}

/// A request on a connection, from its head until it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    _load: Arc<()>,
}

impl Lane {
    pub(crate) fn new(requests: SendRequest<Bytes>) -> Self {
        Self {
            requests,
            load: Arc::default(),
        }
    }

    /// Returns whether the connection takes another request at once.
    pub(super) fn has_room(&self) -> bool {
        // h2 counts them too, but tells nobody. Handles that are about to send count as well, which does no harm.
        Arc::strong_count(&self.load) < STREAMS as usize
    }

    /// Waits until a request can be sent.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        self.requests.poll_ready(cx)
    }

    /// Sends the head of a request. `end` means that it has no body.
    pub(crate) fn send(
        mut self,
        request: Request<()>,
        end: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>, Ticket), h2::Error> {
        let (response, stream) = self.requests.send_request(request, end)?;
        Ok((response, stream, Ticket { _load: self.load }))
    }
}
