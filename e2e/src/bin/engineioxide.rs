//! engineioxide, as the other end of our client.
//!
//! ```text
//! engineioxide [--listen ADDR:PORT] [--ping-interval-ms N] [--ping-timeout-ms N] [--max-payload BYTES]
//! ```
//!
//! It does what the `echo` program does: every message comes back as what it was, `close-me` disconnects the sender, and a
//! connect with `reject=1` in its query is refused, here by the service around it. It prints `listening on URL`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engineioxide::config::EngineIoConfig;
use engineioxide::handler::EngineIoHandler;
use engineioxide::service::EngineIoService;
use engineioxide::{DisconnectReason, Socket, Str};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// The number of packets that may wait for a client: more than any suite has under way.
const QUEUE: usize = 1 << 16;

#[derive(Debug)]
struct Echo;

impl EngineIoHandler for Echo {
    type Data = ();

    fn on_connect(self: Arc<Self>, _: Arc<Socket<()>>) {}

    fn on_disconnect(&self, _: Arc<Socket<()>>, _: DisconnectReason) {}

    fn on_message(self: &Arc<Self>, message: Str, socket: Arc<Socket<()>>) {
        if message.as_str() == "close-me" {
            socket.close(DisconnectReason::ClosingServer);
        } else {
            // A full queue loses the message, which the suite notices.
            let _ = socket.emit(message);
        }
    }

    fn on_binary(self: &Arc<Self>, data: Bytes, socket: Arc<Socket<()>>) {
        let _ = socket.emit_binary(data);
    }
}

type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

fn text(status: StatusCode, body: &'static str) -> Response<Body> {
    let body = Full::from(body).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    response
}

async fn answer(
    service: EngineIoService<Echo>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    if !request.uri().path().starts_with("/engine.io") {
        return Ok(text(StatusCode::NOT_FOUND, "host: not found"));
    }
    let mut pairs = request.uri().query().unwrap_or_default().split('&');
    if pairs.any(|pair| pair == "reject=1") {
        return Ok(text(StatusCode::UNAUTHORIZED, "\"rejected\""));
    }
    let response = Service::call(&service, request).await?;
    Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().collect();
    let option = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        words.get(at + 1)
    };
    let number =
        |name: &str, default: u64| option(name).map_or(default, |value| value.parse().expect(name));
    let config = EngineIoConfig::builder()
        .ping_interval(Duration::from_millis(number("--ping-interval-ms", 25_000)))
        .ping_timeout(Duration::from_millis(number("--ping-timeout-ms", 20_000)))
        .max_payload(number("--max-payload", 1_000_000))
        .max_buffer_size(QUEUE)
        .build();
    let service = EngineIoService::with_config(Arc::new(Echo), config);
    let listen = option("--listen").map_or("127.0.0.1:0", String::as_str);
    let listener = TcpListener::bind(listen).await?;
    // The suite takes another end for a crash.
    let mut terminate = signal(SignalKind::terminate())?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (tcp, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            _ = terminate.recv() => return Ok(()),
        };
        tcp.set_nodelay(true)?;
        let service = service.clone();
        let serve = service_fn(move |request| answer(service.clone(), request));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(tcp), serve);
        tokio::spawn(connection.with_upgrades());
    }
}
