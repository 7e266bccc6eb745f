//! Handlers: the callback interface of a client.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use engineio_core::driver::{Budget, Panicked, catch_panic};
use engineio_core::{DisconnectReason, Message};
use futures_core::future::BoxFuture;
use futures_util::FutureExt;

use crate::client::Handle;
use crate::delivery::{Consumers, Delivery, Event};
use crate::panics::{catch_panics, report};
use crate::shared::Shared;
use crate::{Disconnect, Error, meter};

type OnConnect = Box<dyn FnMut(Handle) -> BoxFuture<'static, ()> + Send>;
type OnMessage = Box<dyn FnMut(Handle, Message) -> BoxFuture<'static, ()> + Send>;
type OnUpgrade = Box<dyn FnMut(Handle, Result<(), Error>) -> BoxFuture<'static, ()> + Send>;
type OnDisconnect = Box<dyn FnMut(Handle, Disconnect) -> BoxFuture<'static, ()> + Send>;

#[derive(Default)]
pub(crate) struct Handlers {
    pub(crate) connect: Option<OnConnect>,
    pub(crate) message: Option<OnMessage>,
    pub(crate) upgrade: Option<OnUpgrade>,
    pub(crate) disconnect: Option<OnDisconnect>,
}

impl std::fmt::Debug for Handlers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handlers")
            .field("connect", &self.connect.is_some())
            .field("message", &self.message.is_some())
            .field("upgrade", &self.upgrade.is_some())
            .field("disconnect", &self.disconnect.is_some())
            .finish()
    }
}

impl Handlers {
    pub(crate) const fn is_empty(&self) -> bool {
        self.message.is_none() && !self.has_lifecycle_handler()
    }

    const fn has_lifecycle_handler(&self) -> bool {
        self.connect.is_some() || self.upgrade.is_some() || self.disconnect.is_some()
    }

    /// Returns the delivery of events that suits these handlers.
    pub(crate) const fn delivery(&self, limit: usize) -> Delivery {
        let consumers = Consumers {
            has_message_handler: self.message.is_some(),
            has_lifecycle_handler: self.has_lifecycle_handler(),
            has_end_handler: self.disconnect.is_some(),
        };
        Delivery::new(limit, consumers)
    }

    /// Calls the handlers, one after the other, in the order of the events: connect first, disconnect last and once for
    /// each connect. Runs concurrently with the driver, so that a slow handler delays nothing.
    pub(crate) async fn run(self, shared: &Arc<Shared>) {
        // Beside the handlers, which are guarded one by one, there are metrics and the log.
        if catch_panics(self.call_all(shared)).await.is_err() {
            shared.stop(Some(DisconnectReason::HandlerPanic));
        }
    }

    async fn call_all(mut self, shared: &Arc<Shared>) {
        let handle = Handle::new(Arc::clone(shared));
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
                    let connect = self.connect.as_mut();
                    connect.map(|connect| guarded(|| connect(handle.clone())))
                }
                // A panic may have left the state of the handler inconsistent.
                Event::Message(_) | Event::Upgrade(_) if has_panicked => None,
                Event::Message(message) => {
                    let on_message = self.message.as_mut();
                    on_message.map(|on_message| {
                        guarded(|| {
                            meter::received(message.len());
                            on_message(handle.clone(), message)
                        })
                    })
                }
                Event::Upgrade(outcome) => {
                    let on_upgrade = self.upgrade.as_mut();
                    on_upgrade.map(|on_upgrade| guarded(|| on_upgrade(handle.clone(), outcome)))
                }
                Event::Closed(mut end) => {
                    if has_panicked {
                        end.error = Some(Error::handler_panicked(end.error));
                    }
                    let disconnect = self.disconnect.as_mut();
                    disconnect.map(|disconnect| guarded(|| disconnect(handle.clone(), end)))
                }
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
                report(|| {
                    tracing::error!(target: crate::log::TARGET, "a handler panicked; the client is closed");
                });
                shared.stop(Some(DisconnectReason::HandlerPanic));
            }
        }
    }
}

/// Catches the panics of a handler: they close the client gracefully instead of ending its task.
fn guarded(
    call: impl FnOnce() -> BoxFuture<'static, ()>,
) -> BoxFuture<'static, Result<(), Panicked>> {
    match catch_panic(call) {
        // `map` drops the future, which may panic too, as soon as it is done.
        Ok(future) => Box::pin(catch_panics(future.map(|()| ()))),
        Err(panicked) => Box::pin(std::future::ready(Err(panicked))),
    }
}
