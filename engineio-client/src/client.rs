//! The application's side of a session.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use engineio_core::{DisconnectReason, Message, Transport};
use futures_core::Stream;
use futures_sink::Sink;
use tokio::task::JoinHandle;

use crate::shared::Shared;
use crate::wakers::{Interest, Key};
use crate::{ClientBuilder, Error, SendError, meter};

/// A client that is connected to a server.
///
/// It is a [`Stream`] of the server's messages and a [`Sink`] for the application's. The stream ends when the session
/// is over, which is no error: [`disconnect_reason`](Self::disconnect_reason) tells why, and
/// [`disconnect_error`](Self::disconnect_error) what went wrong, if anything did. Heartbeats and the upgrade to
/// WebSocket happen in a task of the client's own, whether or not the stream is read; a stream that is not read for
/// long slows the server down, once [`inbox_limit`](ClientBuilder::inbox_limit) is reached.
///
/// Dropping the client ends the session at once, and that task within a second or when its handlers have returned. To
/// let what is queued go out first, use [`close`](Self::close). For other tasks there is [`handle`](Self::handle).
///
/// # Cancel safety
///
/// A future of ours that is dropped before it is ready has done nothing, unless its documentation says otherwise.
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
    /// A message that the sink has taken and the outbox has not.
    unsent: Option<Message>,
    /// Where the stream waits for a message.
    reader: Option<Key>,
    /// Where the sink waits for room.
    sink: Option<Key>,
}

/// Sends to a server and ends the session, from any task or handler. Cheap to clone.
///
/// It does not keep the client alive: when the [`Client`] is dropped, the handle says that the session is closed.
///
/// # Examples
///
/// ```no_run
/// # async fn example(client: engineio_client::Client) {
/// let handle = client.handle();
/// tokio::spawn(async move { handle.send("from another task").await });
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Client {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self {
            handle: Handle { shared },
            unsent: None,
            reader: None,
            sink: None,
        }
    }

    /// Connects with the defaults: polling first, then WebSocket if the server offers it. The path is `/engine.io/`
    /// unless the URL names one.
    ///
    /// # Errors
    ///
    /// Fails if the URL cannot be used, the server cannot be reached or refuses, or what answers is no Engine.IO
    /// server; at the latest after 20 seconds.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::builder(url).connect().await
    }

    /// Begins to set a client up.
    pub fn builder(url: &str) -> ClientBuilder {
        ClientBuilder::new(url)
    }

    /// The next message, or `None` when the session is over.
    ///
    /// With a message handler, messages go there, and this only waits for the end.
    ///
    /// # Cancel safety
    ///
    /// No message is lost if this is dropped.
    pub async fn next(&mut self) -> Option<Message> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Sends a message, waiting while the outbox is full, and for the next session where the client comes back by itself.
    /// What was sent is on its way, not at its goal.
    ///
    /// # Errors
    ///
    /// Returns the message as [`SendError::Closed`] if the session is over.
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
    /// Returns the message as [`SendError::Full`] if the outbox has no room for it, or as [`SendError::Closed`] if the
    /// session is over; where the client comes back by itself, until the next one is open.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.handle.try_send(message)
    }

    /// A handle for other tasks.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The id that the server gave the session, or `None` while a new session is being opened.
    ///
    /// Who knows it can act as this client: it does not belong into a log.
    #[must_use]
    pub fn sid(&self) -> Option<String> {
        self.handle.sid()
    }

    /// By what the server is reached now.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.handle.transport()
    }

    /// Whether the session began by polling and has moved to WebSocket.
    #[must_use]
    pub fn upgraded(&self) -> bool {
        self.handle.upgraded()
    }

    /// Waits until it is decided whether the session moves to WebSocket, and returns the transport that it has then. Takes
    /// at most [`upgrade_timeout`](ClientBuilder::upgrade_timeout), and no time where there is nothing to decide.
    pub async fn settled(&self) -> Transport {
        self.handle.settled().await
    }

    /// Whether the session is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.handle.is_open()
    }

    /// Why the last session ended, or `None` while the first one lasts.
    #[must_use]
    pub fn disconnect_reason(&self) -> Option<DisconnectReason> {
        self.handle.disconnect_reason()
    }

    /// What went wrong when the last session ended, or `None` if one side wished the end.
    #[must_use]
    pub fn disconnect_error(&self) -> Option<Error> {
        self.handle.disconnect_error()
    }

    /// Ends the session in good order: what is queued goes out, the server is told, and the connections are closed.
    /// Waits until that is done, at most for [`close_timeout`](ClientBuilder::close_timeout) and a second, and until the
    /// handlers have returned.
    ///
    /// Messages that came before can still be read.
    ///
    /// # Cancel safety
    ///
    /// The close goes on if this is dropped.
    pub async fn close(&self) {
        self.handle.begin_close();
        self.handle.wait().await;
    }

    /// Ends the session at once; what is queued is dropped.
    pub fn abort(&self) {
        self.handle.abort();
    }

    /// Runs a task beside the client that ends with it: when the session is over and no new one will be opened, the task is
    /// dropped where it stands. The result is `None` then.
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

    #[cfg(feature = "blocking")]
    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    /// Puts what the sink has taken into the outbox.
    fn poll_unsent(&mut self, cx: &Context<'_>) -> Poll<Result<(), SendError>> {
        if self.unsent.is_none() {
            return Poll::Ready(Ok(()));
        }
        let (unsent, mut bytes) = (&mut self.unsent, 0);
        let shared = &self.handle.shared;
        let outcome = shared.poll_wait(&mut self.sink, Interest::Outbox, cx, |state| {
            state.send_when_possible(unsent, &mut bytes)
        });
        if let Poll::Ready(Ok(())) = outcome {
            meter::sent(bytes);
        }
        outcome
    }
}

