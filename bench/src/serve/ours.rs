//! Our server, with every limit at its default.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use engineio_axum::EngineIoLayer;
use engineio_tower::{EngineIoService, Message, Origins, Server, ServerBuilder, Socket};
use tokio::net::TcpListener;
use tower_service::Service;

use super::Settings;

/// The messages that are sent to everybody begin so.
const BROADCAST: &str = "bcast:";

/// The messages that are passed on to the sender's partner begin so.
const RELAY: &str = "relay:";

/// The first message of a client that has a partner, followed by the number of the pair.
const PAIR: &str = "pair:";

/// The partner of a client, attached to it.
struct Partner(Socket);

/// The clients whose partner has not come yet, by the number of the pair.
type Waiting = Mutex<HashMap<String, Socket>>;

fn begins_with(message: &Message, prefix: &str) -> bool {
    matches!(message, Message::Text(text) if text.as_bytes().starts_with(prefix.as_bytes()))
}

/// Makes partners of the two clients that introduce themselves with the same message.
fn pair(waiting: &Waiting, socket: &Socket, introduction: &Message) {
    let introduction = introduction.as_text().unwrap_or_default();
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(partner) = waiting.remove(introduction) else {
        waiting.insert(introduction.to_owned(), socket.clone());
        return;
    };
    for (one, other) in [(socket, &partner), (&partner, socket)] {
        one.set(Partner(other.clone()));
        // The generator notices if it does not arrive.
        let _ = one.try_send("paired");
    }
}

fn builder(settings: Settings) -> ServerBuilder {
    let origins = match settings.any_origin {
        true => Origins::any(),
        false => Origins::default(),
    };
    Server::builder()
        .ping_interval(settings.ping_interval)
        .ping_timeout(settings.ping_timeout)
        .origins(origins)
}

/// An echo whose handler answers at once.
pub(super) fn plain(settings: Settings) -> Server {
    let waiting = Waiting::default();
    builder(settings)
        .on_message(move |socket: Socket, message: Message| {
            if begins_with(&message, BROADCAST) {
                socket.server().broadcast(message);
            } else if begins_with(&message, RELAY) {
                let partner = socket.get::<Partner>();
                if partner.is_none_or(|partner| partner.0.try_send(message).is_err()) {
                    socket.abort();
                }
            } else if begins_with(&message, PAIR) {
                pair(&waiting, &socket, &message);
            } else if socket.try_send(message).is_err() {
                // The generator counts: a message that is lost fails the run.
                socket.abort();
            }
        })
        .build()
}

/// An echo whose handler waits for room, as most applications would write it.
pub(super) fn asynchronous(settings: Settings) -> Server {
    builder(settings)
        .on_message(|socket: Socket, message: Message| async move {
            if begins_with(&message, BROADCAST) {
                socket.server().broadcast(message);
            } else {
                let _ = socket.send(message).await;
            }
        })
        .build()
}

/// On bare hyper.
pub(super) async fn hyper(listener: TcpListener, server: Server) -> Result<()> {
    let service = EngineIoService::new(server);
    super::accept_http(listener, move |request| service.clone().call(request)).await
}

/// In an axum app that has a route of its own.
pub(super) async fn axum(listener: TcpListener, server: Server) -> Result<()> {
    use axum::serve::ListenerExt;

    let app = axum::Router::new()
        .route("/", axum::routing::get(|| async { "hello" }))
        .layer(EngineIoLayer::new(server));
    let listener = listener.tap_io(|stream| {
        // As on bare hyper. A connection that is broken already shows that at the first read.
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, app).await?)
}

/// In an actix app that has a route of its own, on one worker.
pub(super) async fn actix(listener: TcpListener, server: Server) -> Result<()> {
    use actix_web::{App, HttpServer, web};

    let app = move || {
        App::new()
            .configure(engineio_actix::configure(&server))
            .route("/", web::get().to(async || "hello"))
    };
    Ok(HttpServer::new(app)
        .tcp_nodelay(true)
        .workers(1)
        // As many at once as the other hosts take.
        .max_connections(100_000)
        .backlog(1024)
        .disable_signals()
        .listen(listener.into_std()?)?
        .run()
        .await?)
}

/// In front of warp routes.
pub(super) async fn warp(listener: TcpListener, server: Server) -> Result<()> {
    use warp::Filter;

    let hello = warp::path::end().map(|| "hello");
    Ok(engineio_warp::serve(listener, engineio_warp::layer(server, hello)).await?)
}
