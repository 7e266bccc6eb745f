//! The validated options of a client.

use std::time::{Duration, Instant};

use engineio_core::Transport;
use engineio_core::client::{Config, Session};

use crate::builder::headers::hide;
use crate::net::route::Route;
use crate::{Reconnect, Renewal};

#[derive(Debug)]
pub(crate) struct Settings {
    /// Of each new session, whatever redirects the one before has followed.
    pub(crate) route: Route,
    /// Never empty.
    pub(crate) transports: Vec<Transport>,
    pub(crate) try_all: bool,
    pub(crate) session: Config,
    pub(crate) request_timeout: Duration,
    pub(crate) reconnect: Option<Reconnect>,
}

impl Settings {
    /// Creates a session that is opened over this transport.
    pub(crate) fn session(&self, now: Instant, transport: Transport) -> Session {
        Session::new(now, self.session.clone(), transport)
    }

    /// Returns the transports that an attempt tries in turn: first the one that is `remembered`.
    pub(crate) fn transports(&self, remembered: Option<Transport>) -> Vec<Transport> {
        let count = if self.try_all {
            self.transports.len()
        } else {
            1
        };
        let mut transports: Vec<_> = self.transports.iter().copied().take(count).collect();
        if let Some(remembered) = remembered {
            transports.retain(|transport| *transport != remembered);
            transports.insert(0, remembered);
        }
        transports
    }

    /// Sends these headers and query parameters from now on, in place of others with the same names.
    pub(crate) fn renew(&mut self, fresh: Renewal) {
        for (name, value) in &fresh.query {
            self.route.target.set_query(name, value);
        }
        let mut fresh = fresh.headers;
        if !fresh.is_empty() {
            hide(&mut fresh);
            // The address has been checked when the first session was opened.
            if let Ok(uri) = self.route.target.address() {
                self.route.headers.renew(fresh, &uri);
            }
        }
    }
}
