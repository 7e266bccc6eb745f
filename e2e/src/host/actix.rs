//! actix-web, with the server as a resource and as a middleware. It runs on threads of its own.

use std::net::TcpListener;

use actix_web::dev::ServerHandle;
use actix_web::web::{self, Bytes, ServiceConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use actix_ws::Message;
use engineio_actix::middleware;
use engineio_tower::Server;
use futures_util::StreamExt;

use super::{Host, NEIGHBOUR, NOT_FOUND, PAGE, Running};

fn routes(config: &mut ServiceConfig) {
    config
        .route("/", web::get().to(async || PAGE))
        .route("/engine.iox", web::get().to(async || NEIGHBOUR))
        .route("/host/echo", web::post().to(async |body: Bytes| body))
        .route("/host/ws", web::get().to(websocket))
        .route("/host/lose-worker", web::post().to(lose_worker))
        .default_service(web::to(async || HttpResponse::NotFound().body(NOT_FOUND)));
}

/// Ends the worker that serves the request, with all its connections. actix-web starts another one.
async fn lose_worker() -> &'static str {
    actix_rt::Arbiter::current().stop();
    "lost"
}

async fn websocket(request: HttpRequest, body: web::Payload) -> actix_web::Result<HttpResponse> {
    let (response, mut session, mut stream) = actix_ws::handle(&request, body)?;
    actix_web::rt::spawn(async move {
        while let Some(Ok(message)) = stream.next().await {
            let _ = match message {
                Message::Text(text) => session.text(text).await,
                Message::Binary(bytes) => session.binary(bytes).await,
                _ => break,
            };
        }
        let _ = session.close(None).await;
    });
    Ok(response)
}

/// Runs actix-web on a thread of its own. Two workers, so that a client's requests meet different ones.
async fn run(
    listener: TcpListener,
    serve: impl FnOnce(TcpListener) -> std::io::Result<actix_web::dev::Server> + Send + 'static,
) -> Running {
    let address = listener.local_addr().unwrap();
    let (tell, told) = tokio::sync::oneshot::channel::<ServerHandle>();
    let thread = std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let server = serve(listener).unwrap();
            tell.send(server.handle()).unwrap();
            server.await.unwrap();
        });
    });
    let handle = told.await.unwrap();
    Running::new(address, move || async move {
        handle.stop(true).await;
        tokio::task::spawn_blocking(|| thread.join().unwrap())
            .await
            .unwrap();
    })
}

/// The server as a resource, with actix-web's defaults for half-closed connections.
#[derive(Debug)]
pub struct ActixConfigure;

impl Host for ActixConfigure {
    const FIN_ENDS_POLL: bool = false;
    const ASKS_FOR_EVERY_BODY: bool = true;
    async fn start(server: Server) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        run(listener, move |listener| {
            let factory = move || {
                App::new()
                    .configure(engineio_actix::configure(&server))
                    .configure(routes)
            };
            Ok(HttpServer::new(factory)
                .tcp_nodelay(true)
                .workers(2)
                .disable_signals()
                .listen(listener)?
                .run())
        })
        .await
    }
}

/// The server as a middleware, with connections that may not be half closed.
#[derive(Debug)]
pub struct ActixWrap;

impl Host for ActixWrap {
    const ASKS_FOR_EVERY_BODY: bool = true;
    async fn start(server: Server) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        run(listener, move |listener| {
            let factory = move || App::new().configure(routes).wrap_fn(middleware(&server));
            Ok(HttpServer::new(factory)
                .tcp_nodelay(true)
                .h1_allow_half_closed(false)
                .workers(2)
                .disable_signals()
                .listen(listener)?
                .run())
        })
        .await
    }
}

/// HTTP/1 and HTTP/2 by prior knowledge.
#[derive(Debug)]
pub struct ActixHttp2;

impl Host for ActixHttp2 {
    const ASKS_FOR_EVERY_BODY: bool = true;
    async fn start(server: Server) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        run(listener, move |listener| {
            let factory = move || App::new().configure(routes).wrap_fn(middleware(&server));
            Ok(HttpServer::new(factory)
                .workers(2)
                .disable_signals()
                .listen_auto_h2c(listener)?
                .run())
        })
        .await
    }
}

/// The app alone, to be compared with.
#[derive(Debug)]
pub struct ActixPlain;

impl Host for ActixPlain {
    async fn start(_: Server) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        run(listener, |listener| {
            Ok(HttpServer::new(|| App::new().configure(routes))
                .tcp_nodelay(true)
                .workers(2)
                .disable_signals()
                .listen(listener)?
                .run())
        })
        .await
    }
}
