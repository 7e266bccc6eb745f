//! Origins, and files beside the server.

use engineio_tower::{Origins, Server, ServerBuilder};
use http::Response;

use crate::support::{HANDSHAKE, by, call, code, echo, get_request, with};

const FORBIDDEN: &str = r#"{"code":4,"message":"Forbidden"}"#;

/// A handshake that has these headers, at a server that is reached as `app.com`.
async fn ask(server: &Server, headers: &[(&'static str, &str)]) -> Response<bytes::Bytes> {
    let request = with("host", "app.com", get_request(HANDSHAKE));
    let request = headers
        .iter()
        .fold(request, |request, (name, value)| with(name, value, request));
    call(server, request).await
}

fn cors(response: &Response<bytes::Bytes>) -> Vec<(&str, &str)> {
    response
        .headers()
        .iter()
        .filter_map(|(name, value)| {
            let name = name.as_str().strip_prefix("access-control-")?;
            Some((name, value.to_str().unwrap()))
        })
        .collect()
}

fn allowing(origins: Origins) -> Server {
    ServerBuilder::origins(echo(), origins).build()
}

// python row 51
// python row 52
#[tokio::test]
async fn by_default_only_pages_of_the_same_host_may_connect() {
    let server = allowing(Origins::same());
    for origin in [
        "http://evil.com",
        "http://app.com:8080",
        "http://app.com.evil.com",
        "null",
        "é",
    ] {
        let refused = ask(&server, &[("origin", origin)]).await;
        assert_eq!(refused.status(), 403, "{origin}");
        assert_eq!(refused.body(), FORBIDDEN);
        assert_eq!(cors(&refused), []);
    }
    assert!(server.is_empty());
    for origin in ["http://app.com", "http://APP.com", "http://app.com:80"] {
        let welcome = ask(&server, &[("origin", origin)]).await;
        assert_eq!(welcome.status(), 200, "{origin}");
        assert_eq!(
            cors(&welcome),
            [("allow-origin", origin), ("allow-credentials", "true")]
        );
    }
}

// python row 53
// python row 54
#[tokio::test]
async fn forwarded_headers_count_only_where_they_are_trusted() {
    let forwarded = [
        ("origin", "https://pub.com"),
        ("x-forwarded-proto", "https, http"),
        ("x-forwarded-host", "pub.com, x"),
    ];
    let mixed = [("origin", "http://app.com"), ("x-forwarded-proto", "https")];
    let trusting = allowing(Origins::same().trust_forwarded(true));
    assert_eq!(ask(&trusting, &forwarded).await.status(), 200);
    assert_eq!(ask(&trusting, &mixed).await.status(), 403);
    let careful = allowing(Origins::same());
    assert_eq!(ask(&careful, &forwarded).await.status(), 403);
    assert_eq!(ask(&careful, &mixed).await.status(), 200);
}

// python row 55
#[tokio::test]
async fn a_list_is_the_whole_list() {
    let server = allowing(Origins::list(["https://b.com"]).credentials(false));
    let welcome = ask(&server, &[("origin", "https://b.com")]).await;
    assert_eq!(welcome.status(), 200);
    assert_eq!(cors(&welcome), [("allow-origin", "https://b.com")]);
    for origin in ["https://c.com", "http://app.com", "http://b.com"] {
        assert_eq!(
            ask(&server, &[("origin", origin)]).await.status(),
            403,
            "{origin}"
        );
    }
    let without = ask(&server, &[]).await;
    assert_eq!(without.status(), 200);
    assert_eq!(cors(&without), []);
}

// python row 56
#[tokio::test]
async fn without_a_check_cors_is_left_to_the_host() {
    let server = allowing(Origins::off());
    let evil = ask(&server, &[("origin", "http://evil.com")]).await;
    assert_eq!(evil.status(), 200);
    assert_eq!(cors(&evil), []);
    let options = by("OPTIONS", get_request(HANDSHAKE));
    let options = with("origin", "http://evil.com", options);
    let options = call(
        &server,
        with("access-control-request-method", "POST", options),
    )
    .await;
    assert_eq!(code(&options), 2);
    assert_eq!(cors(&options), []);
}

// python row 57
#[tokio::test]
async fn any_origin_is_echoed_and_never_a_star() {
    let server = allowing(Origins::any());
    assert_eq!(cors(&ask(&server, &[]).await), []);
    for origin in ["http://evil.com", "null"] {
        let welcome = ask(&server, &[("origin", origin)]).await;
        assert_eq!(
            cors(&welcome),
            [("allow-origin", origin), ("allow-credentials", "true")]
        );
        assert_eq!(welcome.headers()["vary"], "Origin, Accept-Encoding");
    }
}

// python row 58
#[tokio::test]
async fn the_headers_that_a_page_wants_to_send_are_allowed_by_the_preflight() {
    let server = allowing(Origins::any());
    let wish = [
        ("origin", "http://page.com"),
        ("access-control-request-headers", "X-Token, X-Other"),
    ];
    let get = ask(&server, &wish).await;
    assert!(cors(&get).iter().all(|(name, _)| *name != "allow-headers"));
    let preflight = by("OPTIONS", get_request(""));
    let preflight = wish.iter().fold(preflight, |request, (name, value)| {
        with(name, value, request)
    });
    let preflight = with("access-control-request-method", "POST", preflight);
    let answer = call(&server, preflight).await;
    assert!(cors(&answer).contains(&("allow-headers", "X-Token, X-Other")));
}

#[cfg(feature = "static-files")]
mod files {
    use bytes::Bytes;
    use engineio_tower::{EngineIoService, StaticFiles};
    use http::Request;
    use http_body_util::{BodyExt, Full};
    use tower::ServiceExt;

    use crate::support::echo;

    async fn ask(files: &StaticFiles, method: &str, path: &str) -> (u16, String, String) {
        let service = EngineIoService::new(echo().build()).static_files(files.clone());
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let response = service.oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let kind = response.headers()["content-type"].to_str().unwrap().into();
        let body = response.collect().await.unwrap().to_bytes();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    fn site() -> (tempfile::TempDir, StaticFiles) {
        let dir = tempfile::tempdir().unwrap();
        let public = dir.path().join("public");
        std::fs::create_dir(&public).unwrap();
        for name in ["index.html", "a.css", "c.svg", "b.TXT", "none"] {
            std::fs::write(public.join(name), name).unwrap();
        }
        std::fs::write(dir.path().join("secret.txt"), "secret").unwrap();
        let files = StaticFiles::from_map([
            ("/", public.join("index.html")),
            ("/static", public.clone()),
        ]);
        (dir, files)
    }

    // python row 85
    #[tokio::test]
    async fn files_have_the_type_of_their_extension() {
        let (_dir, files) = site();
        for (path, kind, body) in [
            ("/", "text/html; charset=utf-8", "index.html"),
            ("/static/a.css", "text/css; charset=utf-8", "a.css"),
            ("/static/", "text/html; charset=utf-8", "index.html"),
            ("/static/c.svg", "image/svg+xml", "c.svg"),
            ("/static/b.TXT", "text/plain; charset=utf-8", "b.TXT"),
            ("/static/none", "application/octet-stream", "none"),
        ] {
            let expected = (200, kind.to_owned(), body.to_owned());
            assert_eq!(ask(&files, "GET", path).await, expected, "{path}");
        }
    }

    // python row 86
    // python row 87
    // python row 88
    #[tokio::test]
    async fn what_is_no_file_below_the_directory_is_left_to_the_host_app() {
        let (_dir, files) = site();
        for (method, path) in [
            ("GET", "/static/../secret.txt"),
            ("GET", "/static/%2e%2e/secret.txt"),
            ("GET", "/static/..%2fsecret.txt"),
            ("GET", "/static"),
            ("GET", "/static/.."),
            ("POST", "/static/a.css"),
            ("DELETE", "/static/a.css"),
            ("OPTIONS", "/static/a.css"),
        ] {
            let (status, _, body) = ask(&files, method, path).await;
            assert_eq!((status, &*body), (404, "Not Found"), "{method} {path}");
        }
        assert_eq!(ask(&files, "HEAD", "/static/a.css").await.0, 200);
    }
}
