//! The description of a request in errors, and its secrets, which are removed from the text of a response.

use std::fmt;
use std::sync::Arc;

use http::header::COOKIE;
use http::{HeaderMap, Method, Uri};

/// The length in bytes of the shortest value that is removed. A shorter one is not a secret, and may be part of any word.
const MIN_SECRET_LEN: usize = 4;

/// A request that was sent. It is formatted only if it fails.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    method: Method,
    uri: Uri,
    is_websocket: bool,
    headers: Arc<HeaderMap>,
}

impl Attempt {
    pub(crate) fn new(method: Method, uri: &Uri, headers: &Arc<HeaderMap>) -> Self {
        Self {
            method,
            uri: uri.clone(),
            is_websocket: false,
            headers: Arc::clone(headers),
        }
    }

    pub(crate) fn websocket(uri: &Uri, headers: &Arc<HeaderMap>) -> Self {
        Self {
            is_websocket: true,
            ..Self::new(Method::GET, uri, headers)
        }
    }

    /// Replaces the headers with those that were sent, including those of the cookie jar and of a proxy, so that their secrets
    /// are removed too.
    pub(crate) fn with_headers(self, headers: HeaderMap) -> Self {
        let headers = Arc::new(headers);
        Self { headers, ..self }
    }

    /// Returns the text of a response without the secrets of the request: the session id, tokens, and cookies.
    pub(crate) fn redact(&self, answer: &[u8]) -> String {
        let mut text = String::from_utf8_lossy(answer).into_owned();
        for secret in self.secrets() {
            if text.contains(&secret) {
                text = text.replace(&secret, "…");
            }
        }
        text
    }

    /// Returns the secrets, the longest first, because one may be part of another.
    fn secrets(&self) -> Vec<String> {
        let query = self.uri.query().unwrap_or_default();
        let decoded = form_urlencoded::parse(query.as_bytes());
        let decoded = decoded.filter(|(name, _)| name != "transport" && name != "EIO");
        let decoded = decoded.map(|(_, value)| value.into_owned());
        // A response may also repeat a value as it was encoded in the URL.
        let encoded = query.split('&').filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            (name != "transport" && name != "EIO").then(|| value.to_owned())
        });
        let mut secrets: Vec<String> = decoded.chain(encoded).collect();
        for (name, value) in self
            .headers
            .iter()
            .filter(|(_, value)| value.is_sensitive())
        {
            let value = String::from_utf8_lossy(value.as_bytes());
            let is_cookie = name == COOKIE;
            for pair in value.split(|c| is_cookie && c == ';') {
                let start = if is_cookie { '=' } else { ' ' };
                let secret = pair.split_once(start).map_or(pair, |(_, secret)| secret);
                secrets.push(secret.trim().to_owned());
            }
        }
        secrets.retain(|secret| secret.len() >= MIN_SECRET_LEN);
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets
    }
}

/// Omits the query, which contains the session id and secrets of the application.
impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_websocket {
            f.write_str("the WebSocket handshake of ")?;
        }
        let scheme = self.uri.scheme_str().unwrap_or("http");
        let authority = self
            .uri
            .authority()
            .map_or("", http::uri::Authority::as_str);
        write!(
            f,
            "{} {scheme}://{authority}{}",
            self.method,
            self.uri.path()
        )
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn an_answer_does_not_show_what_the_request_carried() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer t0ken+long"),
            ("cookie", "a=cookie1; b=cookie2"),
            ("x-key", "whole key"),
        ] {
            let mut value = HeaderValue::from_static(value);
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let uri = "http://h/p/?key=q%20x%2Fy&EIO=4&transport=polling&sid=longid";
        let attempt = Attempt::new(Method::GET, &uri.parse().unwrap(), &Arc::new(headers));
        let answer =
            "polling of longid with q x/y, q%20x%2Fy, t0ken+long, cookie1, cookie2 and key";
        assert_eq!(
            attempt.redact(answer.as_bytes()),
            "polling of … with …, …, …, …, … and key"
        );
        assert_eq!(attempt.to_string(), "GET http://h/p/");
    }
}
