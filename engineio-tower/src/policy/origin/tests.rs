use http::Request;

use super::*;

pub(super) fn head(uri: &str, headers: &[(&'static str, &str)]) -> Parts {
    let mut request = Request::builder().uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn allows_head(origins: &Origins, head: &Parts) -> bool {
    allows_verdict(origins.check(head, false))
}

pub(super) fn allows_script(origins: &Origins, head: &Parts) -> bool {
    allows_verdict(origins.check(head, true))
}

fn allows_verdict(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Allowed => true,
        Verdict::Refused => false,
        Verdict::Ask(_) => panic!("only an asynchronous predicate asks"),
    }
}

fn allows(origins: &Origins, headers: &[(&'static str, &str)]) -> bool {
    allows_head(origins, &head("/engine.io/?EIO=4", headers))
}

#[test]
fn a_request_without_an_origin_always_passes() {
    for origins in [
        Origins::same(),
        Origins::any(),
        Origins::off(),
        Origins::list::<[&str; 0]>([]),
        Origins::predicate(|_, _| false),
    ] {
        assert!(allows(&origins, &[("host", "a.com")]), "{origins:?}");
    }
    let origins = Origins::predicate_async(|_, _| async { false });
    assert!(allows(&origins, &[]));
}

#[test]
fn same_is_the_default() {
    assert!(allows(
        &Origins::default(),
        &[("host", "a.com:5000"), ("origin", "http://a.com:5000")]
    ));
    for origin in [
        "http://evil.com",
        "http://a.com",
        "http://a.com:5001",
        "http://a.com:5000.evil.com",
        "null",
        "",
        "http://a.com:5000/",
        "ftp://a.com:5000",
        "chrome-extension://a.com:5000",
    ] {
        let headers = [("host", "a.com:5000"), ("origin", origin)];
        assert!(!allows(&Origins::default(), &headers), "{origin:?}");
    }
}

#[test]
fn same_knows_nothing_of_the_scheme_behind_a_plain_listener() {
    for origin in ["http://a.com", "https://a.com", "https://A.com:443"] {
        let headers = [("host", "a.com"), ("origin", origin)];
        assert!(allows(&Origins::same(), &headers), "{origin}");
    }
    // With the port in the Host header the scheme is clear enough.
    let headers = [("host", "a.com:443"), ("origin", "http://a.com")];
    assert!(!allows(&Origins::same(), &headers));
}

#[test]
fn same_compares_the_scheme_that_a_host_tells() {
    let page = |scheme, origin| {
        let mut head = head("/engine.io/", &[("host", "a.com"), ("origin", origin)]);
        head.extensions.insert(scheme);
        allows_head(&Origins::same(), &head)
    };
    assert!(page(Scheme::Https, "https://a.com"));
    assert!(!page(Scheme::Https, "http://a.com"));
    assert!(page(Scheme::Http, "http://a.com"));
    assert!(!page(Scheme::Http, "https://a.com"));
}

#[test]
fn same_believes_the_uri_only_in_https() {
    let page = |uri, origin| allows_head(&Origins::same(), &head(uri, &[("origin", origin)]));
    assert!(page("https://a.com/engine.io/", "https://a.com"));
    assert!(!page("https://a.com/engine.io/", "http://a.com"));
    // A proxy that terminates TLS and speaks HTTP/2 without it to this server.
    assert!(page("http://a.com/engine.io/", "https://a.com"));
    assert!(page("http://a.com/engine.io/", "http://a.com"));
    assert!(!page("http://a.com/engine.io/", "http://b.com"));
}

#[test]
fn same_needs_one_readable_host() {
    let origin = ("origin", "http://a.com");
    assert!(!allows(&Origins::same(), &[origin]));
    assert!(!allows(&Origins::same(), &[origin, ("host", "")]));
    let twice = [origin, ("host", "a.com"), ("host", "b.com")];
    assert!(!allows(&Origins::same(), &twice));
    // The target of the request counts more than the header.
    let head = head("http://a.com/engine.io/", &[origin, ("host", "b.com")]);
    assert!(allows_head(&Origins::same(), &head));
}

#[test]
fn same_reads_ipv6() {
    let headers = [("host", "[::1]:5000"), ("origin", "http://[0:0::1]:5000")];
    assert!(allows(&Origins::same(), &headers));
    let headers = [("host", "[::2]:5000"), ("origin", "http://[::1]:5000")];
    assert!(!allows(&Origins::same(), &headers));
}

#[test]
fn forwarded_headers_count_only_when_trusted() {
    let headers = [
        ("host", "inner:8080"),
        ("x-forwarded-proto", "https, http"),
        ("x-forwarded-host", "pub.com, x"),
        ("origin", "https://pub.com"),
    ];
    let trusting = Origins::same().trust_forwarded(true);
    assert!(allows(&trusting, &headers));
    assert!(!allows(&Origins::same(), &headers));

    for (proto, origin, allowed) in [
        ("https", "https://inner", true),
        ("https", "http://inner", false),
        ("wss", "https://inner", true),
        ("http", "https://inner", false),
        // Neither of these tells anything.
        ("", "https://inner", true),
        ("quic", "http://inner", true),
    ] {
        let headers = [
            ("host", "inner"),
            ("x-forwarded-proto", proto),
            ("origin", origin),
        ];
        assert_eq!(allows(&trusting, &headers), allowed, "{proto} {origin}");
    }
}

#[test]
fn a_list_allows_its_entries_and_nothing_else() {
    let origins = Origins::list(["https://App.example.com/", "capacitor://localhost"]);
    for (origin, allowed) in [
        ("https://app.example.com", true),
        ("https://app.example.com:443", true),
        ("capacitor://localhost", true),
        ("http://app.example.com", false),
        ("https://app.example.com.evil.com", false),
        ("null", false),
        // The server's own origin is not added.
        ("https://own.com", false),
    ] {
        let headers = [("host", "own.com"), ("origin", origin)];
        assert_eq!(allows(&origins, &headers), allowed, "{origin}");
    }
}

#[test]
fn a_list_may_hold_the_origins_of_pages_without_an_address() {
    for listed in ["file://", "null"] {
        let origins = Origins::list(["https://a.com", listed]);
        for origin in ["file://", "null", "https://a.com", "file:///", "file:", ""] {
            let allowed = origin == listed || origin == "https://a.com";
            assert_eq!(allows(&origins, &[("origin", origin)]), allowed, "{origin}");
        }
    }
}

#[test]
fn the_scheme_of_a_websocket_counts_as_that_of_its_page() {
    let same = |scheme, origin| {
        let mut head = head("/engine.io/", &[("host", "a.com"), ("origin", origin)]);
        head.extensions.insert(scheme);
        allows_head(&Origins::same(), &head)
    };
    assert!(same(Scheme::Http, "ws://a.com"));
    assert!(same(Scheme::Https, "wss://a.com:443"));
    assert!(!same(Scheme::Https, "ws://a.com"));
    assert!(!same(Scheme::Http, "wss://a.com"));
    for origin in ["ws://a.com:5000", "wss://a.com:5000"] {
        let headers = [("host", "a.com:5000"), ("origin", origin)];
        assert!(allows(&Origins::same(), &headers), "{origin}");
        let headers = [("host", "b.com:5000"), ("origin", origin)];
        assert!(!allows(&Origins::same(), &headers), "{origin}");
    }
}

#[test]
fn a_bad_entry_of_a_list_is_named() {
    for entry in [
        "*",
        "NULL",
        "file:",
        "file:///index.html",
        "app.example.com",
        "https://*.a.com",
        "https://a.com/path",
        "",
    ] {
        let error = Origins::try_list(["https://a.com", entry]).unwrap_err();
        assert!(error.to_string().starts_with(&format!("{entry:?} is not")));
    }
}

#[test]
#[should_panic(expected = "\"*\" is not an origin")]
fn a_bad_entry_of_a_fixed_list_panics() {
    let _ = Origins::list(["*"]);
}

#[test]
fn any_and_off_allow_null() {
    for origin in ["null", "http://evil.com"] {
        assert!(allows(&Origins::any(), &[("origin", origin)]));
        assert!(allows(&Origins::off(), &[("origin", origin)]));
    }
}

#[test]
fn an_origin_that_cannot_be_read_is_refused_without_asking() {
    let long = format!("https://{}.com", "a".repeat(MAX_ORIGIN_LEN));
    let origins = [Origins::any(), Origins::predicate(|_, _| true)];
    for origins in origins {
        assert!(!allows(&origins, &[("origin", "https://ä.com")]));
        assert!(!allows(&origins, &[("origin", &long)]));
        let twice = [("origin", "https://a.com"), ("origin", "https://b.com")];
        assert!(!allows(&origins, &twice));
    }
}

#[test]
fn a_predicate_sees_origin_and_head() {
    let origins = Origins::predicate(|origin, head| {
        origin == "null" && head.uri.query() == Some("EIO=4") && head.headers.contains_key("x-key")
    });
    assert!(allows(&origins, &[("origin", "null"), ("x-key", "1")]));
    assert!(!allows(&origins, &[("origin", "null")]));
}

#[tokio::test]
async fn an_asynchronous_predicate_is_asked() {
    let origins = Origins::predicate_async(|origin, _| {
        let origin = origin.to_owned();
        async move { origin == "https://a.com" }
    });
    for (origin, allowed) in [("https://a.com", true), ("https://b.com", false)] {
        match origins.check(&head("/engine.io/", &[("origin", origin)]), false) {
            Verdict::Ask(answer) => assert_eq!(answer.await, allowed),
            verdict => panic!("{verdict:?} without asking"),
        }
    }
}
