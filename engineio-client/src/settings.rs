//! Everything that the builder decided, checked and ready for use.

use std::sync::Arc;
use std::time::Duration;

use engineio_core::Transport;
use engineio_core::client::{Config, Session};
use http::HeaderMap;
use http::header::COOKIE;

use crate::Reconnect;
use crate::builder::headers::hide;
use crate::clock::now;
use crate::net::http::Http;
use crate::net::websocket::WebSockets;
use crate::target::Target;

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) target: Target,
    /// Never empty.
    pub(crate) transports: Vec<Transport>,
    pub(crate) try_all: bool,
    pub(crate) session: Config,
    /// The name of the query parameter that makes requests unique.
    pub(crate) stamp: Option<String>,
    pub(crate) request_timeout: Duration,
    pub(crate) http: Http,
    pub(crate) websockets: WebSockets,
    pub(crate) reconnect: Option<Reconnect>,
}

impl Settings {
    /// Creates a session over the n-th transport, or returns `None` if there are fewer.
    pub(crate) fn session(&self, n: usize) -> Option<Session> {
        let transport = *self.transports.get(n)?;
        Some(Session::new(now(), self.session.clone(), transport))
    }

    /// Sends these headers from now on, in place of others with the same names.
    pub(crate) fn renew_headers(&mut self, mut fresh: HeaderMap) {
        if !fresh.is_empty() {
            hide(&mut fresh);
            if let (true, Some(cookies)) = (fresh.contains_key(COOKIE), &self.websockets.cookies) {
                cookies.seed(&fresh);
            }
            let mut headers = HeaderMap::clone(&self.http.headers);
            headers.extend(fresh);
            self.http.headers = Arc::new(headers);
            self.websockets.headers = Arc::clone(&self.http.headers);
        }
    }
}
