//! Handles, by which any task can send to the server and end the session.

use std::future::Future;
use std::sync::Arc;

use engineio_core::{DisconnectReason, Message, Transport};
use tokio::task::JoinHandle;

use crate::account::Account;
use crate::shared::Shared;
use crate::wakers::Interest;
use crate::{Error, FlushError, SendError};

/// Sends to a server and ends the session, from any task or handler. Cheap to clone.
///
/// It does not keep the client alive: after the [`Client`](super::Client) is dropped, the session is closed for the
/// handle too.
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
    pub(crate) account: Account,
}

impl Handle {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            account: Account::of_one(),
        }
    }

    /// Creates the handle inside a client, whose flush answers for what all handles have queued.
    pub(crate) const fn of_client(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            account: Account::of_all(),
        }
    }

    /// Sends a message, as [`Client::send`](super::Client::send) does.
    ///
    /// # Errors
    ///
    /// Returns the message as [`SendError::Closed`] if the session is over, or as [`SendError::Separator`] if it is a text
    /// with U+001E that may leave by polling.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.shared
            .send(&mut Some(message.into()), &self.account)
            .await
    }

    /// Sends a message if there is room for it, as [`Client::try_send`](super::Client::try_send) does.
    ///
    /// # Errors
    ///
    /// Returns the message as [`Client::try_send`](super::Client::try_send) does.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.shared.try_send(message.into(), &self.account)
    }

    /// Waits until the messages queued so far have left, as [`Client::flush`](super::Client::flush) does.
    ///
    /// # Errors
    ///
    /// Fails if a session lost messages after this handle had queued its first message since its last flush, or after
    /// the call if it has queued none. The messages may be those of another handle. The flush of a clone also covers
    /// the messages that the handle had queued before it was cloned.
    pub async fn flush(&self) -> Result<(), FlushError> {
        self.shared.flush(&self.account).await
    }

    /// Returns the size of the queue, as [`Client::queued_bytes`](super::Client::queued_bytes) does.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.shared.lock().session.queued_bytes()
    }

    /// Returns the server's limit, as [`Client::max_payload`](super::Client::max_payload) does.
    #[must_use]
    pub fn max_payload(&self) -> Option<usize> {
        let state = self.shared.lock();
        state
            .session
            .opened()
            .and_then(|opened| opened.max_payload())
    }

    /// Takes the messages that were not sent, as [`Client::take_unsent`](super::Client::take_unsent) does.
    #[must_use]
    pub fn take_unsent(&self) -> Vec<Message> {
        let (unsent, _replaced) = self.shared.lock().take_unsent();
        unsent
    }

    /// Returns the id of the session, as [`Client::sid`](super::Client::sid) does.
    #[must_use]
    pub fn sid(&self) -> Option<String> {
        let state = self.shared.lock();
        state.session.opened().map(|opened| opened.sid().to_owned())
    }

    /// Returns the current transport, as [`Client::transport`](super::Client::transport) does.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.shared.lock().session.transport()
    }

    /// Returns whether the session was upgraded, as [`Client::upgraded`](super::Client::upgraded) does.
    #[must_use]
    pub fn upgraded(&self) -> bool {
        self.shared.lock().upgraded
    }

    /// Returns the error of the upgrade, as [`Client::upgrade_error`](super::Client::upgrade_error) does.
    #[must_use]
    pub fn upgrade_error(&self) -> Option<Error> {
        self.shared.lock().upgrade_error.clone()
    }

    /// Waits until the upgrade has succeeded or failed, as [`Client::settled`](super::Client::settled) does.
    pub async fn settled(&self) -> Transport {
        let settled = self.shared.wait(Interest::Phase, |state| {
            let session = &state.session;
            (!session.is_upgrading()).then(|| session.transport())
        });
        settled.await
    }

    /// Returns whether the session is open, as [`Client::is_open`](super::Client::is_open) does.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.shared.lock().session.is_open()
    }

    /// Returns the reason for the end of the last session, as
    /// [`Client::disconnect_reason`](super::Client::disconnect_reason) does.
    #[must_use]
    pub fn disconnect_reason(&self) -> Option<DisconnectReason> {
        self.shared.lock().reason
    }

    /// Returns the error that ended the last session, as [`Client::disconnect_error`](super::Client::disconnect_error)
    /// does.
    #[must_use]
    pub fn disconnect_error(&self) -> Option<Error> {
        self.shared.lock().told_error()
    }

    /// Closes the session gracefully, as [`Client::close`](super::Client::close) does, but may be called by a handler: it does not wait for
    /// handlers.
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

    /// Ends the session at once, as [`Client::abort`](super::Client::abort) does.
    pub fn abort(&self) {
        self.shared.stop(Some(DisconnectReason::Client));
    }

    /// Spawns a task that ends with the client, as [`Client::spawn`](super::Client::spawn) does.
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

    /// Waits until the session is over, as [`Client::wait`](super::Client::wait) does. A handler that calls this waits for itself.
    pub async fn wait(&self) {
        let done = self.shared.wait(Interest::Phase, |state| {
            state.phase().is_done().then_some(())
        });
        done.await;
    }
}
