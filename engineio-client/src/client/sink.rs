//! The client as a stream and a sink.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use engineio_core::Message;
use futures_core::Stream;
use futures_sink::Sink;

use super::{Client, Handle};
use crate::SendError;
use crate::wakers::Interest;

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
    /// A session ended as for [`FlushError::Lost`], or the last one ended before the message that the sink held was
    /// sent. [`Client::take_unsent`] returns them.
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
    fn poll_held(&mut self, cx: &Context<'_>) -> Poll<Result<(), SendError>> {
        self.handle.shared.poll_held(&mut self.sink, cx)
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
        self.get_mut().poll_held(cx).map_err(Into::into)
    }

    /// Queues the message, or keeps it until there is room, which the next `poll_ready` waits for.
    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), SinkError> {
        let Handle { shared, account } = &self.handle;
        shared.sink(message, account).map_err(Into::into)
    }

    /// Returns `Ready` when every message that this client has queued, by the sink or by [`Client::send`], has been sent to
    /// the server; see [`Client::flush`], which waits for those of handles too.
    ///
    /// # Errors
    ///
    /// Fails if a session has lost messages, of this sink or a handle, since the last flush.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        let this = self.get_mut();
        ready!(this.poll_held(cx))?;
        let (shared, account) = (&this.handle.shared, &this.handle.account);
        ready!(
            shared.poll_wait(&mut this.sink, Interest::Outbox, cx, |state| {
                let position = account.position().max(state.sink_position);
                state.has_sent(position).then_some(())
            })
        );
        Poll::Ready(this.check_lost())
    }

    /// Closes as [`Client::close`] does.
    ///
    /// # Errors
    ///
    /// Fails as [`poll_flush`](Self::poll_flush) does, or if the message that the sink held may not be sent.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        let this = self.get_mut();
        let queued = this.poll_held(cx);
        let shared = &this.handle.shared;
        if !shared.lock().stopping {
            shared.stop(None);
        }
        // A message that may not be sent does not keep the client from closing.
        if let Poll::Ready(Err(error)) = queued {
            return Poll::Ready(Err(error.into()));
        }
        ready!(
            shared.poll_wait(&mut this.sink, Interest::Phase, cx, |state| {
                state.phase().is_over().then_some(())
            })
        );
        Poll::Ready(this.check_lost())
    }
}
