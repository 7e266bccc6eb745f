//! Handlers of the async client.

use std::future::Future;

use engineio_core::{DisconnectReason, Message};

use super::ClientBuilder;
use crate::client::Handle;

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

    /// Calls `handler` when a session is over, after the last of its messages, once for each
    /// [`on_connect`](Self::on_connect).
    pub fn on_disconnect<F, Fut>(mut self, mut handler: F) -> Self
    where
        F: FnMut(DisconnectReason) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.handlers.disconnect = Some(Box::new(move |reason| Box::pin(handler(reason))));
        self
    }
}
