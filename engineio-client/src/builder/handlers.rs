//! Handlers of the async client.

use std::future::Future;

use engineio_core::Message;

use super::ClientBuilder;
use crate::client::Handle;
use crate::{Disconnect, Error};

impl ClientBuilder {
    /// Calls `handler` when a session is open, before any of its messages.
    pub fn on_connect<F, Fut>(mut self, mut handler: F) -> Self
    where
        F: FnMut(Handle) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.handlers.connect = Some(Box::new(move |handle| Box::pin(handler(handle))));
        self
    }

    /// Calls `handler` with each message, one after the other, in the order in which the server sent them. The stream then
    /// yields no messages.
    ///
    /// A handler that waits delays neither heartbeats nor the upgrade; one that computes for long blocks its thread. If a
    /// handler panics, the client is closed.
    pub fn on_message<F, Fut>(mut self, mut handler: F) -> Self
    where
        F: FnMut(Handle, Message) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let handler = move |handle, message| -> futures_core::future::BoxFuture<'static, ()> {
            Box::pin(handler(handle, message))
        };
        self.handlers.message = Some(Box::new(handler));
        self
    }

    /// Calls `handler` once for each attempt to upgrade to another transport: with `Ok` when the session has moved there, or
    /// with the error. After an error, the session goes on by polling and has lost nothing.
    ///
    /// Not called for a session that did not begin by polling, nor for one that ends before the upgrade is complete: its end
    /// is told by [`on_disconnect`](Self::on_disconnect) alone. Messages that came before it may be handled after it.
    pub fn on_upgrade<F, Fut>(mut self, mut handler: F) -> Self
    where
        F: FnMut(Handle, Result<(), Error>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let handler = move |handle, outcome| -> futures_core::future::BoxFuture<'static, ()> {
            Box::pin(handler(handle, outcome))
        };
        self.handlers.upgrade = Some(Box::new(handler));
        self
    }

    /// Calls `handler` when a session is over, after the last of its messages, once for each
    /// [`on_connect`](Self::on_connect). It gets the reason, the error and the messages that were not sent.
    ///
    /// With [`reconnect`](Self::reconnect), messages that it sends wait for the next session.
    pub fn on_disconnect<F, Fut>(mut self, mut handler: F) -> Self
    where
        F: FnMut(Handle, Disconnect) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let handler = move |handle, end| -> futures_core::future::BoxFuture<'static, ()> {
            Box::pin(handler(handle, end))
        };
        self.handlers.disconnect = Some(Box::new(handler));
        self
    }
}
