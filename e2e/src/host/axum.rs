//! axum, with the layer and with the server around the whole app.

use std::net::SocketAddr;

use axum::Router;
use axum::ServiceExt;
use axum::extract::Request;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{any, get, post};
use bytes::Bytes;
use engineio_axum::{EngineIoLayer, RouterExt};
use engineio_tower::Server;
use tokio::net::TcpListener;

use super::{Host, NEIGHBOUR, NOT_FOUND, PAGE, Running};

/// The app of these hosts.
pub fn app() -> Router {
    Router::new()
        .route("/", get(|| async { PAGE }))
        .route("/engine.iox", get(|| async { NEIGHBOUR }))
        .route("/host/echo", post(|body: Bytes| async { body }))
        .route("/host/ws", any(websocket))
        .fallback(|| async { (StatusCode::NOT_FOUND, NOT_FOUND) })
}

async fn websocket(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|mut socket| async move {
        while let Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) = socket.recv().await
        {
            let _ = socket.send(message).await;
        }
    })
}

/// The layer on a router.
#[derive(Debug)]
pub struct Axum;

impl Host for Axum {
    async fn start(server: Server) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = app().layer(EngineIoLayer::new(server));
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        Running::task(address, |stopped| async {
            axum::serve(listener, app)
                .with_graceful_shutdown(stopped)
                .await
                .unwrap();
        })
    }
}

/// Routes in a router.
#[derive(Debug)]
pub struct AxumRoutes;

impl Host for AxumRoutes {
    async fn start(server: Server) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = app().engine_io(server);
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        Running::task(address, |stopped| async {
            axum::serve(listener, app)
                .with_graceful_shutdown(stopped)
                .await
                .unwrap();
        })
    }
}

/// The server around the whole app.
#[derive(Debug)]
pub struct AxumWrap;

impl Host for AxumWrap {
    async fn start(server: Server) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = engineio_axum::wrap(app(), server);
        let app = ServiceExt::<Request>::into_make_service_with_connect_info::<SocketAddr>(app);
        Running::task(address, |stopped| async {
            axum::serve(listener, app)
                .with_graceful_shutdown(stopped)
                .await
                .unwrap();
        })
    }
}
