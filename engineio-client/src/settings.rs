//! Everything that the builder decided, checked and ready for use.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engineio_core::Transport;
use engineio_core::client::{Config, Session};
use http::HeaderMap;
use http::header::COOKIE;

use crate::builder::headers::hide;
use crate::net::http::Http;
use crate::net::websocket::WebSockets;
use crate::target::Target;
use crate::{Reconnect, Renewal};

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
    /// Creates a session that is opened over this transport.
    pub(crate) fn session(&self, now: Instant, transport: Transport) -> Session {
        Session::new(now, self.session.clone(), transport)
    }

    /// Returns the transports that an attempt tries in turn. The WebSocket goes first if it is `remembered`.
    pub(crate) fn transports(&self, remembered: bool) -> Vec<Transport> {
        let count = if self.try_all {
            self.transports.len()
        } else {
            1
        };
        let mut transports: Vec<_> = self.transports.iter().copied().take(count).collect();
        if remembered {
            transports.retain(|transport| *transport != Transport::WebSocket);
            transports.insert(0, Transport::WebSocket);
        }
        transports
    }

    /// Sends these headers and query parameters from now on, in place of others with the same names.
    pub(crate) fn renew(&mut self, fresh: Renewal) {
        for (name, value) in &fresh.query {
            self.target.set_query(name, value);
        }
        let mut fresh = fresh.headers;
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
