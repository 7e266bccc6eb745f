//! The headers that every request carries: those of the application, and cookies.

use std::sync::Arc;

use http::header::{COOKIE, USER_AGENT};
use http::{HeaderMap, Uri};

use super::cookies::CookieJar;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Headers {
    /// All values are marked as secrets.
    own: Arc<HeaderMap>,
    jar: Option<CookieJar>,
}

impl Headers {
    /// Creates the headers of a client, and moves the application's cookies for the host of `uri` into the jar, if
    /// there is one.
    pub(crate) fn new(own: HeaderMap, jar: Option<CookieJar>, uri: &Uri) -> Self {
        if let Some(jar) = &jar {
            jar.seed(uri, &own);
        }
        Self {
            own: Arc::new(own),
            jar,
        }
    }

    /// Sends these headers from now on, in place of others with the same names.
    pub(crate) fn renew(&mut self, fresh: HeaderMap, uri: &Uri) {
        if let (true, Some(jar)) = (fresh.contains_key(COOKIE), &self.jar) {
            jar.seed(uri, &fresh);
        }
        let mut own = HeaderMap::clone(&self.own);
        own.extend(fresh);
        self.own = Arc::new(own);
    }

    /// Returns the headers for a server that the application does not know: without the application's own, any of which
    /// may be a secret.
    pub(crate) fn for_a_stranger(&self) -> Self {
        let mut own = HeaderMap::new();
        if let Some(agent) = self.own.get(USER_AGENT) {
            own.insert(USER_AGENT, agent.clone());
        }
        Self {
            own: Arc::new(own),
            jar: self.jar.clone(),
        }
    }

    pub(super) fn own(&self) -> &Arc<HeaderMap> {
        &self.own
    }

    /// Puts the headers on a request to this URL.
    pub(super) fn apply(&self, uri: &Uri, headers: &mut HeaderMap) {
        for name in self.own.keys() {
            headers.remove(name);
            for value in self.own.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        let cookie = match &self.jar {
            Some(jar) => jar.header_for(uri),
            None => super::cookies::joined(&self.own),
        };
        headers.remove(COOKIE);
        if let Some(cookie) = cookie {
            headers.insert(COOKIE, cookie);
        }
    }

    /// Keeps the cookies that an answer sets.
    pub(super) fn store(&self, uri: &Uri, answer: &HeaderMap) {
        if let Some(jar) = &self.jar {
            jar.store_all(uri, answer);
        }
    }
}
