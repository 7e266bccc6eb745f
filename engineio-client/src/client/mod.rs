//! The application's side of a client.

mod handle;
mod sink;

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;

pub use self::handle::Handle;
pub use self::sink::{FlushError, SinkError};
use engineio_core::{DisconnectReason, Message, Transport};
use futures_core::Stream;
use tokio::task::JoinHandle;

use crate::shared::Shared;
use crate::wakers::Key;
use crate::{ClientBuilder, Error, SendError};

/// A client that is connected to a server.
///
/// It is a [`Stream`] of the server's messages and a [`Sink`](futures_sink::Sink) for the application's. The stream
/// ends when the session is over, which is not an error: [`disconnect_reason`](Self::disconnect_reason) returns the
/// reason, and [`disconnect_error`](Self::disconnect_error) the error, if there was one. Heartbeats and the upgrade
/// happen in a separate task, whether or not the stream is read. If it is not read for so long that
/// [`inbox_limit`](ClientBuilder::inbox_limit) is reached, the client stops reading from the server (back pressure).
///
/// Dropping the client ends the session at once, and its tasks and connections within a second or when its handlers have
/// returned. To send the queued messages first, use [`close`](Self::close). For other tasks, there is
/// [`handle`](Self::handle).
///
/// # Cancel safety
///
/// Dropping one of these futures before it completes has no effect, unless its documentation says otherwise.
///
/// # Examples
///
/// ```no_run
/// use engineio_client::Client;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut client = Client::connect("http://localhost:5000").await?;
/// client.send("hello").await?;
/// while let Some(message) = client.next().await {
///     println!("{message:?}");
/// }
/// println!("over: {:?}", client.disconnect_reason());
/// # Ok(())
/// # }
/// ```
pub struct Client {
    handle: Handle,
    /// The waker of the stream, which waits for a message.
    reader: Option<Key>,
    /// The waker of the sink.
    sink: Option<Key>,
}

