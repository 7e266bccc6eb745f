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
//! All blocking clients of a process share one background thread, which answers heartbeats whether or not anybody
//! reads. A client with handlers has one more thread, on which they are called one after another.
//!
//! # With an async program
//!
//! The client may be used in `tokio::task::spawn_blocking`, `block_in_place`, actix-web's `web::block` and the like. In
//! an async task it would block the thread that other tasks need: a call that would have to wait there returns an error
//! of the kind [`ErrorKind::InsideRuntime`] instead. Only a task under `tokio::task::unconstrained` is not recognised.

mod builder;
mod handle;
mod park;

use std::future::Future;
use std::ops::Deref;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

pub use self::builder::ClientBuilder;
pub use self::handle::Handle;
use crate::{Error, ErrorKind, Message};

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
    check_thread(what)?;
    Ok(park::block_on(future))
}

/// Fails where waiting would stop an async runtime.
fn check_thread(what: &str) -> Result<(), Error> {
    if !park::is_in_task() {
        return Ok(());
    }
    let message = format!(
        "`{what}` of the blocking client was called inside an async task, whose thread it would block; use \
         `engineio_client::Client` there, or `tokio::task::spawn_blocking`"
    );
    Err(Error::new(ErrorKind::InsideRuntime, message))
}

/// A client that is connected to a server, for plain threads; see [`engineio_client::Client`](crate::Client).
///
/// It is an [`Iterator`] over the server's messages, which ends when the session is over, and has all methods of its
/// [`Handle`], which it dereferences to: `send`, `flush`, `is_open` and so on.
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
    handle: Handle,
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
    /// No message came in time.
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
    /// Fails if the URL cannot be used, the server cannot be reached or refuses, the answer is not that of an Engine.IO
    /// server, or this is called inside an async task.
    pub fn connect(url: &str) -> Result<Self, Error> {
        Self::builder(url).connect()
    }

    /// Returns a builder for a client of the server at this URL.
    pub fn builder(url: &str) -> ClientBuilder {
        ClientBuilder::new(url)
    }

    /// Waits for the next message.
    ///
    /// # Errors
    ///
    /// Fails if the session is over, or if this is called inside an async task.
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
    /// Fails if none came in time, if the session is over, or if this is called inside an async task.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Message, RecvError> {
        check_thread("recv_timeout").map_err(RecvError::Failed)?;
        let deadline = Instant::now().checked_add(timeout);
        match park::block_on_until(self.inner.next(), deadline) {
            Some(message) => message.ok_or(RecvError::Closed),
            None => Err(RecvError::Timeout),
        }
    }

    /// Returns a handle for other threads.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Closes the session gracefully, and waits until that is done and the handlers have returned; see
    /// [`engineio_client::Client::close`](crate::Client::close).
    ///
    /// # Errors
    ///
    /// Fails if this is called inside an async task. The close has begun even so.
    pub fn close(&self) -> Result<(), Error> {
        self.inner.handle().begin_close();
        self.wait()
    }
}

impl Deref for Client {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Iterator for Client {
    type Item = Message;

    /// Waits for the next message; returns `None` when the session is over. Returns `None` too if it is called inside an
    /// async task, and logs an error; [`Client::recv`] returns that error.
    fn next(&mut self) -> Option<Message> {
        match self.recv() {
            Ok(message) => Some(message),
            Err(RecvError::Failed(error)) => {
                tracing::error!(target: crate::log::TARGET, %error);
                None
            }
            Err(_) => None,
        }
    }
}
