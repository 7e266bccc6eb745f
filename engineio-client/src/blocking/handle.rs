//! Handles: the part of a blocking client that any thread may have.

use std::time::{Duration, Instant};

use super::{check_thread, park, wait_for};
use crate::{DisconnectReason, Error, FlushError, Message, SendError, Transport};

/// Sends to a server, and queries or ends the session, from any thread or handler; see
/// [`engineio_client::Handle`](crate::Handle). A [`Client`](super::Client) has all of its methods.
///
/// It does not keep the client alive: after the client is dropped, the session is closed for the handle too.
///
/// # Examples
///
/// ```no_run
/// # fn example(client: engineio_client::blocking::Client) {
/// let handle = client.handle();
/// std::thread::spawn(move || handle.send("from another thread"));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) inner: crate::Handle,
}

impl Handle {
    /// Sends a message, waiting while the outbox is full, and for the next session if the client reconnects.
    ///
    /// # Errors
    ///
    /// Returns the message as [`SendError::Closed`] if the session is over, or as [`SendError::Separator`] if it is a text
    /// with U+001E that may leave by polling; inside an async task, where nothing may wait, also as [`SendError::Full`].
    pub fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.send_until(message.into(), None)
    }

    /// Sends a message as [`send`](Self::send) does, but does not wait longer than this.
    ///
    /// # Errors
    ///
    /// Returns the message as [`send`](Self::send) does; as [`SendError::Full`] too if there was no room in time, and as
    /// [`SendError::Closed`] if there was no session in time.
    pub fn send_timeout(
        &self,
        message: impl Into<Message>,
        timeout: Duration,
    ) -> Result<(), SendError> {
        self.send_until(message.into(), Instant::now().checked_add(timeout))
    }

    fn send_until(&self, message: Message, deadline: Option<Instant>) -> Result<(), SendError> {
        let message = match self.inner.try_send(message) {
            // The session may be over for good, which waiting finds out at once.
            Err(SendError::Full(message) | SendError::Closed(message)) if !park::is_in_task() => {
                message
            }
            outcome => return outcome,
        };
        let mut unsent = Some(message);
        let sending = self.inner.shared.send(&mut unsent, &self.inner.account);
        let outcome = park::block_on_until(sending, deadline);
        match (outcome, unsent) {
            (Some(outcome), _) => outcome,
            (None, Some(message)) if self.is_open() => Err(SendError::Full(message)),
            (None, Some(message)) => Err(SendError::Closed(message)),
            (None, None) => Ok(()),
        }
    }

    /// Sends a message if there is room for it.
    ///
    /// # Errors
    ///
    /// Returns the message as [`SendError::Full`] if the outbox has no room for it, as [`SendError::Closed`] if the session
    /// is over (if the client reconnects, until the next one is open), or as [`SendError::Separator`] as [`send`](Self::send)
    /// does.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.inner.try_send(message)
    }

    /// Waits until the messages that were queued before the call have left for the server; see
    /// [`engineio_client::Client::flush`](crate::Client::flush).
    ///
    /// # Errors
    ///
    /// Fails if messages were lost, as [`engineio_client::Client::flush`](crate::Client::flush) and
    /// [`engineio_client::Handle::flush`](crate::Handle::flush) do, or if this is called inside an async task.
    pub fn flush(&self) -> Result<(), FlushError> {
        wait_for("flush", self.inner.flush()).unwrap_or_else(|error| Err(FlushError::Failed(error)))
    }

    /// Returns the size of the messages that wait to be sent, in bytes; see
    /// [`engineio_client::Client::queued_bytes`](crate::Client::queued_bytes).
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.inner.queued_bytes()
    }

    /// Returns the size of the largest message that the server accepts; see
    /// [`engineio_client::Client::max_payload`](crate::Client::max_payload).
    #[must_use]
    pub fn max_payload(&self) -> Option<usize> {
        self.inner.max_payload()
    }

    /// Takes the messages that were still queued when the last session ended; see
    /// [`engineio_client::Client::take_unsent`](crate::Client::take_unsent).
    #[must_use]
    pub fn take_unsent(&self) -> Vec<Message> {
        self.inner.take_unsent()
    }

    /// Returns the id that the server gave the session; see [`engineio_client::Client::sid`](crate::Client::sid).
    #[must_use]
    pub fn sid(&self) -> Option<String> {
        self.inner.sid()
    }

    /// Returns the current transport.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.inner.transport()
    }

    /// Returns whether the session began by polling and was upgraded to another transport.
    #[must_use]
    pub fn upgraded(&self) -> bool {
        self.inner.upgraded()
    }

    /// Returns the reason why the upgrade of the current session failed, or `None` if it has not failed.
    #[must_use]
    pub fn upgrade_error(&self) -> Option<Error> {
        self.inner.upgrade_error()
    }

    /// Waits until the upgrade has succeeded or failed; see
    /// [`engineio_client::Client::settled`](crate::Client::settled).
    ///
    /// # Errors
    ///
    /// Fails if this is called inside an async task.
    pub fn settled(&self) -> Result<Transport, Error> {
        wait_for("settled", self.inner.settled())
    }

    /// Returns whether the session is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.inner.is_open()
    }

    /// Returns the reason for the end of the last session, or `None` while the first one lasts.
    #[must_use]
    pub fn disconnect_reason(&self) -> Option<DisconnectReason> {
        self.inner.disconnect_reason()
    }

    /// Returns the error that ended the last session; see
    /// [`engineio_client::Client::disconnect_error`](crate::Client::disconnect_error).
    #[must_use]
    pub fn disconnect_error(&self) -> Option<Error> {
        self.inner.disconnect_error()
    }

    /// Closes the session gracefully, and waits until that is done, but not for the handlers: it may be called by one.
    ///
    /// # Errors
    ///
    /// Fails if this is called inside an async task. The close has begun even so.
    pub fn close(&self) -> Result<(), Error> {
        self.inner.begin_close();
        wait_for("close", self.inner.close())
    }

    /// Ends the session at once; queued messages are not sent.
    pub fn abort(&self) {
        self.inner.abort();
    }

    /// Waits until the session is over, no new one will be opened, and the handlers have returned. A handler that calls this
    /// waits for itself.
    ///
    /// # Errors
    ///
    /// Fails if this is called inside an async task.
    pub fn wait(&self) -> Result<(), Error> {
        wait_for("wait", self.inner.wait())
    }

    /// Waits as [`wait`](Self::wait) does, but not longer than this. Returns whether the session is over.
    ///
    /// # Errors
    ///
    /// Fails if this is called inside an async task.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, Error> {
        check_thread("wait_timeout")?;
        let deadline = Instant::now().checked_add(timeout);
        Ok(park::block_on_until(self.inner.wait(), deadline).is_some())
    }
}
