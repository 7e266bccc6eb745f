//! One cookie: its `Set-Cookie` header, read and written, and the requests that it is for.

use std::time::{Duration, SystemTime};

use http::Uri;

use super::date::{self, date};

const MAX_COOKIE_LEN: usize = 4096;

pub(super) struct Cookie {
    /// In small letters.
    pub(super) host: String,
    pub(super) name: Vec<u8>,
    pub(super) value: Vec<u8>,
    /// The application gave it to the builder. The server may replace it, for any path.
    pub(super) is_own: bool,
    /// Distinguishes cookies of the same name.
    pub(super) path: String,
    /// It is sent over encrypted connections only.
    pub(super) secure: bool,
    pub(super) expires: Option<SystemTime>,
}

impl Cookie {
    pub(super) fn is_over(&self) -> bool {
        self.expires.is_some_and(|at| at <= SystemTime::now())
    }

    /// Returns whether it is sent with requests for this path (RFC 6265 § 5.1.4).
    pub(super) fn is_for(&self, path: &str) -> bool {
        let own = &*self.path;
        let rest = path.strip_prefix(own);
        rest.is_some_and(|rest| own.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
    }

    /// Returns the value of a `set-cookie` header that creates this cookie.
    pub(super) fn line(&self) -> Vec<u8> {
        let mut line = [
            &*self.name,
            b"=",
            &self.value,
            b"; Path=",
            self.path.as_bytes(),
        ]
        .concat();
        if self.secure {
            line.extend(b"; Secure");
        }
        if let Some(expires) = self.expires {
            line.extend(format!("; Expires={}", date::format(expires)).as_bytes());
        }
        line
    }
}

/// Reads a `set-cookie` header that came from this URL. Names and values may be any bytes that a header can have, as in
/// browsers.
pub(super) fn parse(uri: &Uri, header: &[u8]) -> Option<Cookie> {
    if header.len() > MAX_COOKIE_LEN {
        return None;
    }
    let mut parts = header.split(|&byte| byte == b';');
    let (name, value) = split_once(parts.next()?, b'=')?;
    if name.is_empty() || [name, value].concat().iter().any(u8::is_ascii_control) {
        return None;
    }
    let mut cookie = Cookie {
        host: host(uri),
        name: name.to_owned(),
        value: value.to_owned(),
        is_own: false,
        path: default_path(uri.path()).to_owned(),
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
            let path = Some(value).filter(|path| path.starts_with('/'));
            cookie.path = path.unwrap_or_else(|| default_path(uri.path())).to_owned();
        } else if name.eq_ignore_ascii_case("domain") {
            let domain = value.trim_start_matches('.').to_ascii_lowercase();
            let rest = cookie.host.strip_suffix(&*domain);
            // One for another host is none (RFC 6265 § 5.3).
            rest.filter(|rest| rest.is_empty() || domain.is_empty() || rest.ends_with('.'))?;
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

/// Splits at the first such byte, and trims both sides.
pub(super) fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = text.iter().position(|&byte| byte == at)?;
    let (before, after) = (&text[..position], &text[position + 1..]);
    Some((before.trim_ascii(), after.trim_ascii()))
}

/// Returns the path of a cookie that names none (RFC 6265 § 5.1.4).
fn default_path(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(end) => &path[..end],
    }
}

/// Returns the host of a URL in small letters.
pub(super) fn host(uri: &Uri) -> String {
    uri.host().unwrap_or_default().to_ascii_lowercase()
}

/// Returns whether `Secure` cookies go to a URL.
pub(super) fn is_secure(uri: &Uri) -> bool {
    matches!(uri.scheme_str(), Some("https" | "wss"))
}
