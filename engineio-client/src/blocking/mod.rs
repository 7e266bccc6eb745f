//! A blocking client, with the same interface as the async one (feature `blocking`).
//!
//! ```no_run
//! use engineio_client::blocking::Client;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut client = Client::connect("http://localhost:5000")?;
//!     client.send("hello")?;
//!     for message in &mut client {
//!         println!("{message:?}");
//!     }
//!     println!("over: {:?}", client.disconnect_reason());
//!     Ok(())
//! }
//! ```
//!
//! All blocking clients of a process share one background thread, which keeps their heartbeats whether or not anybody
//! reads. A client with handlers has one thread more, in which they are called one after the other.
//!
//! Nothing here may block inside an async runtime, because that would stop the runtime: what would have to wait there
//! returns an error of the kind [`ErrorKind::InsideRuntime`] instead. So it does in `tokio::task::spawn_blocking`, which
//! cannot be told from the runtime's own threads: use `std::thread::spawn` there, or the async client.

mod builder;
mod park;

use std::future::Future;
use std::sync::LazyLock;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

pub use self::builder::ClientBuilder;
use crate::{DisconnectReason, Error, ErrorKind, Message, SendError, Transport};

/// The background thread of all blocking clients.
static RUNTIME: LazyLock<std::io::Result<Runtime>> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("engineio-client")
        .enable_all()
        .build()
});

fn runtime() -> Result<&'static Runtime, Error> {
    RUNTIME.as_ref().map_err(|error| {
        let message = "the background thread of the blocking clients could not be started";
        Error::new(ErrorKind::Connect, message).with_source(error.to_string())
    })
}

/// Waits for a future, unless that would stop an async runtime.
fn wait_for<F: Future>(what: &str, future: F) -> Result<F::Output, Error> {
    if is_inside_runtime() {
        let message = format!(
            "`{what}` of the blocking client was called inside an async runtime, which it would stop; use \
             `engineio_client::Client` there, or a thread of its own (`std::thread::spawn`)"
        );
        return Err(Error::new(ErrorKind::InsideRuntime, message));
    }
    Ok(runtime()?.block_on(future))
}

fn is_inside_runtime() -> bool {
    tokio::runtime::Handle::try_current().is_ok()
}

/// A client that is connected to a server, for plain threads; see [`engineio_client::Client`](crate::Client).
///
/// It is an [`Iterator`] over the server's messages, which ends when the session is over.
///
/// # Examples
///
/// ```no_run
/// use engineio_client::blocking::Client;
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut client = Client::builder("https://example.com").bearer_auth("secret").connect()?;
/// client.send("hello")?;
/// let answer = client.next();
/// client.close()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Client {
    inner: crate::Client,
}

/// Sends to a server and ends the session, from any thread or handler; see
/// [`engineio_client::Handle`](crate::Handle).
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
    inner: crate::Handle,
}

/// The error of a call that returns no message.
///
/// ```no_run
/// use std::time::Duration;
/// use engineio_client::blocking::{Client, RecvError};
///
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let mut client = Client::connect("http://localhost:5000")?;
/// match client.recv_timeout(Duration::from_secs(5)) {
///     Ok(message) => println!("{message:?}"),
///     Err(RecvError::Timeout) => println!("nothing for five seconds"),
///     Err(error) => println!("{error}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// None came in time.
    #[error("no message came in time")]
    Timeout,
    /// The session is over.
    #[error("the session is over")]
    Closed,
    /// The call would have stopped an async runtime.
    #[error(transparent)]
    Failed(Error),
}

impl Client {
    /// Connects with the defaults; see [`engineio_client::Client::connect`](crate::Client::connect).
    ///
    /// # Errors
    ///
    /// Fails if the URL cannot be used, the server cannot be reached or refuses, what answers is no Engine.IO server,
    /// or this is called inside an async runtime.
    pub fn connect(url: &str) -> Result<Self, Error> {
        Self::builder(url).connect()
    }

    /// Returns a builder for a client of the server at this URL.
    pub fn builder(url: &str) -> ClientBuilder {
        ClientBuilder::new(url)
    }

