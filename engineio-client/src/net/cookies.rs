//! The cookies of one server: what keeps a client at the same instance behind a load balancer.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{COOKIE, HeaderValue, SET_COOKIE};

use super::date::date;

/// A server that sets more has lost its way, and so have the cookies that come after these.
const MAX_COOKIES: usize = 50;
const MAX_COOKIE_LEN: usize = 4096;

/// A client talks to one host, and asks for one path there: what is not for that path is not kept.
#[derive(Debug)]
pub(crate) struct Cookies {
    path: String,
    jar: Mutex<Vec<Cookie>>,
}

#[derive(Debug)]
struct Cookie {
    name: Vec<u8>,
    value: Vec<u8>,
    /// The application gave it. The server may replace it, whatever path it names.
    is_own: bool,
    /// Tells cookies of one name apart.
    path: Option<String>,
    /// It is sent over encrypted connections only.
    secure: bool,
    expires: Option<SystemTime>,
}

impl Cookies {
    pub(crate) fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            jar: Mutex::default(),
        }
    }

    /// Takes the cookies of the application from its `cookie` headers, in place of those that it gave before.
    pub(crate) fn seed(&self, headers: &HeaderMap) {
        let mut jar = self.jar.lock().unwrap_or_else(PoisonError::into_inner);
        let mut own = Vec::new();
        for header in headers.get_all(COOKIE) {
            for pair in header.as_bytes().split(|&byte| byte == b';') {
                let (name, value) = split_once(pair, b'=').unwrap_or((pair, b""));
                own.push(Cookie {
                    name: name.to_owned(),
                    value: value.to_owned(),
                    is_own: true,
                    path: None,
                    secure: false,
                    expires: None,
                });
            }
        }
        jar.retain(|known| !known.is_own && own.iter().all(|own| own.name != known.name));
        jar.splice(0..0, own);
    }

    /// Takes in what a response sets.
    pub(crate) fn store(&self, headers: &HeaderMap) {
        for header in headers.get_all(SET_COOKIE) {
            let cookie = parse(header.as_bytes());
            if let Some(cookie) = cookie.filter(|cookie| cookie.is_for(&self.path)) {
                let mut jar = self.jar.lock().unwrap_or_else(PoisonError::into_inner);
                // Those that are over would take the place of those to come.
                jar.retain(|known| {
                    let is_same = known.is_own || known.path == cookie.path;
                    !known.is_over() && (known.name != cookie.name || !is_same)
                });
                if !cookie.is_over() && jar.len() < MAX_COOKIES {
                    jar.push(cookie);
                }
            }
        }
    }

    fn append(&self, line: &mut Vec<u8>, secure: bool) {
        let jar = self.jar.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = jar.iter();
        for cookie in fitting.filter(|cookie| !cookie.is_over() && (secure || !cookie.secure)) {
            join(line, &[&*cookie.name, b"=", &cookie.value].concat());
        }
    }
}

/// Returns the value of the `cookie` header: the cookies of the jar, or without one those of the application.
pub(crate) fn header(own: &HeaderMap, jar: Option<&Cookies>, secure: bool) -> Option<HeaderValue> {
    let mut line = Vec::new();
    match jar {
        Some(jar) => jar.append(&mut line, secure),
        None => {
            for own in own.get_all(COOKIE) {
                join(&mut line, own.as_bytes());
            }
        }
    }
    let line = Some(line).filter(|line| !line.is_empty())?;
    HeaderValue::from_bytes(&line).ok()
}

fn join(line: &mut Vec<u8>, pairs: &[u8]) {
    if !line.is_empty() {
        line.extend(b"; ");
    }
    line.extend(pairs);
}

impl Cookie {
    fn is_over(&self) -> bool {
        self.expires.is_some_and(|at| at <= SystemTime::now())
    }

    /// Returns whether it goes along with requests for this path (RFC 6265 § 5.1.4).
    fn is_for(&self, path: &str) -> bool {
        let Some(own) = &self.path else {
            return true;
        };
        let rest = path.strip_prefix(&**own);
        rest.is_some_and(|rest| own.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
    }
}

/// Splits at the first such byte, and trims both sides.
fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = text.iter().position(|&byte| byte == at)?;
    let (before, after) = (&text[..position], &text[position + 1..]);
    Some((before.trim_ascii(), after.trim_ascii()))
}

