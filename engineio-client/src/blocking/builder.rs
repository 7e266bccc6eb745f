//! The builder of a blocking client: the options of the async one, with handlers that are plain closures.

use std::future::ready;
use std::sync::Arc;

use engineio_core::{DisconnectReason, Message};

use super::park::block_on;
use super::{Client, Handle, wait_for};
use crate::handlers::Handlers;
use crate::shared::{Phase, Shared};
use crate::{Error, ErrorKind};

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

/// The builder makes a blocking client.
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

    /// Calls `handler` with each message, one after the other, in the order in which the server sent them, in a thread of
    /// this client. The iterator then yields no messages. If a handler panics, the client is closed.
    pub fn on_message(mut self, mut handler: impl FnMut(Handle, Message) + Send + 'static) -> Self {
        self.handlers.message = Some(Box::new(move |inner, message| {
            handler(Handle { inner }, message);
            Box::pin(ready(()))
        }));
        self
    }

    /// Calls `handler` when a session is over, after the last of its messages, once for each
    /// [`on_connect`](Self::on_connect).
    pub fn on_disconnect(
        mut self,
        mut handler: impl FnMut(DisconnectReason) + Send + 'static,
    ) -> Self {
        self.handlers.disconnect = Some(Box::new(move |reason| {
            handler(reason);
            Box::pin(ready(()))
        }));
        self
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// Fails as [`engineio_client::ClientBuilder::connect`](crate::ClientBuilder::connect) does, or if this is called
    /// inside an async runtime.
    pub fn connect(self) -> Result<Client, Error> {
        let inner = wait_for("connect", self.start(Some(start_thread)))??;
        Ok(Client { inner })
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
