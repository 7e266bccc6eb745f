//! A page that shows what Engine.IO does: it connects by polling, upgrades to WebSocket and draws its latency.
//!
//! ```text
//! cargo run --release -p engineio-examples --bin demo
//! ```
//!
//! Then open <http://127.0.0.1:5000/>, on several devices if you like (`--listen 0.0.0.0:5000`).

use std::time::Duration;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};
use axum::serve::ListenerExt;
use engineio_axum::{EngineIoLayer, Message, Server, Socket};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let server = Server::builder()
        .on_message(|socket: Socket, message: Message| async move {
            // A page is not trusted: what is no JSON, or says nothing known, is ignored.
            let Ok(request) = message.parse_json::<Value>() else {
                return;
            };
            match request["type"].as_str() {
                Some("ping") => {
                    let _ = socket.send(message).await;
                }
                Some("say") => {
                    let text = request["text"].as_str().unwrap_or_default();
                    let text: String = text.chars().take(500).collect();
                    let said = json!({ "type": "say", "text": text, "from": socket.sid().short() });
                    socket.server().broadcast(said.to_string());
                }
                _ => {}
            }
        })
        .build();

    // Clients come and go at any moment; telling the count twice a second is simpler than telling every change.
    let crowd = server.clone();
    server.spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        loop {
            tick.tick().await;
            crowd.broadcast(json!({ "type": "clients", "count": crowd.len() }).to_string());
        }
    });

    let app = Router::new()
        .route(
            "/",
            asset(
                "text/html; charset=utf-8",
                include_str!("../../demo/index.html"),
            ),
        )
        .route(
            "/style.css",
            asset("text/css", include_str!("../../demo/style.css")),
        )
        .route(
            "/app.js",
            asset("text/javascript", include_str!("../../demo/app.js")),
        )
        .route(
            "/engineio.js",
            asset("text/javascript", include_str!("../../demo/engineio.js")),
        )
        .layer(EngineIoLayer::new(server.clone()));

    let mut arguments = std::env::args().skip(1);
    let address = match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => "127.0.0.1:5000".to_owned(),
        (Some("--listen"), Some(address)) => address,
        _ => {
            eprintln!("usage: demo [--listen ADDR:PORT]");
            std::process::exit(2);
        }
    };
    let listener = TcpListener::bind(&address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    println!("open the page in a browser; Ctrl-C ends");
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            let _ = stopped().await;
            server.shutdown(Duration::from_secs(2)).await;
        })
        .await
}

/// Waits for SIGINT or SIGTERM.
async fn stopped() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}

fn asset(content_type: &'static str, text: &'static str) -> MethodRouter {
    get(move || async move {
        (
            [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-cache")],
            text,
        )
            .into_response()
    })
}
