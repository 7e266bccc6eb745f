//! Other places than the root of an app, and other paths than the default one.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use actix_web::{App, HttpServer, web};
use axum::Router;
use axum::routing::get;
use engineio_axum::{EngineIoLayer, RouterExt};
use engineio_e2e::frame::{self, Frame};
use engineio_e2e::puppet::Puppet;
use engineio_tower::{Message, Server, Socket};
use warp::Filter;

fn echo(path: &str) -> Server {
    Server::builder()
        .path(path)
        .on_message(|socket: Socket, message: Message| async move {
            let _ = socket.send(message).await;
        })
        .build()
}

/// The server is reached at this path and below it, with and without a slash; a neighbour of it is not.
async fn reached(address: SocketAddr, path: &str) {
    let mut client = Puppet::connect(address).await;
    for path in [path.to_owned(), format!("{path}/"), format!("{path}/below")] {
        let target = format!("{path}?EIO=4&transport=polling");
        let answer = client.get(&target).await;
        assert_eq!(answer.status, 200, "{target}: {answer:?}");
        assert!(answer.text().starts_with("0{"), "{target}: {answer:?}");
        let mut socket = Puppet::connect(address).await;
        socket
            .upgrade(&target.replace("polling", "websocket"))
            .await;
        assert!(socket.hear().await.starts_with("0{"));
        socket.write(frame::text("4hello")).await;
        assert_eq!(socket.hear().await, "4hello");
    }
    not_reached(address, &format!("{path}x")).await;
}

async fn not_reached(address: SocketAddr, path: &str) {
    let mut client = Puppet::connect(address).await;
    let target = format!("{path}/?EIO=4&transport=polling");
    let answer = client.get(&target).await;
    assert!(!answer.text().starts_with("0{"), "{target}: {answer:?}");
}

async fn axum(app: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
    address
}

#[tokio::test]
async fn axum_layer_with_another_path() {
    let app = Router::new().layer(EngineIoLayer::new(echo("/real/time/")));
    let address = axum(app).await;
    reached(address, "/real/time").await;
    not_reached(address, "/engine.io").await;
}

fn users() -> Router {
    Router::new().route("/users", get(|| async { "Ada" }))
}

fn layer() -> EngineIoLayer {
    EngineIoLayer::new(echo("/engine.io"))
}

#[tokio::test]
async fn axum_routes_with_another_path() {
    let address = axum(users().engine_io(echo("/real/time/"))).await;
    reached(address, "/real/time").await;
    not_reached(address, "/engine.io").await;
}

#[tokio::test]
async fn axum_routes_in_a_nested_router() {
    let address = axum(Router::new().nest("/api", users().engine_io(echo("/engine.io")))).await;
    reached(address, "/api/engine.io").await;
    not_reached(address, "/engine.io").await;
    let mut client = Puppet::connect(address).await;
    assert_eq!(client.get("/api/users").await.text(), "Ada");
}

#[tokio::test]
async fn axum_routes_at_the_prefix_of_a_nested_router() {
    let app = Router::new().nest("/api", users());
    let address = axum(app.engine_io(echo("/api"))).await;
    reached(address, "/api").await;
    let mut client = Puppet::connect(address).await;
    assert_eq!(client.get("/api/users").await.text(), "Ada");
}

#[tokio::test]
async fn axum_routes_in_a_merged_router() {
    let inner = users().engine_io(echo("/engine.io"));
    let address = axum(Router::new().merge(inner).fallback(|| async { "outer" })).await;
    reached(address, "/engine.io").await;
    let mut client = Puppet::connect(address).await;
    assert_eq!(client.get("/else").await.text(), "outer");
}

#[tokio::test]
async fn axum_layer_over_a_nested_router() {
    let address = axum(Router::new().nest("/api", users()).layer(layer())).await;
    reached(address, "/engine.io").await;
    not_reached(address, "/api/engine.io").await;
    let mut client = Puppet::connect(address).await;
    assert_eq!(client.get("/api/users").await.text(), "Ada");
}

#[tokio::test]
async fn axum_layer_over_a_merged_router() {
    let outer = Router::new().merge(users()).fallback(|| async { "outer" });
    let address = axum(outer.layer(layer())).await;
    reached(address, "/engine.io").await;
    let mut client = Puppet::connect(address).await;
    assert_eq!(client.get("/users").await.text(), "Ada");
    assert_eq!(client.get("/else").await.text(), "outer");
}

