//! The hooks for the start and the shutdown of a server. A panic in one is logged and has no other effect.

use std::future::poll_fn;

use engineio_core::driver::catch_panic;

use super::Server;
use crate::session::handler::{BoxFuture, Contained, OnServer};

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
    let Some(running) = call(name, hook, server) else {
        return;
    };
    // It is dropped before it is done if the time of a shutdown is over.
    let mut running = Contained::new(running);
    let outcome = poll_fn(|cx| running.poll(cx)).await;
    if running.end().and(outcome).is_err() {
        panicked(name);
    }
}

/// Logs that a hook panicked; the panic hook has logged the details.
fn panicked(name: &str) {
    tracing::error!(target: "engineio::session", "`{name}` panicked; the server goes on");
}
