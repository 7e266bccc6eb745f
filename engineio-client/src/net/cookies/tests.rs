//! Cookies, from the answers that set them to the requests that carry them.

use std::time::SystemTime;

use super::*;

const URL: &str = "http://h/engine.io/?EIO=4";

fn uri() -> Uri {
    URL.parse().unwrap()
}

fn set(jar: &CookieJar, set: &[&str]) {
    let mut headers = HeaderMap::new();
    for cookie in set {
        headers.append(SET_COOKIE, HeaderValue::from_str(cookie).unwrap());
    }
    jar.store_all(&uri(), &headers);
}

fn jar(cookies: &[&str]) -> CookieJar {
    let jar = CookieJar::new();
    set(&jar, cookies);
    jar
}

fn sent(jar: &CookieJar, secure: bool) -> Option<HeaderValue> {
    let scheme = if secure { "https" } else { "http" };
    jar.header(&URL.replace("http", scheme))
}

#[test]
fn cookies_come_back_until_they_are_over() {
    let cookies = jar(&[
        "AWSALB=a=b; Path=/; HttpOnly",
        "io=1",
        "x=2; Max-Age=60",
        "io=2; SameSite=Lax",
    ]);
    assert_eq!(sent(&cookies, false).unwrap(), "AWSALB=a=b; x=2; io=2");
    let over = "io=; expires=Thu, 01 Jan 1970 00:00:00 GMT";
    set(&cookies, &["x=; Max-Age=0", over]);
    assert_eq!(sent(&cookies, false).unwrap(), "AWSALB=a=b");
}

#[test]
fn secure_cookies_stay_secret() {
    let cookies = jar(&["b=2"]);
    assert!(cookies.store("https://h/engine.io/", "a=1; Secure"));
    assert_eq!(sent(&cookies, false).unwrap(), "b=2");
    assert_eq!(sent(&cookies, true).unwrap(), "b=2; a=1");
}

#[test]
fn an_unencrypted_answer_neither_changes_nor_deletes_a_secure_cookie() {
    let cookies = CookieJar::new();
    cookies.store("https://h/", "a=1; Secure; Path=/engine.io");
    for line in [
        "a=2",
        "a=2; Path=/engine.io/x",
        "a=; Max-Age=0; Path=/engine.io",
        "a=2; Secure; Path=/engine.io",
    ] {
        assert!(!cookies.store(URL, line), "{line}");
    }
    assert_eq!(sent(&cookies, true).unwrap(), "a=1");
    // Another path makes another cookie, and another host too.
    assert!(cookies.store(URL, "a=3; Path=/"));
    assert!(cookies.store("http://other/", "a=4; Path=/engine.io"));
    assert_eq!(sent(&cookies, false).unwrap(), "a=3");
    assert!(cookies.store("https://h/", "a=5; Secure; Path=/engine.io"));
    assert_eq!(sent(&cookies, true).unwrap(), "a=3; a=5");
    assert!(cookies.store("https://h/", "a=; Max-Age=0; Path=/engine.io"));
    assert_eq!(sent(&cookies, true).unwrap(), "a=3");
    // So is one of the application for an `https` URL.
    let own = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static("mine=1"))]);
    cookies.seed(&"https://h/".parse().unwrap(), &own, &HeaderMap::new());
    assert!(!cookies.store(URL, "mine=2"));
    assert_eq!(sent(&cookies, true).unwrap(), "mine=1; a=3");
}

#[test]
fn a_cookie_of_the_application_goes_to_the_origin_that_it_was_given_for() {
    let cookies = CookieJar::new();
    let own = |pair| HeaderMap::from_iter([(COOKIE, HeaderValue::from_static(pair))]);
    let none = HeaderMap::new();
    cookies.seed(&"http://h:81/".parse().unwrap(), &own("a=81"), &none);
    cookies.seed(&"http://h/".parse().unwrap(), &own("a=80"), &none);
    for (url, expected) in [
        ("http://h:81/", Some("a=81")),
        ("http://h:82/", None),
        ("https://h:81/", None),
        ("http://h/", Some("a=80")),
        ("https://h/", Some("a=80")),
        ("https://h:444/", None),
    ] {
        let sent = cookies.header(url);
        let sent = sent.as_ref().map(|sent| sent.to_str().unwrap());
        assert_eq!(sent, expected, "{url}");
    }
    // Another port cannot take it away; its own cookies are for all ports (RFC 6265 § 8.5).
    cookies.store("http://h:82/", "a=82");
    assert_eq!(cookies.header("http://h:81/").unwrap(), "a=81; a=82");
}

