//! One cookie: its `Set-Cookie` header, read and written, and the requests that it is for.

use std::time::{Duration, SystemTime};

use http::Uri;

use super::date::{self, date};
use crate::origin::Origin;

const MAX_COOKIE_LEN: usize = 4096;

pub(super) struct Cookie {
    /// In small letters.
    pub(super) host: String,
    pub(super) name: Vec<u8>,
    pub(super) value: Vec<u8>,
    /// The origin for which the application gave it to the builder. That server may replace it, for any path.
    pub(super) owner: Option<Origin>,
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
        host: Origin::of(uri).host,
        name: name.to_owned(),
        value: value.to_owned(),
        owner: None,
        path: default_path(uri.path()).to_owned(),
        secure: false,
        expires: None,
    };
    let (mut max_age, mut has_domain, mut is_for_root) = (None, false, false);
    for attribute in parts {
        let attribute = String::from_utf8_lossy(attribute);
        let attribute = attribute.trim();
        let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        let (name, value) = (name.trim(), value.trim());
        // An attribute that cannot be read is as good as none (RFC 6265 § 5.2).
        if name.eq_ignore_ascii_case("secure") {
            cookie.secure = true;
        } else if name.eq_ignore_ascii_case("path") {
            is_for_root = value == "/";
            let path = Some(value).filter(|path| path.starts_with('/'));
            cookie.path = path.unwrap_or_else(|| default_path(uri.path())).to_owned();
        } else if name.eq_ignore_ascii_case("domain") {
            has_domain = true;
            let domain = value.trim_start_matches('.').to_ascii_lowercase();
            let rest = cookie.host.strip_suffix(&*domain);
            // One for another host is none (RFC 6265 § 5.3).
            rest.filter(|rest| rest.is_empty() || domain.is_empty() || rest.ends_with('.'))?;
        } else if name.eq_ignore_ascii_case("max-age") {
            max_age = seconds(value).or(max_age);
        } else if name.eq_ignore_ascii_case("expires") {
            cookie.expires = date(value).or(cookie.expires);
        }
    }
    if let Some(secs) = max_age {
        cookie.expires = SystemTime::now().checked_add(Duration::from_secs(secs));
    }
    let is_encrypted = Origin::of(uri).is_secure;
    let is_safe = cookie.secure && is_encrypted;
    let has_prefix = |prefix: &[u8]| {
        let start = cookie.name.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    // The name promises how the cookie was set (RFC 6265bis § 4.1.3).
    let is_kept = if has_prefix(b"__Host-") {
        is_safe && is_for_root && !has_domain
    } else if has_prefix(b"__Secure-") {
        is_safe
    } else {
        // Without encryption anybody may have set it (RFC 6265bis § 5.7).
        !cookie.secure || is_encrypted
    };
    is_kept.then_some(cookie)
}

/// Reads a `max-age`, which may be larger than any number; one below zero is over (RFC 6265 § 5.2.2).
fn seconds(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let secs = is_number.then(|| digits.parse().unwrap_or(u64::MAX))?;
    Some(if text.starts_with('-') { 0 } else { secs })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_of_a_name_is_a_promise() {
        for (url, line, expected) in [
            ("https://h/", "__Secure-a=1; Secure", true),
            ("https://h/", "__Secure-a=1", false),
            ("http://h/", "__secure-a=1; Secure", false),
            ("https://h/a/", "__Host-a=1; Secure; Path=/", true),
            ("wss://h/a/", "__host-a=1; secure; path=/", true),
            ("https://h/", "__Host-a=1; Secure", false),
            ("https://h/", "__Host-a=1; Secure; Path=/a", false),
            ("https://h/", "__Host-a=1; Secure; Path=/; Domain=h", false),
            ("https://h/", "__Host-a=1; Path=/", false),
            ("http://h/", "__Host-a=1; Secure; Path=/", false),
            ("http://h/", "__Hosta=1", true),
            ("http://h/", "a=1; Secure", false),
        ] {
            let kept = parse(&url.parse().unwrap(), line.as_bytes());
            assert_eq!(kept.is_some(), expected, "{url} {line}");
        }
    }
}
