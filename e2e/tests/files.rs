//! The order of the original on every host with static files: the Engine.IO path, then the files, then the app.

use std::net::SocketAddr;

use engineio_axum::{EngineIoLayer, StaticFiles, StaticFilesLayer};
use engineio_e2e::host::{NOT_FOUND, axum_app, warp_routes};
use engineio_e2e::puppet::Puppet;
use engineio_tower::{EngineIoService, Server};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// A page of files, one of which lies at the path of the server, and one at a path of the app.
fn files() -> (TempDir, StaticFiles) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("page.html"), "a file").unwrap();
    let page = directory.path().join("page.html");
    let files = StaticFiles::new()
        .file("/", &page)
        .file("/engine.io/", &page)
        .dir("/static", directory.path());
    (directory, files)
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn in_order(address: SocketAddr) {
    let mut client = Puppet::connect(address).await;
    let open = client.get("/engine.io/?EIO=4&transport=polling").await;
    assert!(open.text().starts_with("0{"), "{open:?}");
    for path in ["/", "/static/page.html"] {
        let file = client.get(path).await;
        assert_eq!((file.status, file.text()), (200, "a file"), "{path}");
        assert!(file.header("content-type").starts_with("text/html"));
    }
    for path in ["/static/none.html", "/static/../../etc/passwd", "/else"] {
        let answer = client.get(path).await;
        assert_eq!((answer.status, answer.text()), (404, NOT_FOUND), "{path}");
    }
    let body: Vec<u8> = (0..100_000_u32).map(|byte| (byte % 253) as u8).collect();
    assert!(client.post("/host/echo", &body).await.body == body);
    let mut socket = Puppet::connect(address).await;
    socket.upgrade("/host/ws").await;
    socket.say("hello").await;
    assert_eq!(socket.hear().await, "hello");
}

#[tokio::test]
async fn axum() {
    let (_directory, files) = files();
    let (listener, address) = listen().await;
    let app = axum_app()
        .layer(StaticFilesLayer::new(files))
        .layer(EngineIoLayer::new(Server::builder().build()));
    tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
    in_order(address).await;
}

#[tokio::test]
async fn hyper() {
    let (_directory, files) = files();
    let (listener, address) = listen().await;
    let server = Server::builder().build();
    let service = EngineIoService::with_inner(server, axum_app()).static_files(files);
    tokio::spawn(engineio_tower::serve(listener, service).into_future());
    in_order(address).await;
}

#[tokio::test]
async fn warp() {
    let (_directory, files) = files();
    let (listener, address) = listen().await;
    let server = Server::builder().build();
    let service = engineio_warp::layer(server, warp_routes()).static_files(files);
    tokio::spawn(engineio_warp::serve(listener, service).into_future());
    in_order(address).await;
}
