//! The application's side of a session.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use engineio_core::client::Event;
use engineio_core::{DisconnectReason, Message, Transport};
use futures_core::Stream;
use futures_sink::Sink;
use tokio::task::JoinHandle;

use crate::shared::{Phase, Shared};
use crate::{ClientBuilder, Error, SendError};

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

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    /// Puts what the sink has taken into the outbox.
    fn poll_unsent(&mut self, cx: &Context<'_>) -> Poll<Result<(), SendError>> {
        let Some(message) = self.unsent.take() else {
            return Poll::Ready(Ok(()));
        };
        // Before the attempt, so that room which comes behind it is noticed.
        self.handle.shared.lock().flusher = Some(cx.waker().clone());
        match self.handle.try_send(message) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(SendError::Full(message)) => {
                self.unsent = Some(message);
                Poll::Pending
            }
            Err(SendError::Closed(message)) if self.handle.is_coming_back() => {
                self.unsent = Some(message);
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
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
        let mut message = message.into();
        loop {
            // Before the attempt, so that room which comes between the two is noticed.
            let room = self.shared.room.notified();
            let mut room = std::pin::pin!(room);
            room.as_mut().enable();
            match self.shared.try_send(message) {
                Err(SendError::Full(full)) => message = full,
                Err(SendError::Closed(unsent)) if self.is_coming_back() => message = unsent,
                outcome => return outcome,
            }
            room.await;
        }
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
        loop {
            let change = self.shared.room.notified();
            let mut change = std::pin::pin!(change);
            change.as_mut().enable();
            {
                let session = &self.shared.lock().session;
                if !session.is_upgrading() {
                    return session.transport();
                }
            }
            change.await;
        }
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
        let mut phase = self.shared.phase.subscribe();
        // The sender lives in what this handle holds, so there is no other end than the one that is waited for.
        let _ = phase.wait_for(|phase| phase.is_finished()).await;
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
        let mut phase = self.shared.phase.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = phase.wait_for(|phase| phase.is_finished()) => None,
                output = task => Some(output),
            }
        })
    }

    /// As [`Client::wait`]. A handler that calls this waits for itself.
    pub async fn wait(&self) {
        let mut phase = self.shared.phase.subscribe();
        let _ = phase.wait_for(|phase| *phase == Phase::Done).await;
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
        loop {
            match ready!(self.handle.shared.poll_stream(cx)) {
                Some(Event::Message(message)) => return Poll::Ready(Some(message)),
                Some(_) => {}
                None => return Poll::Ready(None),
            }
        }
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
        let mut state = this.handle.shared.lock();
        if state.session.queued_messages() == 0 || state.finished {
            return Poll::Ready(Ok(()));
        }
        state.flusher = Some(cx.waker().clone());
        Poll::Pending
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
        let mut state = this.handle.shared.lock();
        if state.finished {
            return Poll::Ready(Ok(()));
        }
        state.flusher = Some(cx.waker().clone());
        Poll::Pending
    }
}
