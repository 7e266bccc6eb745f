//! The hooks for the start and the shutdown of a server. A panic in one is logged and has no other effect.

use std::future::poll_fn;
use std::task::Poll;

use engineio_core::driver::catch_panic;

use super::Server;
use crate::session::handler::{BoxFuture, OnServer};

/// Calls a hook; `None` if it panics before it returns its future.
pub(super) fn call(name: &str, hook: &OnServer, server: &Server) -> Option<BoxFuture<()>> {
    let called = catch_panic(|| hook(server.clone()));
    if called.is_err() {
        panicked(name);
    }
    called.ok()
}

/// Calls a hook and waits until it is done.
pub(super) async fn run(name: &str, hook: &OnServer, server: &Server) {
    let Some(mut running) = call(name, hook, server) else {
        return;
    };
    poll_fn(|cx| {
        catch_panic(|| running.as_mut().poll(cx)).unwrap_or_else(|_| {
            panicked(name);
            Poll::Ready(())
        })
    })
    .await;
    if catch_panic(|| drop(running)).is_err() {
        panicked(name);
    }
}

/// Logs that a hook panicked; the panic hook has logged the details.
fn panicked(name: &str) {
    tracing::error!(target: "engineio::session", "`{name}` panicked; the server goes on");
}