#[tokio::test]
async fn axum_layer_wins_over_a_route() {
    let app = Router::new().route("/engine.io/", get(|| async { "shadowed" }));
    reached(axum(app.layer(layer())).await, "/engine.io").await;
}

/// The traps of the documentation, which are axum's. If they go away, so may the warning.
#[tokio::test]
async fn axum_layer_is_lost_in_a_merged_or_nested_router() {
    let merged = Router::new().merge(users().layer(layer()));
    not_reached(
        axum(merged.fallback(|| async { "outer" })).await,
        "/engine.io",
    )
    .await;
    let nested = Router::new().nest("/api", users().layer(layer()));
    not_reached(axum(nested).await, "/api/engine.io").await;
}

/// The same: a nested router has no route for its prefix with a slash behind it.
#[tokio::test]
async fn axum_routes_at_the_root_of_a_nested_router_are_not_reached_with_a_slash() {
    let address = axum(Router::new().nest("/api", users().engine_io(echo("/")))).await;
    not_reached(address, "/api").await;
    let mut client = Puppet::connect(address).await;
    let open = client.get("/api?EIO=4&transport=polling").await;
    assert!(open.text().starts_with("0{"), "{open:?}");
}

/// Runs actix-web on a thread of its own, for as long as the test.
fn actix(configure: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let app = move || App::new().configure(configure.clone());
            let server = HttpServer::new(app).workers(1).disable_signals();
            server.listen(listener).unwrap().run().await.unwrap();
        });
    });
    address
}

#[tokio::test]
async fn actix_with_another_path() {
    let server = echo("/real/time/");
    let address = actix(move |config| engineio_actix::configure(&server)(config));
    reached(address, "/real/time").await;
    not_reached(address, "/engine.io").await;
}

/// A limitation that engineio-actix documents.
#[tokio::test]
async fn actix_reads_on_for_a_second_after_the_close_frames_of_a_websocket() {
    let server = Server::builder().build();
    let address = actix(move |config| engineio_actix::configure(&server)(config));
    let mut client = Puppet::connect(address).await;
    client
        .upgrade("/engine.io/?EIO=4&transport=websocket")
        .await;
    assert!(client.hear().await.starts_with("0{"));
    client.write(frame::close(1000)).await;
    assert!(matches!(client.frame().await, Some(Frame::Close(_))));
    let begun = Instant::now();
    client.ended().await;
    assert!(begun.elapsed() > Duration::from_millis(900));
}

#[tokio::test]
async fn actix_configure_in_a_scope() {
    let server = echo("/engine.io");
    let address = actix(move |config| {
        config.service(web::scope("/api").configure(engineio_actix::configure(&server)));
    });
    reached(address, "/api/engine.io").await;
    not_reached(address, "/engine.io").await;
}

#[tokio::test]
async fn actix_wrap_around_a_scope() {
    let server = echo("/engine.io");
    let address = actix(move |config| {
        let users = web::resource("/users").to(async || "Ada");
        let scope = web::scope("/api").service(users);
        config.service(scope.wrap_fn(engineio_actix::middleware(&server)));
    });
    reached(address, "/api/engine.io").await;
    not_reached(address, "/engine.io").await;
    let mut client = Puppet::connect(address).await;
    assert_eq!(client.get("/api/users").await.text(), "Ada");
}

#[tokio::test]
async fn warp_with_another_path() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let filter = engineio_warp::filter(&echo("/real/time/"));
    tokio::spawn(warp::serve(filter).incoming(listener).run());
    reached(address, "/real/time").await;
    not_reached(address, "/engine.io").await;
}

#[tokio::test]
async fn warp_filter_below_a_path() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let users = warp::path!("api" / "users").map(|| "Ada");
    let filter = warp::path("api")
        .and(engineio_warp::filter(&echo("/engine.io")))
        .or(users);
    tokio::spawn(warp::serve(filter).incoming(listener).run());
    reached(address, "/api/engine.io").await;
    not_reached(address, "/engine.io").await;
    let mut client = Puppet::connect(address).await;
    assert_eq!(client.get("/api/users").await.text(), "Ada");
}
