//! Handlers: the callback interface of a client.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;

use engineio_core::client::Event;
use engineio_core::driver::Budget;
use engineio_core::{DisconnectReason, Message};
use futures_core::future::BoxFuture;
use futures_util::FutureExt;

use crate::client::Handle;
use crate::delivery::Delivery;
use crate::shared::Shared;

type OnConnect = Box<dyn FnMut(Handle) -> BoxFuture<'static, ()> + Send>;
type OnMessage = Box<dyn FnMut(Handle, Message) -> BoxFuture<'static, ()> + Send>;
type OnDisconnect = Box<dyn FnMut(DisconnectReason) -> BoxFuture<'static, ()> + Send>;

#[derive(Default)]
pub(crate) struct Handlers {
    pub(crate) connect: Option<OnConnect>,
    pub(crate) message: Option<OnMessage>,
    pub(crate) disconnect: Option<OnDisconnect>,
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
    pub(crate) const fn is_empty(&self) -> bool {
        self.message.is_none() && self.connect.is_none() && self.disconnect.is_none()
    }

    /// The delivery of received messages that suits these handlers.
    pub(crate) fn delivery(&self, limit: usize) -> Delivery {
        let to_handler = self.message.is_some();
        Delivery::new(limit, to_handler, !to_handler && !self.is_empty())
    }

    /// Calls the handlers, one after the other, in the order of the events: connect first, disconnect last and once for
    /// each connect. Runs concurrently with the driver, so that a slow handler delays nothing.
    pub(crate) async fn run(mut self, shared: &Arc<Shared>) {
        if self.is_empty() {
            // Events are for the stream.
            return;
        }
        let handle = Handle::new(Arc::clone(shared));
        let mut is_open = false;
        let mut has_panicked = false;
        let mut budget = Budget::for_events();
        while let Some(event) = shared.next_event().await {
            budget.charge_event();
            if budget.is_spent() {
                // Handlers that never wait would keep the driver, and the other tasks of the thread, from running.
                tokio::task::yield_now().await;
                budget = Budget::for_events();
            }
            let is_opening = matches!(event, Event::Opened);
            let call = match event {
                Event::Opened => {
                    is_open = true;
                    let connect = self.connect.as_mut();
                    connect.map(|connect| guarded(|| connect(handle.clone())))
                }
                // A panic may have left the state of the handler inconsistent.
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
            let Some(mut call) = call else {
                continue;
            };
            // Up to its first wait, so that `connect` returns to an application whose handler has been called.
            let outcome = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
            if is_opening {
                shared.connect_handled();
            }
            let outcome = match outcome {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => call.await,
            };
            if outcome.is_err() {
                has_panicked = true;
                tracing::error!(target: crate::TARGET, "a handler panicked; the client is closed");
                shared.stop(Some(DisconnectReason::HandlerPanic));
            }
        }
    }
}

/// Catches the panics of a handler: they end the client in good order, and not the task that runs all of it.
fn guarded(
    call: impl FnOnce() -> BoxFuture<'static, ()>,
) -> BoxFuture<'static, std::thread::Result<()>> {
    match std::panic::catch_unwind(AssertUnwindSafe(call)) {
        Ok(future) => Box::pin(AssertUnwindSafe(future).catch_unwind()),
        Err(panic) => Box::pin(async move { Err(panic) }),
    }
}
