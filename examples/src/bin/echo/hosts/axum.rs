//! axum.

use std::io;

use axum::Router;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{any, get};
use axum::serve::ListenerExt;
use engineio_axum::EngineIoLayer;
use tokio::net::TcpListener;

use super::{GRACE, NOT_FOUND, PAGE, stopped};
use crate::Echo;
use crate::options::Options;

/// The app beside the server.
pub(super) fn app() -> Router {
    Router::new()
        .route("/", get(|| async { PAGE }))
        .route("/host/ws", any(websocket))
        .fallback(|| async { (StatusCode::NOT_FOUND, NOT_FOUND) })
}

async fn websocket(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|mut socket| async move {
        while let Some(Ok(message)) = socket.recv().await {
            let echo = matches!(message, Message::Text(_) | Message::Binary(_));
            if echo && socket.send(message).await.is_err() {
                return;
            }
        }
    })
}

pub(super) async fn run(options: &Options) -> io::Result<()> {
    let echo = Echo::start(options).await?;
    let server = echo.server.clone();
    let app = app().layer(EngineIoLayer::new(server.clone()));
    let listener = TcpListener::bind(options.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            let _ = stopped().await;
            echo.leave(GRACE).await;
        })
        .await
}