#[test]
fn the_applications_cookies_go_first() {
    let mut own = HeaderMap::new();
    assert_eq!(sent(&jar(&[]), false), None);
    own.append(COOKIE, HeaderValue::from_static("mine=1"));
    own.append(COOKIE, HeaderValue::from_bytes(b"too=\xff").unwrap());
    let cookies = jar(&["a=2"]);
    cookies.seed(&uri(), &own, &HeaderMap::new());
    let all = sent(&cookies, false).unwrap();
    assert_eq!(all.as_bytes(), b"mine=1; too=\xff; a=2");
    let all = joined(&own).unwrap();
    assert_eq!(all.as_bytes(), b"mine=1; too=\xff");
}

#[test]
fn the_server_may_replace_and_delete_a_cookie_of_the_application() {
    let mut own = HeaderMap::new();
    own.append(COOKIE, HeaderValue::from_static("session=OLD; gone=1"));
    own.append(COOKIE, HeaderValue::from_static("kept=1"));
    let cookies = jar(&[]);
    cookies.seed(&uri(), &own, &HeaderMap::new());
    assert_eq!(
        sent(&cookies, false).unwrap(),
        "session=OLD; gone=1; kept=1"
    );
    set(&cookies, &["session=NEW; Path=/", "gone=; Max-Age=0"]);
    assert_eq!(sent(&cookies, false).unwrap(), "kept=1; session=NEW");
    // Renewed by the application.
    let fresh = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static("session=NEWER"))]);
    cookies.seed(&uri(), &fresh, &own);
    assert_eq!(sent(&cookies, false).unwrap(), "session=NEWER");
}

#[test]
fn two_clients_may_each_put_a_cookie_into_a_shared_jar() {
    let own = |pair| HeaderMap::from_iter([(COOKIE, HeaderValue::from_static(pair))]);
    let (cookies, none) = (jar(&[]), HeaderMap::new());
    cookies.seed(&uri(), &own("session=A"), &none);
    cookies.seed(&uri(), &own("theme=dark"), &none);
    assert_eq!(sent(&cookies, false).unwrap(), "theme=dark; session=A");
    cookies.seed(&uri(), &own("session=B"), &own("session=A"));
    assert_eq!(sent(&cookies, false).unwrap(), "session=B; theme=dark");
}

#[test]
fn values_with_commas_and_bytes_beyond_ascii_come_back() {
    let cookies = jar(&["prefs=a,b", "u=\u{e4}"]);
    let sent = sent(&cookies, false).unwrap();
    assert_eq!(sent.as_bytes(), "prefs=a,b; u=\u{e4}".as_bytes());
}

#[test]
fn cookies_of_other_paths_are_neither_sent_nor_mixed_up() {
    let cookies = jar(&[
        "a=1; Path=/engine.io",
        "a=2; Path=/",
        "b=1; path = /engine.io/",
        "c=1; Path=relative",
        "d=1; Path=/engine",
        "e=1; Path=/engine.io/more",
        "f=1; Path=/admin",
    ]);
    assert_eq!(sent(&cookies, false).unwrap(), "a=1; a=2; b=1; c=1");
    let over = ["a=; Path=/; Max-Age=0", "b=; Path=/admin; Max-Age=0"];
    set(&cookies, &over);
    assert_eq!(sent(&cookies, false).unwrap(), "a=1; b=1; c=1");
}

#[test]
fn the_past_deletes_and_nonsense_does_not() {
    let cookies = jar(&[
        "a=1; Expires=Fri, 31 Dec 1999 23:59:59 GMT",
        "b=1; Expires=Thu, 01-Jan-1970 00:00:01 GMT; Max-Age=60",
        "c=1; Expires=Fri, 31 Dec 2999 23:59:59 GMT; Max-Age=0",
        "d=1; Max-Age=soon; Expires=later",
        "e=1; Expires=Fri, 31 Dec 2999 23:59:59 GMT",
        "f=1; Max-Age=-5",
        "i=1; Max-Age=-99999999999999999999",
        "j=1; Max-Age=99999999999999999999",
        "k=1; Max-Age=-",
        "g=1; Expires=Thu, 32 Jan 1970 00:00:00 GMT",
        "h=1; Expires=Thu, 01 Jan 1970 24:00:00 GMT",
    ]);
    assert_eq!(
        sent(&cookies, false).unwrap(),
        "b=1; d=1; e=1; j=1; k=1; g=1; h=1"
    );
}

