//! The order of Engine.IO path, static files and host app.
#![cfg(feature = "static-files")]

use std::convert::Infallible;

use bytes::Bytes;
use engineio_tower::{EngineIoService, Server, StaticFiles};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::ServiceExt;

#[tokio::test]
async fn the_engine_comes_first_then_files_then_the_host_app() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("public")).unwrap();
    std::fs::write(dir.path().join("index.html"), "<h1>index</h1>").unwrap();
    std::fs::write(dir.path().join("public/a.css"), "a {}").unwrap();
    let host = tower::service_fn(|request: Request<Full<Bytes>>| async move {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await?.to_bytes();
        let mut response = Response::new(Full::new(
            [b"host ", path.as_bytes(), b" ", &body].concat().into(),
        ));
        *response.status_mut() = StatusCode::ACCEPTED;
        Ok::<_, Infallible>(response)
    });
    let files = StaticFiles::new()
        .file("/", dir.path().join("index.html"))
        .dir("/static", dir.path().join("public"));
    let server = Server::builder().build();
    let service = EngineIoService::with_inner(server, host).static_files(files);
    for (method, path, status, expected) in [
        ("GET", "/", 200, "<h1>index</h1>"),
        ("GET", "/static/a.css", 200, "a {}"),
        ("HEAD", "/static/a.css", 200, ""),
        ("POST", "/static/a.css", 202, "host /static/a.css body"),
        (
            "GET",
            "/static/missing.css",
            202,
            "host /static/missing.css body",
        ),
        (
            "GET",
            "/static/../index.html",
            202,
            "host /static/../index.html body",
        ),
        ("GET", "/other", 202, "host /other body"),
        (
            "GET",
            "/engine.io/",
            400,
            r#"{"code":0,"message":"Transport unknown"}"#,
        ),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Full::new(Bytes::from("body")))
            .unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{method} {path}");
        let body = response.collect().await.unwrap().to_bytes();
        assert_eq!(body, expected, "{method} {path}");
    }
}
