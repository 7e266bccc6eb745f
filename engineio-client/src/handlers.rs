//! Handlers: the event-based way to use a client.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use engineio_core::client::Event;
use engineio_core::{DisconnectReason, Message};
use futures_core::future::BoxFuture;
use futures_util::FutureExt;

use crate::client::Handle;
use crate::shared::Shared;

type OnConnect = Box<dyn FnMut(Handle) -> BoxFuture<'static, ()> + Send>;
type OnMessage = Box<dyn FnMut(Handle, Message) -> BoxFuture<'static, ()> + Send>;
type OnDisconnect = Box<dyn FnMut(DisconnectReason) -> BoxFuture<'static, ()> + Send>;

#[derive(Default)]
pub(crate) struct Handlers {
    pub(crate) connect: Option<OnConnect>,
    pub(crate) message: Option<OnMessage>,
    pub(crate) disconnect: Option<OnDisconnect>,
    /// Somebody else calls handlers, but none that takes messages.
    pub(crate) elsewhere: bool,
    /// Somebody else calls handlers, and says when the last one has returned.
    pub(crate) done_elsewhere: bool,
}

impl std::fmt::Debug for Handlers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handlers")
            .field("connect", &self.connect.is_some())
            .field("message", &self.message.is_some())
            .field("disconnect", &self.disconnect.is_some())
            .finish()
    }
}

impl Handlers {
    /// Whether messages stay for the stream, so that openings and ends need a way of their own to the handlers.
    pub(crate) const fn need_life(&self) -> bool {
        self.message.is_none()
            && (self.connect.is_some() || self.disconnect.is_some() || self.elsewhere)
    }

    /// Whether messages go to a handler, here or elsewhere.
    pub(crate) const fn take_messages(&self) -> bool {
        self.message.is_some() || (self.done_elsewhere && !self.elsewhere)
    }

    const fn is_empty(&self) -> bool {
        self.message.is_none() && self.connect.is_none() && self.disconnect.is_none()
    }

    /// Calls the handlers, one after the other, in the order of what happened: connect first, disconnect last and once
    /// for each connect. Runs beside the driver, so that a slow handler stops nothing.
    pub(crate) async fn run(mut self, shared: &Arc<Shared>) {
        if self.is_empty() {
            return;
        }
        let handle = Handle::new(Arc::clone(shared));
        let need_life = self.need_life();
        let mut is_open = false;
        let mut has_panicked = false;
        loop {
            let next = poll_fn(|cx| {
                if need_life {
                    shared.poll_life(cx)
                } else {
                    shared.poll_event(cx)
                }
            });
            let Some(event) = next.await else {
                return;
            };
            let call = match event {
                Event::Opened => {
                    is_open = true;
                    let connect = self.connect.as_mut();
                    connect.map(|connect| guarded(|| connect(handle.clone())))
                }
                // What a panic has left of the handler is not to be trusted.
                Event::Message(message) if !has_panicked => {
                    let on_message = self.message.as_mut();
                    on_message.map(|on_message| guarded(|| on_message(handle.clone(), message)))
                }
                // A session that was never opened had no connect.
                Event::Closed(reason) if std::mem::take(&mut is_open) => {
                    let disconnect = self.disconnect.as_mut();
                    disconnect.map(|disconnect| guarded(|| disconnect(reason)))
                }
                _ => None,
            };
            if let Some(call) = call
                && call.await.is_err()
            {
                has_panicked = true;
                tracing::error!(target: crate::TARGET, "a handler panicked; the client is closed");
                shared.stop(Some(DisconnectReason::HandlerPanic));
            }
        }
    }
}

/// A handler whose panic ends the client and not the task that everything of the client runs in.
fn guarded(
    call: impl FnOnce() -> BoxFuture<'static, ()>,
) -> BoxFuture<'static, std::thread::Result<()>> {
    match std::panic::catch_unwind(AssertUnwindSafe(call)) {
        Ok(future) => Box::pin(AssertUnwindSafe(future).catch_unwind()),
        Err(panic) => Box::pin(async move { Err(panic) }),
    }
}
