//! The cookies of one server: what keeps a client at the same instance behind a load balancer.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{HeaderValue, SET_COOKIE};

/// A server that sets more has lost its way, and so have the cookies that come after these.
const MAX_COOKIES: usize = 50;
const MAX_COOKIE_LEN: usize = 4096;

/// A client talks to one host under one path, so names are all that tells cookies apart.
#[derive(Debug, Default)]
pub(crate) struct Cookies(Mutex<Vec<Cookie>>);

#[derive(Debug)]
struct Cookie {
    name: String,
    value: String,
    /// Only for encrypted connections.
    secure: bool,
    expires: Option<SystemTime>,
}

impl Cookies {
    /// Takes in what a response sets.
    pub(crate) fn store(&self, headers: &HeaderMap) {
        for header in headers.get_all(SET_COOKIE) {
            if let Some(cookie) = header.to_str().ok().and_then(parse) {
                let mut cookies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                cookies.retain(|known| known.name != cookie.name);
                if !cookie.is_over() && cookies.len() < MAX_COOKIES {
                    cookies.push(cookie);
                }
            }
        }
    }

    /// The value of the `cookie` header, after what the application sends itself.
    pub(crate) fn header(&self, own: Option<&HeaderValue>, secure: bool) -> Option<HeaderValue> {
        let cookies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pairs: Vec<String> = Vec::new();
        pairs.extend(own.and_then(|own| own.to_str().ok()).map(str::to_owned));
        let fitting = cookies
            .iter()
            .filter(|cookie| !cookie.is_over() && (secure || !cookie.secure));
        pairs.extend(fitting.map(|cookie| format!("{}={}", cookie.name, cookie.value)));
        if pairs.is_empty() {
            return None;
        }
        HeaderValue::try_from(pairs.join("; ")).ok()
    }
}

impl Cookie {
    fn is_over(&self) -> bool {
        self.expires.is_some_and(|at| at <= SystemTime::now())
    }
}

fn parse(header: &str) -> Option<Cookie> {
    if header.len() > MAX_COOKIE_LEN {
        return None;
    }
    let mut parts = header.split(';').map(str::trim);
    let (name, value) = parts.next()?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    if name.is_empty() || (name.to_owned() + value).contains(|c: char| c.is_control() || c == ',') {
        return None;
    }
    let mut cookie = Cookie {
        name: name.to_owned(),
        value: value.to_owned(),
        secure: false,
        expires: None,
    };
    for attribute in parts {
        let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        if name.eq_ignore_ascii_case("secure") {
            cookie.secure = true;
        } else if name.eq_ignore_ascii_case("max-age") {
            // The only expiry that is looked at: a date in the past is an obsolete way to say zero, and a session of
            // ours rarely outlives a date in the future.
            let secs: i64 = value.parse().ok()?;
            let age = Duration::from_secs(u64::try_from(secs).unwrap_or(0));
            cookie.expires = SystemTime::now().checked_add(age);
        } else if name.eq_ignore_ascii_case("expires") && value.contains(" 1970 ") {
            cookie.expires.get_or_insert(SystemTime::UNIX_EPOCH);
        }
    }
    Some(cookie)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jar(set: &[&str]) -> Cookies {
        let cookies = Cookies::default();
        let mut headers = HeaderMap::new();
        for cookie in set {
            headers.append(SET_COOKIE, HeaderValue::from_str(cookie).unwrap());
        }
        cookies.store(&headers);
        cookies
    }

    #[test]
    fn cookies_come_back_until_they_are_over() {
        let cookies = jar(&[
            "AWSALB=a=b; Path=/; HttpOnly",
            "io=1",
            "x=2; Max-Age=60",
            "io=2; SameSite=Lax",
        ]);
        assert_eq!(
            cookies.header(None, false).unwrap(),
            "AWSALB=a=b; x=2; io=2"
        );
        let mut headers = HeaderMap::new();
        headers.append(SET_COOKIE, HeaderValue::from_static("x=; Max-Age=0"));
        headers.append(
            SET_COOKIE,
            HeaderValue::from_static("io=; expires=Thu, 01 Jan 1970 00:00:00 GMT"),
        );
        cookies.store(&headers);
        assert_eq!(cookies.header(None, false).unwrap(), "AWSALB=a=b");
    }

    #[test]
    fn secure_cookies_stay_secret() {
        let cookies = jar(&["a=1; Secure", "b=2"]);
        assert_eq!(cookies.header(None, false).unwrap(), "b=2");
        assert_eq!(cookies.header(None, true).unwrap(), "a=1; b=2");
    }

    #[test]
    fn the_applications_cookies_go_first() {
        let own = HeaderValue::from_static("mine=1");
        assert_eq!(
            jar(&["a=2"]).header(Some(&own), false).unwrap(),
            "mine=1; a=2"
        );
        assert_eq!(jar(&[]).header(Some(&own), false).unwrap(), "mine=1");
        assert_eq!(jar(&[]).header(None, false), None);
    }

    #[test]
    fn a_jar_does_not_overflow() {
        let many: Vec<String> = (0..1000).map(|n| format!("c{n}=v")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(jar(&many).0.lock().unwrap().len(), MAX_COOKIES);
        assert_eq!(
            jar(&["=", "", "novalue", ";;", &"x".repeat(5000)]).header(None, true),
            None
        );
    }
}
