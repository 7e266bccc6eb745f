//! Cookies, by which a load balancer keeps a client on the same instance.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{COOKIE, HeaderValue, SET_COOKIE};
use http::{HeaderMap, Uri};

use super::cookie::{Cookie, host, is_secure, parse, split_once};

/// The maximum number of cookies of one host. No sensible server sets more; further ones are ignored.
const MAX_COOKIES: usize = 50;

/// The maximum number of cookies of all hosts, those of ten servers, because redirects may lead to any number of them.
const MAX_COOKIES_OF_ALL: usize = 500;

/// The cookies of one or more clients, which the application can read and fill. Cheap to clone: clones share their content.
///
/// Cookies are sent only to the very host that set them, whatever `Domain` says, only for the paths that they cover
/// (RFC 6265 § 5.1.4), and only over `https` if they are `Secure`. A jar holds at most 50 cookies of one host and 500
/// in all, of up to 4,096 bytes each; more are ignored until others have expired.
///
/// # Examples
///
/// Reuses a cookie of an earlier request, and shares all cookies between two clients:
///
/// ```no_run
/// # async fn example() -> Result<(), engineio_client::Error> {
/// use engineio_client::{Client, CookieJar};
///
/// let jar = CookieJar::new();
/// jar.store("https://example.com/login", "session=abc; Path=/; Secure");
/// let first = Client::builder("https://example.com").cookie_jar(jar.clone());
/// let second = Client::builder("https://example.com").cookie_jar(jar);
/// # first.connect().await?.close().await;
/// # second.connect().await?.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct CookieJar(Arc<Mutex<Vec<Cookie>>>);

/// Without the values.
impl fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut jar = f.debug_struct("CookieJar");
        jar.field("cookies", &self.lock().len()).finish()
    }
}

impl CookieJar {
    /// Creates an empty jar.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores a cookie, given as the value of a `Set-Cookie` header, as if the server at this URL had sent it. Returns
    /// whether the jar has accepted it; an expired cookie is accepted and deletes the one of the same name and path.
    pub fn store(&self, url: &str, set_cookie: impl AsRef<[u8]>) -> bool {
        let uri = url.parse::<Uri>().ok().filter(|uri| uri.scheme().is_some());
        uri.is_some_and(|uri| self.store_one(&uri, set_cookie.as_ref()))
    }

    /// Returns the value of the `Cookie` header for a request to this URL, or `None` if no cookie applies to it.
    #[must_use]
    pub fn header(&self, url: &str) -> Option<HeaderValue> {
        self.header_for(&url.parse().ok()?)
    }

    /// Returns all cookies that have not expired, including those without an expiry, so that the jar can be saved. Each
    /// is a URL and the value of a `Set-Cookie` header, which [`store`](Self::store) accepts.
    #[must_use]
    pub fn set_cookies(&self) -> Vec<(String, HeaderValue)> {
        let jar = self.lock();
        let kept = jar.iter().filter(|cookie| !cookie.is_over());
        let lines = kept.filter_map(|cookie| {
            let scheme = if cookie.secure { "https" } else { "http" };
            let url = format!("{scheme}://{}/", cookie.host);
            Some((url, HeaderValue::from_bytes(&cookie.line()).ok()?))
        });
        lines.collect()
    }

    /// Removes all cookies.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Cookie>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the cookies of the application for the host of `uri` from its `cookie` headers, in place of those that it gave
    /// before. Those for an `https` URL are sent over encrypted connections only.
    pub(super) fn seed(&self, uri: &Uri, headers: &HeaderMap) {
        let host = host(uri);
        let mut own = Vec::new();
        for header in headers.get_all(COOKIE) {
            for pair in header.as_bytes().split(|&byte| byte == b';') {
                let (name, value) = split_once(pair, b'=').unwrap_or((pair, b""));
                own.push(Cookie {
                    host: host.clone(),
                    name: name.to_owned(),
                    value: value.to_owned(),
                    is_own: true,
                    path: "/".to_owned(),
                    secure: is_secure(uri),
                    expires: None,
                });
            }
        }
        let mut jar = self.lock();
        jar.retain(|known| {
            let is_new = own.iter().any(|own| own.name == known.name);
            known.host != host || (!known.is_own && !is_new)
        });
        jar.splice(0..0, own);
    }

