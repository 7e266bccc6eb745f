//! The builder of a blocking client: the options of the async one, with handlers that are plain closures.

use std::future::ready;
use std::sync::Arc;

use engineio_core::Message;

use super::park::block_on;
use super::{Client, Handle, check_thread, runtime};
use crate::handlers::Handlers;
use crate::shared::Shared;
use crate::state::Phase;
use crate::{Disconnect, Error, ErrorKind};

/// Configures a blocking client. Created by [`Client::builder`]; the options are those of
/// [`engineio_client::ClientBuilder`](crate::ClientBuilder).
///
/// # Examples
///
/// ```no_run
/// use engineio_client::blocking::Client;
///
/// # fn example() -> Result<(), engineio_client::Error> {
/// let client = Client::builder("https://example.com")
///     .on_message(|client, message| {
///         let _ = client.send(message);
///     })
///     .connect()?;
/// client.wait()
/// # }
/// ```
pub type ClientBuilder = crate::ClientBuilder<Blocking>;

/// Marks a builder that makes a blocking client.
#[derive(Debug)]
pub struct Blocking;

impl crate::ClientBuilder<Blocking> {
    /// Calls `handler` when a session is open, before any of its messages.
    pub fn on_connect(mut self, mut handler: impl FnMut(Handle) + Send + 'static) -> Self {
        self.handlers.connect = Some(Box::new(move |inner| {
            handler(Handle { inner });
            Box::pin(ready(()))
        }));
        self
    }

    /// Calls `handler` with each message, one after the other, in the order in which the server sent them, on a thread
    /// of this client. The iterator then yields no messages. If a handler panics, the client is closed.
    pub fn on_message(mut self, mut handler: impl FnMut(Handle, Message) + Send + 'static) -> Self {
        self.handlers.message = Some(Box::new(move |inner, message| {
            handler(Handle { inner }, message);
            Box::pin(ready(()))
        }));
        self
    }

    /// Calls `handler` once for each attempt to upgrade to another transport; see
    /// [`engineio_client::ClientBuilder::on_upgrade`](crate::ClientBuilder::on_upgrade).
    pub fn on_upgrade(
        mut self,
        mut handler: impl FnMut(Handle, Result<(), Error>) + Send + 'static,
    ) -> Self {
        self.handlers.upgrade = Some(Box::new(move |inner, outcome| {
            handler(Handle { inner }, outcome);
            Box::pin(ready(()))
        }));
        self
    }

    /// Calls `handler` when a session is over, after the last of its messages, once for each
    /// [`on_connect`](Self::on_connect). It gets the reason, the error and the messages that were not sent.
    pub fn on_disconnect(
        mut self,
        mut handler: impl FnMut(Handle, Disconnect) + Send + 'static,
    ) -> Self {
        self.handlers.disconnect = Some(Box::new(move |inner, end| {
            handler(Handle { inner }, end);
            Box::pin(ready(()))
        }));
        self
    }

    /// Connects to the server.
    ///
    /// # Errors
    ///
    /// Fails as [`engineio_client::ClientBuilder::connect`](crate::ClientBuilder::connect) does, or if this is called
    /// inside an async task.
    pub fn connect(self) -> Result<Client, Error> {
        check_thread("connect")?;
        // The client's task is spawned there, whichever runtime this thread may belong to.
        let _entered = runtime()?.enter();
        let inner = block_on(self.start(Some(start_thread)))?;
        let shared = Arc::clone(&inner.handle().shared);
        let handle = Handle {
            inner: crate::Handle::of_client(shared),
        };
        Ok(Client { inner, handle })
    }
}

/// Starts the thread in which the handlers are called. It has no runtime, so that handlers may make blocking calls.
fn start_thread(handlers: Handlers, shared: Arc<Shared>) -> Result<(), Error> {
    let run = move || {
        block_on(handlers.run(&shared));
        shared.enter(Phase::Done);
    };
    let thread = std::thread::Builder::new().name("engineio-handlers".to_owned());
    thread.spawn(run).map(|_| ()).map_err(|error| {
        let message = "the thread of the client's handlers could not be started";
        Error::new(ErrorKind::Connect, message).with_source(error)
    })
}