/// Reads a `set-cookie` header. Names and values may be any bytes that a header can have, as in browsers.
fn parse(header: &[u8]) -> Option<Cookie> {
    if header.len() > MAX_COOKIE_LEN {
        return None;
    }
    let mut parts = header.split(|&byte| byte == b';');
    let (name, value) = split_once(parts.next()?, b'=')?;
    if name.is_empty() || [name, value].concat().iter().any(u8::is_ascii_control) {
        return None;
    }
    let mut cookie = Cookie {
        name: name.to_owned(),
        value: value.to_owned(),
        is_own: false,
        path: None,
        secure: false,
        expires: None,
    };
    let mut max_age = None;
    for attribute in parts {
        let attribute = String::from_utf8_lossy(attribute);
        let attribute = attribute.trim();
        let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        let (name, value) = (name.trim(), value.trim());
        // An attribute that cannot be read is as good as none (RFC 6265 § 5.2).
        if name.eq_ignore_ascii_case("secure") {
            cookie.secure = true;
        } else if name.eq_ignore_ascii_case("path") {
            cookie.path = Some(value.to_owned()).filter(|path| path.starts_with('/'));
        } else if name.eq_ignore_ascii_case("max-age") {
            max_age = value.parse::<i64>().ok().or(max_age);
        } else if name.eq_ignore_ascii_case("expires") {
            cookie.expires = date(value).or(cookie.expires);
        }
    }
    if let Some(secs) = max_age {
        let age = Duration::from_secs(u64::try_from(secs).unwrap_or(0));
        cookie.expires = SystemTime::now().checked_add(age);
    }
    Some(cookie)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jar(set: &[&str]) -> Cookies {
        let cookies = Cookies::new("/engine.io/");
        let mut headers = HeaderMap::new();
        for cookie in set {
            headers.append(SET_COOKIE, HeaderValue::from_str(cookie).unwrap());
        }
        cookies.store(&headers);
        cookies
    }

    fn sent(cookies: &Cookies, secure: bool) -> Option<HeaderValue> {
        header(&HeaderMap::new(), Some(cookies), secure)
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
        let mut headers = HeaderMap::new();
        headers.append(SET_COOKIE, HeaderValue::from_static("x=; Max-Age=0"));
        headers.append(
            SET_COOKIE,
            HeaderValue::from_static("io=; expires=Thu, 01 Jan 1970 00:00:00 GMT"),
        );
        cookies.store(&headers);
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
        assert_eq!(header(&own, Some(&jar(&[])), false), None);
        own.append(COOKIE, HeaderValue::from_static("mine=1"));
        own.append(COOKIE, HeaderValue::from_bytes(b"too=\xff").unwrap());
        let cookies = jar(&["a=2"]);
        cookies.seed(&own);
        let all = header(&own, Some(&cookies), false).unwrap();
        assert_eq!(all.as_bytes(), b"mine=1; too=\xff; a=2");
        let all = header(&own, None, false).unwrap();
        assert_eq!(all.as_bytes(), b"mine=1; too=\xff");
    }

    #[test]
    fn the_server_may_replace_and_delete_a_cookie_of_the_application() {
        let mut own = HeaderMap::new();
        own.append(COOKIE, HeaderValue::from_static("session=OLD; gone=1"));
        own.append(COOKIE, HeaderValue::from_static("kept=1"));
        let cookies = jar(&[]);
        cookies.seed(&own);
        assert_eq!(
            sent(&cookies, false).unwrap(),
            "session=OLD; gone=1; kept=1"
        );
        let mut headers = HeaderMap::new();
        for set in ["session=NEW; Path=/", "gone=; Max-Age=0"] {
            headers.append(SET_COOKIE, HeaderValue::from_static(set));
        }
        cookies.store(&headers);
        assert_eq!(sent(&cookies, false).unwrap(), "kept=1; session=NEW");
        // Renewed by the application.
        own.clear();
        own.append(COOKIE, HeaderValue::from_static("session=NEWER"));
        cookies.seed(&own);
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
        let mut headers = HeaderMap::new();
        for over in ["a=; Path=/; Max-Age=0", "b=; Path=/admin; Max-Age=0"] {
            headers.append(SET_COOKIE, HeaderValue::from_static(over));
        }
        cookies.store(&headers);
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
        for cookie in &mut *cookies.jar.lock().unwrap() {
            cookie.expires = Some(SystemTime::UNIX_EPOCH);
        }
        let mut headers = HeaderMap::new();
        headers.append(SET_COOKIE, HeaderValue::from_static("instance=2"));
        cookies.store(&headers);
        assert_eq!(sent(&cookies, false).unwrap(), "instance=2");
    }

    #[test]
    fn a_jar_does_not_overflow() {
        let many: Vec<String> = (0..1000).map(|n| format!("c{n}=v")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(jar(&many).jar.lock().unwrap().len(), MAX_COOKIES);
        assert_eq!(
            sent(&jar(&["=", "", "novalue", ";;", &"x".repeat(5000)]), true),
            None
        );
    }
}
