//! The headers that every request carries: those of the application, and cookies.

use std::sync::Arc;

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, COOKIE, EXPECT, HOST, PROXY_AUTHORIZATION, RANGE,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::cookies::CookieJar;
use crate::Error;
use crate::secrets::Secrets;

/// The headers of one connection (RFC 9110 § 7.6.1), and those that describe the length and the encoding of a message.
/// With a wrong value, the server would not see messages as they were sent.
const FRAMING: [HeaderName; 9] = [
    CONNECTION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    CONTENT_LENGTH,
    CONTENT_ENCODING,
    EXPECT,
    RANGE,
];

/// The same, which have no name in the library.
const OTHER_FRAMING: [&str; 3] = ["keep-alive", "proxy-connection", "http2-settings"];

/// The name of the client, unless the application has one.
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("engineio-client/", env!("CARGO_PKG_VERSION")));

/// Checks that none of the application's headers changes how requests are framed.
///
/// # Errors
///
/// Names the first one that does, without its value.
pub(crate) fn check(own: &HeaderMap) -> Result<(), Error> {
    for name in own.keys() {
        let reason = if *name == PROXY_AUTHORIZATION {
            "it would go to the server; put the credentials into the URL of the proxy"
        } else if *name == SEC_WEBSOCKET_EXTENSIONS {
            "the client decides it; for compression there is `websocket_compression_threshold`"
        } else if *name != SEC_WEBSOCKET_PROTOCOL && name.as_str().starts_with("sec-websocket-") {
            "the client decides it in the handshake of a WebSocket"
        } else if FRAMING.contains(name) || OTHER_FRAMING.contains(&name.as_str()) {
            "it is part of how requests are framed, which the client decides"
        } else if *name == HOST && own.get_all(name).iter().count() > 1 {
            "a request has one only (RFC 9110 § 7.2)"
        } else {
            continue;
        };
        let message = format!("the header `{name}` cannot be set: {reason}");
        return Err(Error::invalid(message));
    }
    Ok(())
}

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Headers {
    /// All values are marked as secrets.
    own: Arc<HeaderMap>,
    jar: Option<CookieJar>,
    /// A server that the application does not know has chosen the requests.
    is_for_stranger: bool,
    /// The secrets sent to servers before: before a redirect, or before an answer that changed the cookies.
    former: Arc<Secrets>,
}

impl Headers {
    /// Creates the headers of a client, and moves the application's cookies for the host of `uri` into the jar, if
    /// there is one.
    pub(crate) fn new(own: HeaderMap, jar: Option<CookieJar>, uri: &Uri) -> Self {
        // A client without any leaves those of another with the same jar alone.
        if let (true, Some(jar)) = (own.contains_key(COOKIE), &jar) {
            jar.seed(uri, &own, &HeaderMap::new());
        }
        Self {
            own: Arc::new(own),
            jar,
            is_for_stranger: false,
            former: Arc::default(),
        }
    }

    /// Sends these headers from now on, instead of others with the same names.
    pub(crate) fn renew(&mut self, fresh: HeaderMap, uri: &Uri) {
        if let (true, Some(jar)) = (fresh.contains_key(COOKIE), &self.jar) {
            jar.seed(uri, &fresh, &self.own);
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
            is_for_stranger: true,
            former: Arc::clone(&self.former),
        }
    }

    /// Returns the secrets that requests to this URL carry, and those of earlier requests.
    pub(crate) fn secrets(&self, uri: &Uri) -> Secrets {
        let mut secrets = Secrets::clone(&self.former);
        let mut sent = HeaderMap::new();
        self.apply(uri, &mut sent);
        secrets.add_headers(&sent);
        secrets
    }

    /// Remembers the secrets of requests that were sent or will be sent, although later ones may not carry them.
    pub(crate) fn remember(&mut self, secrets: Secrets) {
        self.former = Arc::new(secrets);
    }

    pub(super) fn former(&self) -> &Arc<Secrets> {
        &self.former
    }

    pub(super) fn own(&self) -> &Arc<HeaderMap> {
        &self.own
    }

    /// Puts the headers on a request to this URL.
    pub(super) fn apply(&self, uri: &Uri, headers: &mut HeaderMap) {
        // Not with those of the application, so that a client without such headers has no memory for them.
        headers.insert(USER_AGENT, AGENT);
        let mut last = None;
        // Those of one name come one after the other, and replace what is there.
        for (name, value) in &*self.own {
            if *name == COOKIE {
                continue;
            }
            if last == Some(name) {
                headers.append(name, value.clone());
            } else {
                headers.insert(name, value.clone());
            }
            last = Some(name);
        }
        let cookie = match &self.jar {
            Some(jar) => jar.header_for(uri, !self.is_for_stranger),
            None => super::cookies::joined(&self.own),
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_names_itself_unless_the_application_does() {
        let uri = Uri::from_static("http://h/");
        let mut own = HeaderMap::new();
        for name in [AGENT, HeaderValue::from_static("mine/1")] {
            let headers = Headers::new(own.clone(), None, &uri);
            for headers in [headers.for_a_stranger(), headers] {
                let mut sent = HeaderMap::new();
                headers.apply(&uri, &mut sent);
                let agents: Vec<_> = sent.get_all(USER_AGENT).iter().collect();
                assert_eq!(agents, [&name]);
            }
            own.insert(USER_AGENT, HeaderValue::from_static("mine/1"));
        }
    }
}