impl Client {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            handle: Handle::of_client(shared),
            reader: None,
            sink: None,
        }
    }

    /// Connects with the defaults: polling first, then WebSocket if the server offers it. The path is `/engine.io/`
    /// unless the URL names one.
    ///
    /// # Errors
    ///
    /// Fails if the URL cannot be used, the server cannot be reached or refuses, or the answer is not that of an
    /// Engine.IO server; at the latest after 20 seconds.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::builder(url).connect().await
    }

    /// Returns a builder for a client of the server at this URL.
    pub fn builder(url: &str) -> ClientBuilder {
        ClientBuilder::new(url)
    }

    /// Waits for the next message; returns `None` when the session is over.
    ///
    /// With a message handler, messages go there, and this only waits for the end.
    ///
    /// # Cancel safety
    ///
    /// No message is lost if this is dropped.
    pub async fn next(&mut self) -> Option<Message> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Sends a message, waiting while the outbox is full, and for the next session if the client reconnects.
    /// Returning means that the message was queued, not that it was delivered.
    ///
    /// Messages leave in the order in which this client took them, by this method, by [`try_send`](Self::try_send) or by the
    /// sink. Those of a [`Handle`] may leave before one that the sink has taken while the outbox was full.
    ///
    /// # Errors
    ///
    /// Returns the message as [`SendError::Closed`] if the session is over, or as [`SendError::Separator`] if it is a text
    /// with U+001E that may leave by polling.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped before it returns, the message was not queued.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.handle.send(message).await
    }

    /// Sends a message if there is room for it.
    ///
    /// # Errors
    ///
    /// Returns the message as [`SendError::Full`] if the outbox has no room for it, or for one that the sink took before it, as
    /// [`SendError::Closed`] if the session is over (if the client reconnects, until the next one is open), or as
    /// [`SendError::Separator`] as [`send`](Self::send) does.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.handle.try_send(message)
    }

    /// Waits until the messages that were queued before the call have left for the server: with polling, until it has
    /// answered their POST; on a WebSocket, until they are handed to the operating system, and by WebTransport, to QUIC. Neither shows that the
    /// application at the other end has handled them. After a graceful [`close`](Self::close) of a WebSocket that the server
    /// has not answered in time, the server may not have them.
    ///
    /// With [`SinkExt`](https://docs.rs/futures-util/latest/futures_util/sink/trait.SinkExt.html) in scope this method, and
    /// not that of the trait, is called; both wait for a message that [`feed`] left with the client.
    ///
    /// [`feed`]: https://docs.rs/futures-util/latest/futures_util/sink/trait.SinkExt.html#method.feed
    ///
    /// # Errors
    ///
    /// Fails if messages of any handle were lost since the last flush of this client, before or during the call: they were
    /// still queued when a session ended, or the server may not have them. Each loss fails one flush.
    /// [`take_unsent`](Self::take_unsent) returns those that the server has certainly not seen. If the server closes the
    /// session while a POST is on its way, the end waits for the answer, which tells whether the server has the messages,
    /// at most for [`close_timeout`](ClientBuilder::close_timeout).
    ///
    /// The flush of a [`Handle`] fails for the messages that were sent with that handle.
    pub async fn flush(&mut self) -> Result<(), FlushError> {
        // Without the message of the sink the queue is not what the application has handed over.
        let (shared, sink) = (&self.handle.shared, &mut self.sink);
        if let Err(error) = poll_fn(|cx| shared.poll_held(sink, cx)).await {
            let mut state = shared.lock();
            state.left_over.push(error.into_message());
            return Err(FlushError::Lost);
        }
        self.handle.flush().await
    }

    /// Returns the size of the messages that wait to be sent, in bytes, with the overhead that
    /// [`outbox_limit`](ClientBuilder::outbox_limit) counts for each. Those that were handed to the transport are not
    /// counted, nor is one that the sink has taken while the outbox was full.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.handle.queued_bytes()
    }

    /// Returns the size of the largest message that the server accepts, in bytes as they are encoded; `None` if it did not
    /// say, as servers of revision 3 do, or while a new session is being opened. A server that gets a larger one closes the
    /// session.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: engineio_client::Client, file: Vec<u8>) -> Result<(), engineio_client::SendError> {
    /// let most = client.max_payload().unwrap_or(100_000) / 2;
    /// for part in file.chunks(most.max(1)) {
    ///     client.send(part.to_vec()).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn max_payload(&self) -> Option<usize> {
        self.handle.max_payload()
    }

    /// Takes the messages that were still queued when the last session ended, in their order, and the one that the sink had taken if no
    /// other session follows. The server has not seen them.
    ///
    /// Empty while the first session lasts, the second time, and if [`on_disconnect`](ClientBuilder::on_disconnect) is
    /// set: its handler gets them, unless the runtime ends before the handler is called. The end of the next session
    /// replaces them.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: engineio_client::Client) {
    /// client.wait().await;
    /// for message in client.take_unsent() {
    ///     println!("not sent: {message:?}");
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn take_unsent(&self) -> Vec<Message> {
        self.handle.take_unsent()
    }

    /// Returns a handle for other tasks.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Returns the id that the server gave the session, or `None` while a new session is being opened.
    ///
    /// Anybody who has it can act as this client, so do not log it.
    #[must_use]
    pub fn sid(&self) -> Option<String> {
        self.handle.sid()
    }

    /// Returns the current transport.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.handle.transport()
    }

    /// Returns whether the session began by polling and was upgraded to another transport.
    #[must_use]
    pub fn upgraded(&self) -> bool {
        self.handle.upgraded()
    }

    /// Returns the reason why the upgrade of the current session failed, or `None` if it has not failed.
    /// After a failure, the session goes on by polling.
    #[must_use]
    pub fn upgrade_error(&self) -> Option<Error> {
        self.handle.upgrade_error()
    }

    /// Waits until the upgrade has succeeded or failed, and returns the transport of the session. Takes at
    /// most [`upgrade_timeout`](ClientBuilder::upgrade_timeout), and returns at once if the session will not be
    /// upgraded.
    pub async fn settled(&self) -> Transport {
        self.handle.settled().await
    }

    /// Returns whether the session is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.handle.is_open()
    }

    /// Returns the reason for the end of the last session, or `None` while the first one lasts. Attempts to reconnect
    /// that fail do not change it.
    ///
    /// A session lasts until the last of its POSTs is answered, because the answer is part of how it ended. So if the server
    /// has closed it, [`send`](Self::send) may already fail while this is still `None`, at most for
    /// [`close_timeout`](ClientBuilder::close_timeout); [`wait`](Self::wait) waits for the reason.
    #[must_use]
    pub fn disconnect_reason(&self) -> Option<DisconnectReason> {
        self.handle.disconnect_reason()
    }

    /// Returns the error that ended the last session or, once the client has given up reconnecting, that of its last
    /// attempt. `None` if one side ended the session on purpose.
    #[must_use]
    pub fn disconnect_error(&self) -> Option<Error> {
        self.handle.disconnect_error()
    }

    /// Closes the session gracefully: sends the queued messages and the one that the sink has taken, then the close packet, and closes
    /// the connections.
    /// Waits until that is done, at most for [`close_timeout`](ClientBuilder::close_timeout) and a second, and until the
    /// handlers have returned.
    ///
    /// Messages that arrived before can still be read.
    ///
    /// # Cancel safety
    ///
    /// The close goes on if this is dropped.
    pub async fn close(&self) {
        self.handle.begin_close();
        self.handle.wait().await;
    }

    /// Ends the session at once. Queued messages are not sent; [`take_unsent`](Self::take_unsent) returns them.
    pub fn abort(&self) {
        self.handle.abort();
    }

    /// Spawns a task that ends with the client: when the session is over and no new one will be opened, the task is
    /// dropped at its next suspension point, and the result is `None`.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: engineio_client::Client) {
    /// let handle = client.handle();
    /// client.spawn(async move {
    ///     while handle.send("tick").await.is_ok() {
    ///         tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    ///     }
    /// });
    /// # }
    /// ```
    pub fn spawn<F>(&self, task: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.handle.spawn(task)
    }

    /// Waits until the session is over, no new one will be opened, and the handlers have returned.
    ///
    /// Does not read messages: they go to a message handler, or wait for the stream to be read.
    pub async fn wait(&self) {
        self.handle.wait().await;
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.handle.shared).finish()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.handle.abort();
    }
}
