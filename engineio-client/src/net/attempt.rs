//! The description of a request in errors, and its secrets, which are removed from the text of a response.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, Method, Uri};

use super::headers::Headers;
use crate::secrets::Secrets;

/// A request that was sent. It is formatted only if it fails.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    method: Method,
    uri: Uri,
    /// What the request is for, if that is not polling.
    purpose: &'static str,
    headers: Arc<HeaderMap>,
    /// Those of earlier requests, which a redirect or a cookie may repeat.
    former: Arc<Secrets>,
}

impl Attempt {
    pub(crate) fn new(method: Method, uri: &Uri, headers: &Headers) -> Self {
        Self {
            method,
            uri: uri.clone(),
            purpose: "",
            headers: Arc::clone(headers.own()),
            former: Arc::clone(headers.former()),
        }
    }

    pub(crate) fn websocket(uri: &Uri, headers: &Headers) -> Self {
        Self {
            purpose: "the WebSocket handshake of ",
            ..Self::new(Method::GET, uri, headers)
        }
    }

    #[cfg(feature = "webtransport")]
    pub(crate) fn webtransport(uri: &Uri, headers: &Headers) -> Self {
        Self {
            purpose: "the WebTransport handshake of ",
            ..Self::new(Method::CONNECT, uri, headers)
        }
    }

    /// Creates the description of a request for a tunnel, with all of its headers.
    pub(crate) fn tunnel(proxy: &Uri, headers: HeaderMap) -> Self {
        Self {
            method: Method::CONNECT,
            uri: proxy.clone(),
            purpose: "",
            headers: headers.into(),
            former: Arc::default(),
        }
    }

    /// Replaces the headers with those that were sent, including those of the cookie jar and of a proxy, so that their secrets
    /// are removed too.
    pub(crate) fn with_headers(self, headers: HeaderMap) -> Self {
        let headers = Arc::new(headers);
        Self { headers, ..self }
    }

    /// Returns whether this is the first request to a server, and has no TLS.
    pub(super) fn is_plain_handshake(&self) -> bool {
        let query = self.uri.query().unwrap_or_default();
        let has_session = query.split('&').any(|pair| pair.starts_with("sid="));
        self.uri.scheme() == Some(&http::uri::Scheme::HTTP) && !has_session
    }

    /// Returns the secrets of the request, which the response may repeat.
    pub(crate) fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::clone(&self.former);
        secrets.add_query(self.uri.query().unwrap_or_default());
        secrets.add_headers(&self.headers);
        secrets
    }
}

/// Omits the query, which contains the session id and secrets of the application.
impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.purpose)?;
        let scheme = self.uri.scheme_str().unwrap_or("http");
        let authority = self
            .uri
            .authority()
            .map_or("", http::uri::Authority::as_str);
        // The path may be that of a redirect.
        let path = self.secrets().redact(self.uri.path().as_bytes());
        write!(f, "{} {scheme}://{authority}{path}", self.method)
    }
}
