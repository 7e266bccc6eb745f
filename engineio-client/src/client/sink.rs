//! The client as a stream and a sink.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use engineio_core::Message;
use futures_core::Stream;
use futures_sink::Sink;

use super::Client;
use crate::wakers::Interest;
use crate::{SendError, meter};

/// The error of the sink of a [`Client`].
///
/// ```no_run
/// use engineio_client::{Client, SinkError};
/// use futures_util::SinkExt;
///
/// # async fn example(client: &mut Client) {
/// match client.send("hello".into()).await {
///     Ok(()) => println!("handed to the transport"),
///     Err(SinkError::NotQueued(error)) => println!("{:?} was not queued", error.into_message()),
///     Err(error) => println!("{error}"),
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// The message was not queued, and is handed back.
    #[error(transparent)]
    NotQueued(#[from] SendError),
    /// A session ended before its queued messages were sent, as for [`FlushError::Lost`].
    #[error("a session ended before all queued messages were sent")]
    Lost,
}

/// The error of [`Client::flush`] and of the other methods that flush.
///
/// ```no_run
/// use engineio_client::{Client, FlushError};
///
/// # async fn example(client: &mut Client) -> Result<(), Box<dyn std::error::Error>> {
/// client.send("hello").await?;
/// if let Err(FlushError::Lost) = client.flush().await {
///     println!("not sent: {:?}", client.take_unsent());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlushError {
    /// A session ended before its queued messages were sent, or while a POST or frames with them were on their way.
    #[error("a session ended before all queued messages were sent")]
    Lost,
    /// The call would have stopped an async runtime.
    #[cfg(feature = "blocking")]
    #[error(transparent)]
    Failed(crate::Error),
}

impl Client {
    /// Puts the message that the sink has taken into the outbox, once no sender waits for room that came before it.
    ///
    /// The sink takes no place among the senders: one that is no longer polled would block those behind it.
    pub(super) fn poll_unsent(&mut self, cx: &Context<'_>) -> Poll<Result<(), SendError>> {
        let (unsent, mark) = (&mut self.unsent, self.mark);
        let Some(bytes) = unsent.as_ref().map(Message::len) else {
            return Poll::Ready(Ok(()));
        };
        let (shared, account) = (&self.handle.shared, &self.handle.account);
        let outcome = ready!(
            shared.poll_wait(&mut self.sink, Interest::Outbox, cx, |state| {
                let outcome = state.send_at_mark(unsent, mark);
                if let Some(Ok(())) = outcome {
                    account.queue(state.queued(), state.lost());
                }
                outcome
            })
        );
        if outcome.is_ok() {
            meter::sent(bytes);
        }
        Poll::Ready(outcome)
    }

    /// Checks that no session has lost messages since the last flush.
    fn check_lost(&self) -> Result<(), SinkError> {
        let account = &self.handle.account;
        let state = self.handle.shared.lock();
        let lost = state.lost();
        let since = account.note(lost);
        account.settle(lost, false);
        (since == lost).then_some(()).ok_or(SinkError::Lost)
    }
}

impl Stream for Client {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let this = self.get_mut();
        this.handle.shared.poll_stream(&mut this.reader, cx)
    }
}

impl Sink<Message> for Client {
    type Error = SinkError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        // As in `Client::send`.
        ready!(tokio::task::coop::poll_proceed(cx)).made_progress();
        self.get_mut().poll_unsent(cx).map_err(Into::into)
    }

    /// Queues the message, or keeps it until there is room, which the next `poll_ready` waits for.
    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), SinkError> {
        let this = self.get_mut();
        if this.unsent.is_some() {
            // Not asked by `poll_ready`.
            return Err(SendError::Full(message).into());
        }
        match this.handle.try_send(message) {
            Err(SendError::Full(message)) => this.unsent = Some(message),
            Err(SendError::Closed(message)) if this.handle.shared.lock().is_coming_back() => {
                this.unsent = Some(message);
            }
            outcome => return outcome.map_err(Into::into),
        }
        this.mark = this.handle.shared.lock().senders.mark();
        Ok(())
    }

    /// Returns `Ready` when every message that this client has queued, by the sink or by [`Client::send`], has been sent to
    /// the server; see [`Client::flush`], which waits for those of handles too.
    ///
    /// # Errors
    ///
    /// Fails if a session has lost messages, of this sink or a handle, since the last flush.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        let this = self.get_mut();
        ready!(this.poll_unsent(cx))?;
        let (shared, account) = (&this.handle.shared, &this.handle.account);
        ready!(
            shared.poll_wait(&mut this.sink, Interest::Outbox, cx, |state| {
                state.has_sent(account.position()).then_some(())
            })
        );
        Poll::Ready(this.check_lost())
    }

    /// Closes as [`Client::close`] does. A message that the sink still holds waits for room at most for
    /// [`close_timeout`](crate::ClientBuilder::close_timeout).
    ///
    /// # Errors
    ///
    /// Fails as [`poll_flush`](Self::poll_flush) does, or if the message that the sink held could not be queued.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        let this = self.get_mut();
        let queued = this.poll_unsent(cx);
        let shared = &this.handle.shared;
        if !shared.lock().stopping {
            // A server that is away is not waited for.
            if queued.is_pending() && shared.stop_in_time() {
                return Poll::Pending;
            }
            shared.stop(None);
        }
        // A message that cannot be queued does not keep the client from closing.
        if let Poll::Ready(Err(error)) = queued {
            return Poll::Ready(Err(error.into()));
        }
        ready!(
            shared.poll_wait(&mut this.sink, Interest::Phase, cx, |state| {
                state.phase().is_over().then_some(())
            })
        );
        if let Some(message) = this.unsent.take() {
            return Poll::Ready(Err(SendError::Closed(message).into()));
        }
        Poll::Ready(this.check_lost())
    }
}
