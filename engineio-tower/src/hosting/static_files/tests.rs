use std::fs;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use tempfile::TempDir;

use super::*;

/// A directory with a site, and a file beside it that nobody may get.
fn site() -> TempDir {
    let site = tempfile::tempdir().unwrap();
    let files = [
        ("secret.txt", "secret"),
        ("index.html", "root"),
        ("feed.xml", "feed"),
        ("public/index.html", "public index"),
        ("public/image.gif", "gif"),
        ("public/a.css", "css"),
        ("public/b.TXT", "txt"),
        ("public/noext", "bytes"),
        ("public/my page.html", "spaces"),
        ("public/sub/index.html", "sub index"),
        ("public/empty.css", ""),
        ("public/sub/c.js", "js"),
    ];
    for (name, content) in files {
        let path = site.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    site
}

fn request(method: Method, uri: &str, headers: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

async fn ask(files: &StaticFiles, request: Request<()>) -> Option<(StatusCode, HeaderMap, String)> {
    let (head, body) = files.serve(request).await?.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    Some((head.status, head.headers, body))
}

/// The body of a GET; `None` if the request is the host's.
async fn get(files: &StaticFiles, uri: &str) -> Option<String> {
    let (status, _, body) = ask(files, request(Method::GET, uri, &[])).await?;
    assert_eq!(status, StatusCode::OK, "{uri}");
    Some(body)
}

async fn content_type(files: &StaticFiles, uri: &str) -> String {
    let (_, headers, _) = ask(files, request(Method::GET, uri, &[])).await.unwrap();
    headers[CONTENT_TYPE].to_str().unwrap().to_owned()
}

fn public(site: &TempDir) -> StaticFiles {
    StaticFiles::new().dir("/static", site.path().join("public"))
}

#[tokio::test]
async fn an_exact_file_is_served_at_its_url_only() {
    let site = site();
    let files = StaticFiles::new().file("/", site.path().join("index.html"));
    assert_eq!(get(&files, "/").await.unwrap(), "root");
    assert_eq!(get(&files, "/?x=/../y").await.unwrap(), "root");
    assert_eq!(get(&files, "/other").await, None);
    assert_eq!(get(&files, "/index.html").await, None);
}

#[tokio::test]
async fn a_content_type_is_guessed_or_given() {
    let site = site();
    let feed = site.path().join("feed.xml");
    let files = public(&site)
        .file_as("/feed", feed, "application/atom+xml")
        .dir_as("/plain", site.path().join("public"), "text/plain");
    for (uri, expected) in [
        ("/feed", "application/atom+xml"),
        ("/static/", "text/html; charset=utf-8"),
        ("/static/a.css", "text/css; charset=utf-8"),
        ("/static/sub/c.js", "text/javascript; charset=utf-8"),
        ("/static/b.TXT", "text/plain; charset=utf-8"),
        ("/static/image.gif", "image/gif"),
        ("/static/noext", "application/octet-stream"),
        ("/plain/image.gif", "text/plain"),
        ("/plain/", "text/plain"),
    ] {
        assert_eq!(content_type(&files, uri).await, expected, "{uri}");
    }
}

#[tokio::test]
async fn a_directory_is_served_with_those_in_it() {
    let site = site();
    let files = public(&site);
    for (uri, body) in [
        ("/static/a.css", Some("css")),
        ("/static/sub/c.js", Some("js")),
        ("/static/my%20page.html", Some("spaces")),
        ("/static/%61.css", Some("css")),
        ("/static/", Some("public index")),
        ("/static/sub/", Some("sub index")),
        ("/static", None),
        ("/static/sub", None),
        ("/static/none", None),
        ("/static/none/", None),
        ("/static/a.css/", None),
        ("/static/a.css/x", None),
        ("/staticfoo/a.css", None),
        ("/a.css", None),
        ("/", None),
    ] {
        assert_eq!(get(&files, uri).await.as_deref(), body, "{uri}");
    }
}

#[tokio::test]
async fn the_default_file_can_be_another_one() {
    let site = site();
    let files = public(&site).default_file("image.gif");
    assert_eq!(get(&files, "/static/").await.unwrap(), "gif");
    assert_eq!(get(&files, "/static/sub/").await, None);
    assert_eq!(content_type(&files, "/static/").await, "image/gif");

    let files = public(&site).default_file_as("image.gif", "text/plain");
    assert_eq!(content_type(&files, "/static/").await, "text/plain");
    assert_eq!(content_type(&files, "/static/image.gif").await, "image/gif");
}

#[tokio::test]
async fn an_exact_file_goes_first_then_the_longest_directory_then_the_root() {
    let site = site();
    fs::create_dir(site.path().join("public/sub/static")).unwrap();
    fs::write(site.path().join("public/sub/static/c.js"), "wrong").unwrap();
    let files = StaticFiles::new()
        .dir("/", site.path().join("public/sub"))
        .dir("/static", site.path().join("replaced"))
        .dir("/static/", site.path().join("public"))
        .file("/static/a.css", site.path().join("feed.xml"));
    for (uri, body) in [
        ("/static/a.css", Some("feed")),
        ("/static/b.TXT", Some("txt")),
        // Found in the root, but the longer URL counts.
        ("/static/c.js", None),
        ("/c.js", Some("js")),
        ("/", Some("sub index")),
    ] {
        assert_eq!(get(&files, uri).await.as_deref(), body, "{uri}");
    }
}

#[tokio::test]
async fn a_map_literal_finds_out_what_is_a_directory() {
    let site = site();
    let path = |name: &str| site.path().join(name).to_str().unwrap().to_owned();
    let files = StaticFiles::from_map([
        ("/", path("index.html")),
        ("/static", path("public")),
        ("/later", path("later")),
        ("", "image.gif".to_owned()),
    ]);
    // Twice, because the first round remembers what is a directory.
    for _ in 0..2 {
        for (uri, body) in [
            ("/", Some("root")),
            ("/static/a.css", Some("css")),
            ("/static/", Some("gif")),
            ("/static", None),
            ("/foo", None),
            ("/later/x.txt", None),
        ] {
            assert_eq!(get(&files, uri).await.as_deref(), body, "{uri}");
        }
    }
    // Nothing matches any more, so that the disk is not asked again.
    let (head, ()) = request(Method::GET, "/foo", &[]).into_parts();
    assert!(files.find(&head).is_none());

    fs::create_dir(site.path().join("later")).unwrap();
    fs::write(site.path().join("later/x.txt"), "late").unwrap();
    assert_eq!(get(&files, "/later/x.txt").await.unwrap(), "late");
}

#[tokio::test]
async fn a_map_literal_may_have_types_and_the_root_may_be_a_directory() {
    let site = site();
    let index = StaticTarget::new("index.html").content_type("text/x-index");
    let files = StaticFiles::from_map([("/", site.path().join("public").into()), ("", index)]);
    assert_eq!(get(&files, "/").await.unwrap(), "public index");
    assert_eq!(get(&files, "/sub/c.js").await.unwrap(), "js");
    assert_eq!(content_type(&files, "/sub/").await, "text/x-index");
}

#[tokio::test]
async fn nothing_outside_of_a_directory_can_be_had() {
    let site = site();
    let files = public(&site)
        .dir("/", site.path().join("public"))
        .dir("/deep", site.path().join("public/sub"));
    let secret = site.path().join("secret.txt");
    let absolute = secret.to_str().unwrap();
    for uri in [
        "/static/../secret.txt",
        "/static/sub/../a.css",
        "/static/..",
        "/static/.",
        "/static/./a.css",
        "/static/%2e%2e/secret.txt",
        "/static/%2E%2e/secret.txt",
        "/static/.%2e/secret.txt",
        "/static/..%2fsecret.txt",
        "/static/..%2Fsecret.txt",
        "/static%2fa.css",
        "/static/sub%2fc.js",
        "/static/%252e%252e/secret.txt",
        "/static/..%5csecret.txt",
        "/static/sub%5cc.js",
        "/static/a.css%00",
        "/static/a.css%00.gif",
        "/static/%ff",
        "//static/a.css",
        "/static//a.css",
        "/deep/../../secret.txt",
        &format!("/static/{absolute}"),
        &format!("/static{absolute}"),
        absolute,
        "/static/...",
        "/static/%3f",
        &format!("/static/{}", "a".repeat(5000)),
    ] {
        assert_eq!(get(&files, uri).await, None, "{uri}");
    }
}

#[tokio::test]
async fn only_get_and_head_are_served() {
    let site = site();
    let files = public(&site);
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let asked = ask(&files, request(method.clone(), "/static/a.css", &[])).await;
        assert!(asked.is_none(), "{method}");
    }
    let head = request(Method::HEAD, "/static/a.css", &[]);
    let (status, headers, body) = ask(&files, head).await.unwrap();
    assert_eq!((status, &*body), (StatusCode::OK, ""));
    assert_eq!(headers["content-length"], "3");
    assert!(
        ask(&files, request(Method::HEAD, "/static/sub", &[]))
            .await
            .is_none()
    );
}

#[tokio::test]
async fn ranges_and_validators_work() {
    let site = site();
    let files = public(&site);
    let with = |headers: &[(&'static str, &str)]| request(Method::GET, "/static/a.css", headers);

    let (status, headers, body) = ask(&files, with(&[("range", "bytes=1-")])).await.unwrap();
    assert_eq!((status, &*body), (StatusCode::PARTIAL_CONTENT, "ss"));
    assert_eq!(headers["content-range"], "bytes 1-2/3");
    assert_eq!(headers[CONTENT_TYPE], "text/css; charset=utf-8");
    assert_eq!(headers["x-content-type-options"], "nosniff");

    let etag = headers["etag"].to_str().unwrap();
    let (status, headers, body) = ask(&files, with(&[("if-none-match", etag)])).await.unwrap();
    assert_eq!((status, &*body), (StatusCode::NOT_MODIFIED, ""));
    assert!(!headers.contains_key(CONTENT_TYPE));

    let far = ask(&files, with(&[("range", "bytes=9-")])).await.unwrap();
    assert_eq!(far.0, StatusCode::RANGE_NOT_SATISFIABLE);

    // The range is meant for another version of the file.
    let stale = [("range", "bytes=1-"), ("if-range", "\"old\"")];
    let (status, _, body) = ask(&files, with(&stale)).await.unwrap();
    assert_eq!((status, &*body), (StatusCode::OK, "css"));
}

/// RFC 9110, section 14.2: only GET has ranges, and a unit that the server does not know does not count.
#[tokio::test]
async fn a_range_that_does_not_count_gets_the_whole_file() {
    let site = site();
    let files = public(&site);
    let get = |headers: &[(&'static str, &str)]| request(Method::GET, "/static/a.css", headers);
    for ranges in [
        &["lines=1-"][..],
        &["none"],
        &[""],
        &["bytes=0-0,2-2"],
        &["bytes=0-0, 9-"],
        &["bytes=1-", "bytes=0-"],
        &["bytes=abc"],
        &["bytes=a-"],
        &["bytes=-"],
        &["bytes="],
        &["bytes"],
        &["bytes=2-1"],
        &["bytes=+0-1"],
        &["bytes=0-1-2"],
        &["bytes= 0-1"],
        &["bytes=--1"],
    ] {
        let headers: Vec<_> = ranges.iter().map(|range| ("range", *range)).collect();
        let (status, headers, body) = ask(&files, get(&headers)).await.unwrap();
        assert_eq!((status, &*body), (StatusCode::OK, "css"), "{ranges:?}");
        assert!(!headers.contains_key("content-range"), "{ranges:?}");
    }
    let head = request(Method::HEAD, "/static/a.css", &[("range", "bytes=1-")]);
    let (status, headers, _) = ask(&files, head).await.unwrap();
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["content-length"], "3");
    let files = files.file("/empty", site.path().join("public/empty.css"));
    for uri in ["/static/empty.css", "/empty"] {
        for range in ["bytes=0-", "bytes=0-0", "bytes=-5", "bytes=9-", "bytes=-0"] {
            let (status, headers, body) =
                ask(&files, request(Method::GET, uri, &[("range", range)]))
                    .await
                    .unwrap();
            assert_eq!((status, &*body), (StatusCode::OK, ""), "{uri} {range}");
            assert!(!headers.contains_key("content-range"), "{uri} {range}");
        }
    }
}

/// RFC 9110, section 14.1.2.
#[tokio::test]
async fn every_well_formed_range_gets_its_part_or_416() {
    let site = site();
    let files = public(&site).file("/file", site.path().join("public/a.css"));
    let huge = "9".repeat(30);
    for (range, part) in [
        ("bytes=0-0", Some(("c", "bytes 0-0/3"))),
        ("bytes=01-002", Some(("ss", "bytes 1-2/3"))),
        ("bytes=1-9", Some(("ss", "bytes 1-2/3"))),
        (&format!("bytes=1-{huge}"), Some(("ss", "bytes 1-2/3"))),
        ("bytes=-2", Some(("ss", "bytes 1-2/3"))),
        ("bytes=-3", Some(("css", "bytes 0-2/3"))),
        ("bytes=-4", Some(("css", "bytes 0-2/3"))),
        (&format!("bytes=-{huge}"), Some(("css", "bytes 0-2/3"))),
        ("bytes=-0", None),
        ("bytes=3-", None),
        ("bytes=3-4", None),
        (&format!("bytes={huge}-"), None),
        (&format!("bytes={huge}-{huge}"), None),
    ] {
        for uri in ["/static/a.css", "/file"] {
            let asked = request(Method::GET, uri, &[("range", range)]);
            let (status, headers, body) = ask(&files, asked).await.unwrap();
            let (expected, body_expected, range_expected) = match part {
                Some((body, range)) => (StatusCode::PARTIAL_CONTENT, body, range),
                None => (StatusCode::RANGE_NOT_SATISFIABLE, "", "bytes */3"),
            };
            assert_eq!((status, &*body), (expected, body_expected), "{uri} {range}");
            assert_eq!(headers["content-range"], range_expected, "{uri} {range}");
        }
    }
}

#[test]
fn mistakes_are_refused_when_built() {
    let panics = |build: fn() -> StaticFiles| engineio_core::driver::catch_panic(build).is_err();
    assert!(panics(|| StaticFiles::new().file("index.html", "x")));
    assert!(panics(|| StaticFiles::new().file("", "x")));
    assert!(panics(|| StaticFiles::new().dir("static", "x")));
    assert!(panics(|| StaticFiles::new().file_as("/", "x", "text/\n")));
    assert!(panics(|| StaticFiles::new().default_file("../x")));
    assert!(panics(|| StaticFiles::new().default_file("/etc/passwd")));
    assert!(panics(|| StaticFiles::from_map([("", "")])));
    assert!(!panics(|| StaticFiles::from_map([("", "x"), ("/", "y")])));
}

#[test]
fn a_request_without_a_rule_is_not_copied() {
    let files = StaticFiles::new().dir("/static", "public");
    let find = |uri| {
        let (head, ()) = request(Method::GET, uri, &[]).into_parts();
        files.find(&head)
    };
    assert!(find("/static/a.css").is_some());
    assert!(find("/api/x").is_none());
}

#[test]
fn serving_can_move_between_threads() {
    fn assert_send<T: Send>(_: T) {}
    let files = StaticFiles::new().dir("/static", "public");
    let (head, ()) = request(Method::GET, "/static/x", &[]).into_parts();
    assert_send(files.find(&head).unwrap().serve());
    assert_send(files.serve(Request::new(())));
}

#[cfg(unix)]
#[tokio::test]
async fn a_pipe_in_a_directory_is_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(pipe).status();
    assert!(made.unwrap().success());
    let files = StaticFiles::new().dir("/", directory.path());
    assert_eq!(get(&files, "/pipe").await, None);
}

#[tokio::test]
async fn a_file_whose_time_no_header_can_express_is_the_host_apps() {
    let site = site();
    let path = site.path().join("public/a.css");
    let files = public(&site).file("/one", &path);
    let file = fs::File::options().write(true).open(&path).unwrap();
    let epoch = std::time::SystemTime::UNIX_EPOCH;
    for (time, is_served) in [
        (epoch, true),
        (epoch - std::time::Duration::from_secs(1), false),
    ] {
        file.set_modified(time).unwrap();
        for uri in ["/static/a.css", "/one"] {
            for method in [Method::GET, Method::HEAD] {
                let answer = ask(&files, request(method, uri, &[])).await;
                assert_eq!(answer.is_some(), is_served, "{uri}");
            }
        }
    }
}
