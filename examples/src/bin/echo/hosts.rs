//! The hosts in which the echo server can live. Each has a small app of its own beside it, to show that it is untouched.

mod actix;
mod axum;
mod hyper;
mod warp;

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::options::Options;

/// The grace period for clients to fetch queued messages at shutdown.
const GRACE: Duration = Duration::from_secs(2);

/// The answer of the host app.
const PAGE: &str = "hello from the host app";
const NOT_FOUND: &str = "host: not found";

/// Runs the host that the options name until SIGINT or SIGTERM.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    match options.host.as_str() {
        "axum" => runtime(options.threads)?.block_on(axum::run(options)),
        "actix" => actix::run(options),
        "warp" => runtime(options.threads)?.block_on(warp::run(options)),
        "warp-filter" => runtime(options.threads)?.block_on(warp::run_filter(options)),
        "hyper" => runtime(options.threads)?.block_on(hyper::run(options)),
        other => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("unknown host {other}; expected axum, actix, warp, warp-filter or hyper"),
        )),
    }
}

fn runtime(threads: Option<usize>) -> io::Result<tokio::runtime::Runtime> {
    match threads {
        Some(1) => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build(),
        threads => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            if let Some(threads) = threads {
                builder.worker_threads(threads);
            }
            builder.enable_all().build()
        }
    }
}

/// Waits for SIGINT or SIGTERM.
async fn stopped() -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
