//! Engine.IO added to an existing axum app, which has sessions, routes and a WebSocket of its own.
//!
//! ```text
//! cargo run -p engineio-examples --example axum_app
//! ```
//!
//! <http://127.0.0.1:5000/> counts your visits in a session (a cookie) and shows the count. An Engine.IO client with that
//! cookie gets the same count, because it belongs to the same session; `/ws` is the app's own WebSocket, an echo.

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message as Frame, WebSocketUpgrade};
use axum::response::{Html, Response};
use axum::routing::{any, get};
use engineio_axum::{
    ConnectRequest, ConnectRequestExt, Message, Rejection, RouterExt, Server, Socket,
};
use tower_sessions::{MemoryStore, Session, SessionManagerLayer};

const VISITS: &str = "visits";

/// The state shared by the app's handlers, which includes the Engine.IO server.
#[derive(Clone, Debug)]
struct App {
    server: Server,
}

async fn index(State(app): State<App>, session: Session) -> Html<String> {
    let visits = session.get::<u32>(VISITS).await.ok().flatten().unwrap_or(0) + 1;
    if let Err(error) = session.insert(VISITS, visits).await {
        eprintln!("the session cannot be kept: {error}");
    }
    // From a plain route to everybody who is connected.
    app.server
        .broadcast(format!("somebody came for visit {visits}"));
    let connected = app.server.len();
    let page = include_str!("pages/axum_app.html");
    Html(
        page.replace("{visits}", &visits.to_string())
            .replace("{connected}", &connected.to_string()),
    )
}

/// The app's own WebSocket, which Engine.IO leaves alone.
async fn websocket(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|mut socket| async move {
        while let Some(Ok(frame)) = socket.recv().await {
            let is_message = matches!(frame, Frame::Text(_) | Frame::Binary(_));
            if is_message && socket.send(frame).await.is_err() {
                return;
            }
        }
    })
}

fn server() -> Server {
    Server::builder()
        .on_connect(|socket: Socket, request: ConnectRequest| async move {
            // Any extractor of axum's works here; this one was put there by the layer below.
            let session = request.extract::<Session, _>(&()).await;
            let session = session.map_err(|_| Rejection::unauthorized())?;
            let visits = session.get::<u32>(VISITS).await.ok().flatten();
            socket
                .send(format!("visits: {}", visits.unwrap_or(0)))
                .await?;
            Ok(())
        })
        .on_message(|socket: Socket, message: Message| async move {
            let _ = socket.send(message).await;
        })
        .build()
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:5000");
    let server = server();
    // Without TLS the cookie must not be `Secure`.
    let sessions = SessionManagerLayer::new(MemoryStore::default()).with_secure(false);
    let app = Router::new()
        .route("/", get(index))
        .route("/ws", any(websocket))
        .engine_io(server.clone())
        // A layer that is added later sees the requests of the Engine.IO server too.
        .layer(sessions)
        .with_state(App { server });
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    engineio_axum::serve(listener, app).await
}
