//! The hosts that can serve the page.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE};
use axum::http::{HeaderValue, Response};
use axum::routing::get;
use axum::serve::ListenerExt;
use engineio_axum::{EngineIoLayer, Server};
use engineio_cluster::Cluster;
use engineio_examples::node;
use engineio_tower::EngineIoService;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tower::util::{MapResponse, MapResponseLayer};
use warp::{Filter, Reply};

/// The page, without the hash of a certificate.
pub(crate) const PAGE: &str = include_str!("../../../demo/index.html");

/// Path, type and text of a part of the page.
type Asset = (&'static str, &'static str, &'static str);

const ASSETS: [Asset; 4] = [
    (
        "/style.css",
        "text/css",
        include_str!("../../../demo/style.css"),
    ),
    (
        "/app.js",
        "text/javascript",
        include_str!("../../../demo/app.js"),
    ),
    (
        "/engineio.js",
        "text/javascript",
        include_str!("../../../demo/engineio.js"),
    ),
    (
        "/webtransport.js",
        "text/javascript",
        include_str!("../../../demo/webtransport.js"),
    ),
];

/// Returns the parts of the page.
fn assets(page: &'static str) -> impl Iterator<Item = Asset> {
    std::iter::once(("/", "text/html; charset=utf-8", page)).chain(ASSETS)
}

/// The grace period for clients to fetch queued messages at shutdown.
const GRACE: Duration = Duration::from_secs(2);

/// Runs a host until SIGINT or SIGTERM.
pub(crate) async fn run(
    host: &str,
    listener: TcpListener,
    page: &'static str,
    server: Server,
    cluster: Option<Cluster>,
) -> io::Result<()> {
    let cookie = cluster.as_ref().and_then(node_cookie);
    let leaving = server.clone();
    let leave = async move {
        let _ = stopped().await;
        node::leave(&leaving, cluster.as_ref(), Duration::ZERO, GRACE).await;
    };
    match host {
        "axum" => {
            let app = app(page)
                .layer(EngineIoLayer::new(server))
                .layer(MapResponseLayer::new(named(cookie)));
            let listener = listener.tap_io(|stream| {
                let _ = stream.set_nodelay(true);
            });
            axum::serve(listener, app)
                .with_graceful_shutdown(leave)
                .await
        }
        "hyper" => {
            let service = EngineIoService::with_inner(server, app(page));
            let service = MapResponse::new(service, named(cookie));
            engineio_tower::serve(listener, service)
                .with_graceful_shutdown(leave)
                .await
        }
        "warp" => {
            let service = engineio_warp::layer(
                server,
                warp::path::full().and_then(move |path| asset(page, path)),
            );
            let service = MapResponse::new(service, named(cookie));
            engineio_warp::serve(listener, service)
                .with_graceful_shutdown(leave)
                .await
        }
        "actix" => actix(listener.into_std()?, page, server, cookie, leave).await,
        other => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("unknown host {other}; expected axum, actix, warp or hyper"),
        )),
    }
}

/// A cookie with the name of the node, by which the page learns which one has answered, a WebSocket handshake too.
fn node_cookie(cluster: &Cluster) -> Option<HeaderValue> {
    let cookie = format!("node={}; Path=/; SameSite=Lax", cluster.id());
    HeaderValue::try_from(cookie).ok()
}

/// Adds the cookie to a response.
fn named<B>(cookie: Option<HeaderValue>) -> impl Fn(Response<B>) -> Response<B> + Clone {
    move |mut response| {
        if let Some(cookie) = &cookie {
            response.headers_mut().append(SET_COOKIE, cookie.clone());
        }
        response
    }
}

fn app(page: &'static str) -> Router {
    assets(page).fold(Router::new(), |app, (path, kind, text)| {
        let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")];
        app.route(path, get(async move || (headers, text)))
    })
}

async fn asset(
    page: &'static str,
    path: warp::path::FullPath,
) -> Result<impl Reply, warp::Rejection> {
    let asset = assets(page).find(|(known, ..)| *known == path.as_str());
    let (_, kind, text) = asset.ok_or_else(warp::reject::not_found)?;
    let reply = warp::reply::with_header(text, CONTENT_TYPE, kind);
    Ok(warp::reply::with_header(reply, CACHE_CONTROL, "no-cache"))
}

async fn actix(
    listener: std::net::TcpListener,
    page: &'static str,
    server: Server,
    cookie: Option<HeaderValue>,
    leave: impl Future<Output = ()> + 'static,
) -> io::Result<()> {
    use actix_web::middleware::DefaultHeaders;
    use actix_web::{App, HttpResponse, HttpServer, web};
    let app = move || {
        let mut headers = DefaultHeaders::new();
        if let Some(cookie) = cookie.as_ref().and_then(|cookie| cookie.to_str().ok()) {
            headers = headers.add(("set-cookie", cookie));
        }
        let app = App::new()
            .wrap(headers)
            .configure(engineio_actix::configure(&server));
        assets(page).fold(app, |app, (path, kind, text)| {
            let respond = move || {
                let mut response = HttpResponse::Ok();
                response.content_type(kind);
                response.insert_header(("cache-control", "no-cache"));
                std::future::ready(response.body(text))
            };
            app.route(path, web::get().to(respond))
        })
    };
    let http = HttpServer::new(app)
        .tcp_nodelay(true)
        .h1_allow_half_closed(false)
        // Longer than proxies keep theirs: a request on a connection that is just being closed gets no answer.
        .keep_alive(Duration::from_secs(75))
        .shutdown_timeout(GRACE.as_secs())
        .disable_signals()
        .listen(listener)?
        .run();
    let handle = http.handle();
    let stop = async move {
        leave.await;
        handle.stop(true).await;
    };
    // actix-web runs on threads of its own, and its server may be awaited anywhere.
    tokio::join!(http, stop).0
}

/// Waits for SIGINT or SIGTERM.
async fn stopped() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}
