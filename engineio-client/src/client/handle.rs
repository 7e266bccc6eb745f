//! Handles: the part of a client that any task may have.

use std::future::Future;
use std::sync::Arc;

use engineio_core::{DisconnectReason, Message, Transport};
use tokio::task::JoinHandle;

use crate::shared::Shared;
use crate::wakers::Interest;
use crate::{Error, SendError};

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
    pub(crate) shared: Arc<Shared>,
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
        self.shared.send(message.into()).await
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
        // An attempt to come back that fails is not the end of a session.
        let is_attempt = state.session.opened().is_none() && state.reason.is_some();
        let closed = state.session.closed().filter(|_| !is_attempt);
        closed.or(state.reason)
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