#[test]
fn cookies_that_are_over_make_room() {
    let many: Vec<String> = (0..MAX_COOKIES)
        .map(|n| format!("c{n}=v; Max-Age=60"))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let cookies = jar(&many);
    for cookie in &mut *cookies.lock() {
        cookie.expires = Some(SystemTime::UNIX_EPOCH);
    }
    set(&cookies, &["instance=2"]);
    assert_eq!(sent(&cookies, false).unwrap(), "instance=2");
}

#[test]
fn a_jar_does_not_overflow() {
    let many: Vec<String> = (0..1000).map(|n| format!("c{n}=v")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(jar(&many).lock().len(), MAX_COOKIES);
    assert_eq!(
        sent(&jar(&["=", "", "novalue", ";;", &"x".repeat(5000)]), true),
        None
    );
}

#[test]
fn all_hosts_together_do_not_overflow_a_jar() {
    let jar = CookieJar::new();
    let kept = (0..1000).filter(|n| jar.store(&format!("http://h{n}/"), "a=1"));
    assert_eq!(kept.count(), MAX_COOKIES_OF_ALL);
}

#[test]
fn cookies_go_to_the_host_that_set_them_only() {
    let jar = CookieJar::new();
    assert!(jar.store("https://A.example/x", "a=1; Domain=.Example; Path=/"));
    assert!(!jar.store("https://a.example/x", "b=1; Domain=b.example"));
    assert!(!jar.store("https://aexample/x", "c=1; Domain=example.com"));
    assert!(!jar.store("a.example", "d=1"));
    assert_eq!(jar.header("wss://a.Example/").unwrap(), "a=1");
    assert_eq!(jar.header("https://b.example/"), None);
    assert_eq!(jar.header("https://example/"), None);
}

#[test]
fn a_saved_jar_takes_no_cookie_of_the_application_to_other_ports() {
    let jar = CookieJar::new();
    let mut own = HeaderMap::new();
    own.insert(COOKIE, HeaderValue::from_static("mine=1; replaced=1"));
    jar.seed(&"http://h:81/".parse().unwrap(), &own, &HeaderMap::new());
    assert!(jar.store("http://h:81/", "replaced=2"));
    assert_eq!(jar.header("http://h:81/").unwrap(), "mine=1; replaced=2");
    let again = CookieJar::new();
    for (url, line) in jar.set_cookies() {
        assert!(again.store(&url, line));
    }
    // The server's cookies are for all ports of its host, as in browsers.
    assert_eq!(jar.header("http://h/").unwrap(), "replaced=2");
    assert_eq!(again.header("http://h/").unwrap(), "replaced=2");
}

#[test]
fn a_jar_can_be_saved_and_read_again() {
    let jar = CookieJar::new();
    jar.store("http://a:5000/x/y", "plain=1");
    jar.store(
        "https://b/",
        "s=2; Path=/x; Secure; Expires=Tue, 31 Dec 2999 23:59:59 GMT",
    );
    jar.store("https://b/", "over=1; Max-Age=0");
    let saved = jar.set_cookies();
    let lines: Vec<_> = saved.iter().map(|(url, line)| (&**url, line)).collect();
    let expires = "s=2; Path=/x; Secure; Expires=Tue, 31 Dec 2999 23:59:59 GMT";
    assert_eq!(
        lines[0],
        ("http://a/", &HeaderValue::from_static("plain=1; Path=/x"))
    );
    assert_eq!(lines[1], ("https://b/", &HeaderValue::from_static(expires)));
    assert_eq!(lines.len(), 2);
    let again = CookieJar::new();
    assert!(saved.iter().all(|(url, line)| again.store(url, line)));
    assert_eq!(again.set_cookies(), saved);
    jar.clear();
    assert!(jar.set_cookies().is_empty());
}
