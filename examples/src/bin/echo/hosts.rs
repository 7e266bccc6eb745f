//! The hosts in which the echo server can live. Each has a small app of its own beside it, to show that it is untouched.

use std::io;
use std::time::Duration;

use axum::extract::ws::{Message as HostMessage, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::{any, get};
use axum::serve::ListenerExt;
use axum::{Router, http::StatusCode};
use engineio_axum::EngineIoLayer;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::options::Options;

/// How long clients have to fetch what is theirs when the server ends.
const GRACE: Duration = Duration::from_secs(2);

/// Runs the host that the options name until SIGINT or SIGTERM.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    match options.host.as_str() {
        "axum" => runtime(options.threads)?.block_on(axum_host(options)),
        other => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("there is no host {other}; try axum"),
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

async fn axum_host(options: &Options) -> io::Result<()> {
    let server = crate::server(options);
    let app = Router::new()
        .route("/", get(|| async { "hello from the host app" }))
        .route("/host/ws", any(host_websocket))
        .fallback(|| async { (StatusCode::NOT_FOUND, "host: not found") })
        .layer(EngineIoLayer::new(server.clone()));
    let listener = TcpListener::bind(options.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            let _ = stopped().await;
            server.shutdown(GRACE).await;
        })
        .await
}

async fn host_websocket(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|mut socket| async move {
        while let Some(Ok(message)) = socket.recv().await {
            let echo = matches!(message, HostMessage::Text(_) | HostMessage::Binary(_));
            if echo && socket.send(message).await.is_err() {
                return;
            }
        }
    })
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
