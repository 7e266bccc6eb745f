//! The log line of a request whose origin is refused.

use std::fmt;

use http::header::{HOST, ORIGIN, REFERER};
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use super::Origins;

/// The maximum number of bytes of a header that are logged.
const MAX_LOGGED: usize = 100;

/// The beginning of a header from an untrusted peer, escaped so that it stays within its line.
struct Excerpt<'a>(&'a HeaderMap, HeaderName);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(value) = self.0.get(&self.1) else {
            return f.write_str("none");
        };
        let bytes = value.as_bytes();
        let shown = &bytes[..bytes.len().min(MAX_LOGGED)];
        write!(f, "{}", shown.escape_ascii())?;
        if bytes.len() > MAX_LOGGED {
            f.write_str("…")?;
        }
        Ok(())
    }
}

impl Origins {
    /// Logs the compared values, at debug level.
    pub(crate) fn log_refusal(&self, head: &Parts) {
        let header = |name| Excerpt(&head.headers, name);
        tracing::debug!(
            target: "engineio::refusal",
            origin = %header(ORIGIN),
            referer = %header(REFERER),
            host = %header(HOST),
            authority = head.uri.authority().map(http::uri::Authority::as_str),
            rule = ?self.rule,
            "the origin of a request is not allowed"
        );
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn shown(value: &[u8]) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, HeaderValue::from_bytes(value).unwrap());
        Excerpt(&headers, ORIGIN).to_string()
    }

    #[test]
    fn a_header_is_logged_cut_and_escaped() {
        assert_eq!(shown(b"http://evil.example"), "http://evil.example");
        assert_eq!(shown(b"a\tb\xff\"c"), "a\\tb\\xff\\\"c");
        let long = shown(&[b'x'; 1_000]);
        assert_eq!(long, format!("{}…", "x".repeat(100)));
        assert_eq!(Excerpt(&HeaderMap::new(), ORIGIN).to_string(), "none");
    }
}