    /// Stores the cookies of a response.
    pub(super) fn store_all(&self, uri: &Uri, answer: &HeaderMap) {
        for header in answer.get_all(SET_COOKIE) {
            self.store_one(uri, header.as_bytes());
        }
    }

    fn store_one(&self, uri: &Uri, set_cookie: &[u8]) -> bool {
        let Some(cookie) = parse(uri, set_cookie) else {
            return false;
        };
        let mut jar = self.lock();
        // Those that are over would take the place of those to come.
        jar.retain(|known| {
            let is_same = known.is_own || known.path == cookie.path;
            let is_replaced = is_same && known.host == cookie.host && known.name == cookie.name;
            !known.is_over() && !is_replaced
        });
        if cookie.is_over() {
            return true;
        }
        let of_host = jar.iter().filter(|known| known.host == cookie.host);
        let has_room = of_host.count() < MAX_COOKIES && jar.len() < MAX_COOKIES_OF_ALL;
        if has_room {
            jar.push(cookie);
        }
        has_room
    }

    pub(super) fn header_for(&self, uri: &Uri) -> Option<HeaderValue> {
        let (host, secure) = (uri.host().unwrap_or_default(), is_secure(uri));
        let mut line = Vec::new();
        for cookie in &*self.lock() {
            if cookie.host.eq_ignore_ascii_case(host)
                && cookie.is_for(uri.path())
                && (secure || !cookie.secure)
                && !cookie.is_over()
            {
                join(&mut line, &[&*cookie.name, b"=", &cookie.value].concat());
            }
        }
        value(&line)
    }
}

/// Returns the value of the `cookie` header for the cookies of the application alone.
pub(super) fn joined(own: &HeaderMap) -> Option<HeaderValue> {
    let mut line = Vec::new();
    for own in own.get_all(COOKIE) {
        join(&mut line, own.as_bytes());
    }
    value(&line)
}

fn value(line: &[u8]) -> Option<HeaderValue> {
    let line = Some(line).filter(|line| !line.is_empty())?;
    let mut value = HeaderValue::from_bytes(line).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn join(line: &mut Vec<u8>, pairs: &[u8]) {
    if !line.is_empty() {
        line.extend(b"; ");
    }
    line.extend(pairs);
}

#[cfg(test)]
mod tests {
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
        let cookies = jar(&["a=1; Secure", "b=2"]);
        assert_eq!(sent(&cookies, false).unwrap(), "b=2");
        assert_eq!(sent(&cookies, true).unwrap(), "a=1; b=2");
    }

    #[test]
    fn the_applications_cookies_go_first() {
        let mut own = HeaderMap::new();
        assert_eq!(sent(&jar(&[]), false), None);
        own.append(COOKIE, HeaderValue::from_static("mine=1"));
        own.append(COOKIE, HeaderValue::from_bytes(b"too=\xff").unwrap());
        let cookies = jar(&["a=2"]);
        cookies.seed(&uri(), &own);
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
        cookies.seed(&uri(), &own);
        assert_eq!(
            sent(&cookies, false).unwrap(),
            "session=OLD; gone=1; kept=1"
        );
        set(&cookies, &["session=NEW; Path=/", "gone=; Max-Age=0"]);
        assert_eq!(sent(&cookies, false).unwrap(), "kept=1; session=NEW");
        // Renewed by the application.
        own.clear();
        own.append(COOKIE, HeaderValue::from_static("session=NEWER"));
        cookies.seed(&uri(), &own);
        assert_eq!(sent(&cookies, false).unwrap(), "session=NEWER");
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
        ]);
        assert_eq!(sent(&cookies, false).unwrap(), "b=1; d=1; e=1");
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
}
