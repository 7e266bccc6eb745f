//! actix-web.

use std::io;
use std::time::Duration;

use actix_web::rt::System;
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use actix_ws::Message;
use engineio_actix::middleware;
use futures_util::StreamExt;

use super::{GRACE, NOT_FOUND, PAGE, stopped};
use crate::Echo;
use crate::options::Options;

/// The app beside the server.
fn routes(config: &mut ServiceConfig) {
    config
        .route("/", web::get().to(async || PAGE))
        .route("/host/ws", web::get().to(websocket))
        .default_service(web::to(async || HttpResponse::NotFound().body(NOT_FOUND)));
}

async fn websocket(request: HttpRequest, body: web::Payload) -> actix_web::Result<HttpResponse> {
    let (response, mut session, mut stream) = actix_ws::handle(&request, body)?;
    actix_web::rt::spawn(async move {
        while let Some(Ok(message)) = stream.next().await {
            let sent = match message {
                Message::Text(text) => session.text(text).await,
                Message::Binary(bytes) => session.binary(bytes).await,
                Message::Close(_) => break,
                _ => Ok(()),
            };
            if sent.is_err() {
                return;
            }
        }
        let _ = session.close(None).await;
    });
    Ok(response)
}

pub(super) fn run(options: &Options) -> io::Result<()> {
    System::new().block_on(async { serve(options, Echo::start(options).await?).await })
}

async fn serve(options: &Options, echo: Echo) -> io::Result<()> {
    let engine = echo.server.clone();
    let app = move || App::new().configure(routes).wrap_fn(middleware(&engine));
    let mut http = HttpServer::new(app)
        .tcp_nodelay(true)
        .h1_allow_half_closed(false)
        // Longer than proxies keep theirs: a request on a connection that is just being closed gets no answer.
        .keep_alive(Duration::from_secs(75))
        .shutdown_timeout(GRACE.as_secs())
        .disable_signals();
    if let Some(threads) = options.threads {
        http = http.workers(threads);
    }
    let http = http.bind(options.listen)?;
    println!("listening on http://{}", http.addrs()[0]);
    let http = http.run();
    let handle = http.handle();
    actix_web::rt::spawn(async move {
        let _ = stopped().await;
        echo.leave(GRACE).await;
        handle.stop(true).await;
    });
    http.await
}
