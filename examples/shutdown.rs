//! Graceful shutdown: at SIGTERM or Ctrl-C every client gets its queued messages and a close packet.
//!
//! ```text
//! cargo run -p engineio-examples --example shutdown
//! ```
//!
//! Connect clients (`cargo run -p engineio-cli -- http://127.0.0.1:5000`, also with `--transports polling`),
//! then press Ctrl-C. Each gets a farewell and an orderly close, and the program ends with status 0 at once, or
//! after ten seconds if a client does not fetch its last messages. New clients get 503 meanwhile.

use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use engineio_axum::{ConnectRequest, DisconnectReason, EngineIoLayer, Message, Server, Socket};
use tokio::signal::unix::{SignalKind, signal};

/// The grace period for clients to fetch queued messages. A service manager must wait longer before it kills: for the 30 s, too,
/// that `serve` then gives to requests in progress.
const GRACE: Duration = Duration::from_secs(10);

async fn stopped() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:5000");
    let server = Server::builder()
        .on_connect(|socket: Socket, _: ConnectRequest| println!("{} came", socket.sid()))
        .on_message(|socket: Socket, message: Message| async move {
            let _ = socket.send(message).await;
        })
        // While the clients are still there.
        .on_shutdown(|server| async move {
            let told = server.broadcast("the server leaves; come back in a minute");
            println!("told {told} clients");
        })
        .on_disconnect(|socket: Socket, reason: DisconnectReason| {
            println!("{} left: {reason}", socket.sid());
        })
        .build();
    let app = Router::new()
        .route("/", get(async || "connect by Engine.IO, then stop me\n"))
        .layer(EngineIoLayer::new(server.clone()));
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    engineio_axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            let _ = stopped().await;
            let began = Instant::now();
            // In the signal's future: the host still serves, so that the polls can be answered, and then finds none waiting.
            server.shutdown(GRACE).await;
            println!("all clients are gone after {:?}", began.elapsed());
        })
        .await
}