impl Handle {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// As [`Client::send`].
    ///
    /// # Errors
    ///
    /// Returns the message as [`SendError::Closed`] if the session is over.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        let (mut unsent, mut bytes) = (Some(message.into()), 0);
        let sent = self.shared.wait(Interest::Outbox, |state| {
            state.send_when_possible(&mut unsent, &mut bytes)
        });
        sent.await?;
        meter::sent(bytes);
        Ok(())
    }

    fn is_coming_back(&self) -> bool {
        self.shared.lock().is_coming_back()
    }

    /// As [`Client::try_send`].
    ///
    /// # Errors
    ///
    /// Returns the message as [`SendError::Full`] if the outbox has no room for it, or as [`SendError::Closed`] if the
    /// session is over.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.shared.try_send(message.into())
    }

    /// As [`Client::sid`].
    #[must_use]
    pub fn sid(&self) -> Option<String> {
        let state = self.shared.lock();
        state.session.opened().map(|opened| opened.sid().to_owned())
    }

    /// As [`Client::transport`].
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.shared.lock().session.transport()
    }

    /// As [`Client::upgraded`].
    #[must_use]
    pub fn upgraded(&self) -> bool {
        self.shared.lock().upgraded
    }

    /// As [`Client::settled`].
    pub async fn settled(&self) -> Transport {
        let settled = self.shared.wait(Interest::Phase, |state| {
            let session = &state.session;
            (!session.is_upgrading()).then(|| session.transport())
        });
        settled.await
    }

    /// As [`Client::is_open`].
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.shared.lock().session.is_open()
    }

    /// As [`Client::disconnect_reason`].
    #[must_use]
    pub fn disconnect_reason(&self) -> Option<DisconnectReason> {
        let state = self.shared.lock();
        state.session.closed().or(state.reason)
    }

    /// As [`Client::disconnect_error`].
    #[must_use]
    pub fn disconnect_error(&self) -> Option<Error> {
        self.shared.lock().error.clone()
    }

    /// As [`Client::close`], but may be called by a handler: it does not wait for handlers.
    pub async fn close(&self) {
        self.begin_close();
        self.over().await;
    }

    /// Waits until the last session is over.
    async fn over(&self) {
        let over = self.shared.wait(Interest::Phase, |state| {
            state.phase().is_over().then_some(())
        });
        over.await;
    }

    pub(crate) fn begin_close(&self) {
        self.shared.stop(None);
    }

    /// As [`Client::abort`].
    pub fn abort(&self) {
        self.shared.stop(Some(DisconnectReason::Client));
    }

    /// As [`Client::spawn`].
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let handle = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = handle.over() => None,
                output = task => Some(output),
            }
        })
    }

    /// As [`Client::wait`]. A handler that calls this waits for itself.
    pub async fn wait(&self) {
        let done = self.shared.wait(Interest::Phase, |state| {
            state.phase().is_done().then_some(())
        });
        done.await;
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

impl Stream for Client {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let this = self.get_mut();
        this.handle.shared.poll_stream(&mut this.reader, cx)
    }
}

impl Sink<Message> for Client {
    type Error = SendError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.get_mut().poll_unsent(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), SendError> {
        let this = self.get_mut();
        match this.handle.try_send(message) {
            // Kept until there is room, which the next `poll_ready` waits for.
            Err(SendError::Full(message)) if this.unsent.is_none() => {
                this.unsent = Some(message);
                Ok(())
            }
            Err(SendError::Closed(message))
                if this.unsent.is_none() && this.handle.is_coming_back() =>
            {
                this.unsent = Some(message);
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Ready when everything was handed to the transport.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let this = self.get_mut();
        ready!(this.poll_unsent(cx))?;
        let shared = &this.handle.shared;
        shared.poll_wait(&mut this.sink, Interest::Outbox, cx, |state| {
            let is_flushed = state.session.queued_messages() == 0;
            (is_flushed || state.phase().is_over()).then_some(Ok(()))
        })
    }

    /// As [`Client::close`].
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let this = self.get_mut();
        // A server that is away is not waited for.
        if this.poll_unsent(cx)?.is_pending() && this.handle.is_open() {
            return Poll::Pending;
        }
        if !this.handle.shared.lock().stopping {
            this.handle.shared.stop(None);
        }
        let shared = &this.handle.shared;
        shared.poll_wait(&mut this.sink, Interest::Phase, cx, |state| {
            state.phase().is_over().then_some(Ok(()))
        })
    }
}
