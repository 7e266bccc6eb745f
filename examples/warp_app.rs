//! Engine.IO added to an existing warp app, which has a WebSocket of its own.
//!
//! ```text
//! cargo run -p engineio-examples --example warp_app
//! ```
//!
//! Engine.IO clients are echoed. `curl http://127.0.0.1:5000/` prints the number of clients, `curl -d news
//! http://127.0.0.1:5000/tell` sends `news` to all of them; `/ws` is the app's own WebSocket, an echo.

use engineio_warp::{Message, Server, Socket};
use futures_util::{SinkExt, StreamExt};
use warp::Filter;
use warp::hyper::body::Bytes;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:5000");
    let server = Server::builder()
        .on_message(|socket: Socket, message: Message| async move {
            let _ = socket.send(message).await;
        })
        .build();

    let known = server.clone();
    let index = warp::path::end().map(move || format!("{} connected\n", known.len()));
    let told = server.clone();
    let tell = warp::path!("tell")
        .and(warp::post())
        .and(warp::body::bytes())
        .map(move |news: Bytes| {
            let news = String::from_utf8_lossy(&news).into_owned();
            format!("told {}\n", told.broadcast(news))
        });
    let websocket = warp::path!("ws")
        .and(warp::ws())
        .map(|upgrade: warp::ws::Ws| {
            upgrade.on_upgrade(|mut socket| async move {
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() && socket.send(message).await.is_err() {
                        return;
                    }
                }
            })
        });

    let service = engineio_warp::layer(server, index.or(tell).or(websocket));
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    engineio_warp::serve(listener, service).await
}