    /// Sends a message, waiting while the outbox is full, and for the next session if the client reconnects.
    ///
    /// # Errors
    ///
    /// Returns the message as [`SendError::Closed`] if the session is over, or as [`SendError::Separator`] if it is a text
    /// with U+001E that may leave by polling; inside an async runtime, where nothing may wait, also as
    /// [`SendError::Full`].
    pub fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.handle().send(message)
    }

    /// Sends a message if there is room for it.
    ///
    /// # Errors
    ///
    /// Returns the message as [`SendError::Full`] if the outbox has no room for it, or as [`SendError::Closed`] if the
    /// session is over.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.inner.try_send(message)
    }

    /// Waits for the next message.
    ///
    /// # Errors
    ///
    /// Fails if the session is over, or if this is called inside an async runtime.
    pub fn recv(&mut self) -> Result<Message, RecvError> {
        match wait_for("recv", self.inner.next()) {
            Ok(message) => message.ok_or(RecvError::Closed),
            Err(error) => Err(RecvError::Failed(error)),
        }
    }

    /// Waits for the next message, but not longer than this.
    ///
    /// # Errors
    ///
    /// Fails if none came in time, if the session is over, or if this is called inside an async runtime.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Message, RecvError> {
        let next = async { tokio::time::timeout(timeout, self.inner.next()).await };
        match wait_for("recv_timeout", next) {
            Ok(Ok(message)) => message.ok_or(RecvError::Closed),
            Ok(Err(_)) => Err(RecvError::Timeout),
            Err(error) => Err(RecvError::Failed(error)),
        }
    }

    /// Returns a handle for other threads.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            inner: self.inner.handle(),
        }
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

    /// Returns whether the session began by polling and was upgraded to WebSocket.
    #[must_use]
    pub fn upgraded(&self) -> bool {
        self.inner.upgraded()
    }

    /// Waits until the upgrade to WebSocket has succeeded or failed; see
    /// [`engineio_client::Client::settled`](crate::Client::settled).
    ///
    /// # Errors
    ///
    /// Fails if this is called inside an async runtime.
    pub fn settled(&self) -> Result<Transport, Error> {
        wait_for("settled", self.inner.settled())
    }

    /// Returns whether the session is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.inner.is_open()
    }

    /// Returns why the last session ended, or `None` while the first one lasts.
    #[must_use]
    pub fn disconnect_reason(&self) -> Option<DisconnectReason> {
        self.inner.disconnect_reason()
    }

    /// Returns what went wrong when the last session ended; see
    /// [`engineio_client::Client::disconnect_error`](crate::Client::disconnect_error).
    #[must_use]
    pub fn disconnect_error(&self) -> Option<Error> {
        self.inner.disconnect_error()
    }

    /// Closes the session gracefully, and waits until that is done; see
    /// [`engineio_client::Client::close`](crate::Client::close).
    ///
    /// # Errors
    ///
    /// Fails if this is called inside an async runtime. The close has begun even so.
    pub fn close(&self) -> Result<(), Error> {
        self.inner.handle().begin_close();
        self.wait()
    }

    /// Ends the session at once; what is queued is dropped.
    pub fn abort(&self) {
        self.inner.abort();
    }

    /// Waits until the session is over, and no new one will be opened.
    ///
    /// # Errors
    ///
    /// Fails if this is called inside an async runtime.
    pub fn wait(&self) -> Result<(), Error> {
        wait_for("wait", self.inner.wait())
    }
}

impl Iterator for Client {
    type Item = Message;

    /// Waits for the next message; returns `None` when the session is over. Returns `None` too if it is called inside an
    /// async runtime, and logs an error; [`Client::recv`] returns that error.
    fn next(&mut self) -> Option<Message> {
        match self.recv() {
            Ok(message) => Some(message),
            Err(RecvError::Failed(error)) => {
                tracing::error!(target: crate::TARGET, %error);
                None
            }
            Err(_) => None,
        }
    }
}

impl Handle {
    /// Sends a message, as [`Client::send`] does.
    ///
    /// # Errors
    ///
    /// Returns the message as [`SendError::Closed`] if the session is over, or as [`SendError::Separator`] if it is a text
    /// with U+001E that may leave by polling; inside an async runtime, where nothing may wait, also as
    /// [`SendError::Full`].
    pub fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        match self.inner.try_send(message) {
            // The session may be over for good, which that send finds out at once.
            Err(SendError::Full(message) | SendError::Closed(message)) if !is_inside_runtime() => {
                let Ok(runtime) = runtime() else {
                    return Err(SendError::Full(message));
                };
                runtime.block_on(self.inner.send(message))
            }
            outcome => outcome,
        }
    }

    /// Sends a message if there is room for it, as [`Client::try_send`] does.
    ///
    /// # Errors
    ///
    /// Returns the message as [`SendError::Full`] if the outbox has no room for it, or as [`SendError::Closed`] if the
    /// session is over.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.inner.try_send(message)
    }

    /// Returns the id that the server gave the session.
    #[must_use]
    pub fn sid(&self) -> Option<String> {
        self.inner.sid()
    }

    /// Returns the current transport.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.inner.transport()
    }

    /// Returns whether the session began by polling and was upgraded to WebSocket.
    #[must_use]
    pub fn upgraded(&self) -> bool {
        self.inner.upgraded()
    }

    /// Waits until the upgrade to WebSocket has succeeded or failed; see
    /// [`engineio_client::Client::settled`](crate::Client::settled).
    ///
    /// # Errors
    ///
    /// Fails if this is called inside an async runtime.
    pub fn settled(&self) -> Result<Transport, Error> {
        wait_for("settled", self.inner.settled())
    }

    /// Returns whether the session is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.inner.is_open()
    }

    /// Returns why the last session ended, or `None` while the first one lasts.
    #[must_use]
    pub fn disconnect_reason(&self) -> Option<DisconnectReason> {
        self.inner.disconnect_reason()
    }

    /// Returns what went wrong when the last session ended; see
    /// [`engineio_client::Client::disconnect_error`](crate::Client::disconnect_error).
    #[must_use]
    pub fn disconnect_error(&self) -> Option<Error> {
        self.inner.disconnect_error()
    }

    /// Closes the session as [`Client::close`] does, but may be called by a handler: it does not wait for handlers.
    ///
    /// # Errors
    ///
    /// Fails if this is called inside an async runtime. The close has begun even so.
    pub fn close(&self) -> Result<(), Error> {
        self.inner.begin_close();
        wait_for("close", self.inner.close())
    }

    /// Ends the session at once, as [`Client::abort`] does.
    pub fn abort(&self) {
        self.inner.abort();
    }
}
