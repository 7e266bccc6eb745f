//! Engine.IO added to an existing actix-web app, with shared state, routes and a WebSocket of the app's own.
//!
//! ```text
//! cargo run -p engineio-examples --example actix_app
//! ```
//!
//! Engine.IO clients are echoed. `curl http://127.0.0.1:5000/` prints the numbers of clients and of messages,
//! `curl -d news http://127.0.0.1:5000/tell` sends `news` to all of them; `/ws` is the app's own WebSocket, an echo.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use engineio_actix::{Message, Server, Socket};
use futures_util::StreamExt;

/// The state shared by the app's handlers on all workers of actix-web.
#[derive(Debug)]
struct Shared {
    server: Server,
    messages: Arc<AtomicUsize>,
}

async fn index(shared: web::Data<Shared>) -> String {
    let messages = shared.messages.load(Ordering::Relaxed);
    format!("{} connected, {messages} messages\n", shared.server.len())
}

async fn tell(shared: web::Data<Shared>, news: String) -> String {
    format!("told {}\n", shared.server.broadcast(news))
}

async fn websocket(request: HttpRequest, body: web::Payload) -> actix_web::Result<HttpResponse> {
    let (response, mut session, mut stream) = actix_ws::handle(&request, body)?;
    actix_web::rt::spawn(async move {
        while let Some(Ok(actix_ws::Message::Text(text))) = stream.next().await {
            if session.text(text).await.is_err() {
                return;
            }
        }
        let _ = session.close(None).await;
    });
    Ok(response)
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:5000");
    let messages = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&messages);
    let server = Server::builder()
        .on_message(move |socket: Socket, message: Message| {
            counter.fetch_add(1, Ordering::Relaxed);
            async move {
                let _ = socket.send(message).await;
            }
        })
        .build();
    let shared = web::Data::new(Shared {
        server: server.clone(),
        messages,
    });
    let http = HttpServer::new(move || {
        App::new()
            .app_data(shared.clone())
            .configure(engineio_actix::configure(&server))
            .route("/", web::get().to(index))
            .route("/tell", web::post().to(tell))
            .route("/ws", web::get().to(websocket))
    })
    // Off with Nagle's algorithm, and a poll whose client is gone ends at once.
    .tcp_nodelay(true)
    .h1_allow_half_closed(false)
    // Longer than proxies keep theirs.
    .keep_alive(std::time::Duration::from_secs(75))
    .bind(address)?;
    println!("listening on http://{}", http.addrs()[0]);
    http.run().await
}
