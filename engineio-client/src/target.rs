//! The address of the server: the URL that the user wrote, and the URIs of the requests.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use engineio_core::{Revision, Transport};
use form_urlencoded::Serializer;
use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

use crate::Error;
use crate::origin::Origin;

/// The path of a server when the URL does not name one.
const DEFAULT_PATH: &str = "/engine.io/";

/// A longer URL is refused by the reference client and by most servers.
const MAX_URL_LEN: usize = 8000;

#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    /// Begins with a slash.
    pub(crate) path: String,
    /// The application's own parameters, in the order in which they were given.
    pub(crate) query: String,
    revision: Revision,
    /// The user name and password of the URL.
    pub(crate) credentials: Option<(String, Option<String>)>,
}

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let shown = without_secrets(url);
        if url.len() > MAX_URL_LEN {
            let message = format!(
                "the URL has {} bytes; at most {MAX_URL_LEN} are sent",
                url.len()
            );
            return Err(Error::invalid(message));
        }
        if !url.contains("://") {
            return Err(Error::invalid(format!(
                "the URL `{shown}` has no scheme; write `http://{shown}`"
            )));
        }
        let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| {
            let message =
                format!("`{shown}` is not a URL; percent-encode what is not ASCII, and write host names in punycode");
            Error::invalid(message).with_source(error)
        })?;
        let scheme = uri.scheme_str().map(str::to_ascii_lowercase);
        let scheme = match scheme.as_deref() {
            Some("http" | "ws") => Scheme::HTTP,
            Some("https" | "wss") => Scheme::HTTPS,
            _ => {
                let message =
                    format!("the URL `{shown}` is of no known scheme; use http, https, ws or wss");
                return Err(Error::invalid(message));
            }
        };
        let authority = uri.authority().map_or("", Authority::as_str);
        let (credentials, host) = match authority.rsplit_once('@') {
            Some((credentials, host)) => (Some(parse_credentials(credentials)), host),
            None => (None, authority),
        };
        // Servers compare names as they are written, and engine.io-client and python-engineio send small letters.
        let host = host.to_ascii_lowercase();
        // An empty port is that of the scheme (RFC 3986 § 3.2.3).
        let host = host.strip_suffix(':').unwrap_or(&host);
        let authority: Authority = host.parse().map_err(|error: http::uri::InvalidUri| {
            Error::invalid(format!("the URL `{shown}` has no valid host")).with_source(error)
        })?;
        if authority.host().is_empty() {
            return Err(Error::invalid(format!("the URL `{shown}` has no host")));
        }
        if authority.host().contains('%') {
            // It means nothing to others, and must not be sent (RFC 6874 § 4).
            return Err(Error::invalid(format!(
                "the URL `{shown}` has an IPv6 address with a zone; use a name for the host, and give the address and the \
                 zone by `resolve`"
            )));
        }
        if authority.port_u16().is_none() && authority.as_str() != authority.host() {
            return Err(Error::invalid(format!(
                "the URL `{shown}` has no valid port"
            )));
        }
        let path = match uri.path() {
            "" | "/" => DEFAULT_PATH,
            path => path,
        };
        Ok(Self {
            scheme,
            authority,
            path: with_slash(path),
            query: own_parameters(uri.query().unwrap_or_default()),
            revision: Revision::V4,
            credentials,
        })
    }

    pub(crate) fn set_path(&mut self, path: &str) -> Result<(), Error> {
        let path = if path.starts_with('/') {
            with_slash(path)
        } else {
            with_slash(&format!("/{path}"))
        };
        if path.contains(['?', '#']) || path.parse::<PathAndQuery>().is_err() {
            let shown = path.split(['?', '#']).next().unwrap_or_default();
            return Err(Error::invalid(format!(
                "`{}` is not a path; percent-encode what is not allowed in one, and give a query by `query`",
                shown.escape_debug()
            )));
        }
        self.path = path;
        Ok(())
    }

    pub(crate) fn strip_slash(&mut self) {
        if self.path.len() > 1 && self.path.ends_with('/') {
            self.path.pop();
        }
    }

    pub(crate) fn append_query(&mut self, name: &str, value: &str) {
        let query = std::mem::take(&mut self.query);
        let mut query = Serializer::for_suffix(query, 0);
        query.append_pair(name, value);
        self.query = own_parameters(&query.finish());
    }

    /// Adds a parameter, replacing those with the same name.
    pub(crate) fn set_query(&mut self, name: &str, value: &str) {
        let is_other = |pair: &&str| {
            let mut pairs = form_urlencoded::parse(pair.as_bytes());
            pairs.next().is_none_or(|(known, _)| known != name)
        };
        let others: Vec<&str> = self.query.split('&').filter(is_other).collect();
        self.query = others.join("&");
        self.append_query(name, value);
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    pub(crate) const fn set_revision(&mut self, revision: Revision) {
        self.revision = revision;
    }

    /// Returns the URL of the target, without a session.
    pub(crate) fn address(&self) -> Result<Uri, Error> {
        self.uri(Transport::Polling, None, None)
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin::new(
            self.is_secure(),
            self.authority.host(),
            self.authority.port_u16(),
        )
    }

    /// Builds the URI of a request; `stamp` is the name of the parameter that makes it unique.
    pub(crate) fn uri(
        &self,
        transport: Transport,
        sid: Option<&str>,
        stamp: Option<&str>,
    ) -> Result<Uri, Error> {
        // For each request of a polling session, so in one piece of memory and with little formatting.
        let sid_len = sid.map_or(0, str::len);
        let mut query = String::with_capacity(self.path.len() + self.query.len() + sid_len + 96);
        query.push_str(&self.path);
        query.push('?');
        if !self.query.is_empty() {
            query.push_str(&self.query);
            query.push('&');
        }
        query.push_str(match self.revision {
            Revision::V3 => "EIO=3&transport=",
            _ => "EIO=4&transport=",
        });
        query.push_str(transport.name());
        if let Some(sid) = sid {
            query.push_str("&sid=");
            query.extend(form_urlencoded::byte_serialize(sid.as_bytes()));
        }
        if let Some(name) = stamp {
            query.push('&');
            query.extend(form_urlencoded::byte_serialize(name.as_bytes()));
            query.push('=');
            push_unique(&mut query);
        }
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(query)
            .build()
            .map_err(|error| {
                let message =
                    format!("no request can be made for {self}; check its path and query");
                Error::invalid(message).with_source(error)
            })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

/// Without credentials and query, as in a log.
impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// Returns a URL that may be logged: without credentials, query and fragment. The URL may be invalid, with a password
/// that contains a character that ends the host.
pub(crate) fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_at(url.find("://").map_or(0, |at| at + 3));
    let (shown, hidden) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    let shown = &shown[shown.rfind('@').map_or(0, |at| at + 1)..];
    let (authority, path) = shown.split_at(shown.find('/').unwrap_or(shown.len()));
    let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
    let is_port = authority.ends_with(']') || port.bytes().all(|byte| byte.is_ascii_digit());
    if hidden.contains('@') && (path.is_empty() || !is_port) {
        return format!("{scheme}…");
    }
    format!("{scheme}{shown}")
}

/// Returns a query without the protocol's own parameters, which a URL has that was copied from a browser: a server
/// may take the first of two.
pub(crate) fn own_parameters(query: &str) -> String {
    let is_own = |pair: &&str| {
        let name = pair.split('=').next();
        !matches!(name, Some("EIO" | "transport" | "sid"))
    };
    query
        .split('&')
        .filter(is_own)
        .collect::<Vec<_>>()
        .join("&")
}

fn with_slash(path: &str) -> String {
    if path.ends_with('/') {
        path.to_owned()
    } else {
        format!("{path}/")
    }
}

pub(crate) fn parse_credentials(text: &str) -> (String, Option<String>) {
    match text.split_once(':') {
        Some((user, password)) => (percent_decode(user), Some(percent_decode(password))),
        None => (percent_decode(text), None),
    }
}

/// Decodes percent-encoding; text that is not an escape stays as it is.
fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escape = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let escape = escape.filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Adds a text that no earlier request of this process has used, so that no cache answers instead of the server.
fn push_unique(query: &mut String) {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    /// The time of the first one, for other processes.
    static BEGAN: LazyLock<String> = LazyLock::new(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        format!("{:x}.", since.unwrap_or_default().as_nanos())
    });
    query.push_str(&BEGAN);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let digits = (u64::BITS - count.leading_zeros()).div_ceil(4).max(1);
    for at in (0..digits).rev() {
        let digit = (count >> (4 * at)) & 0xf;
        query.extend(char::from_digit(digit as u32, 16));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn uri(url: &str) -> String {
        let target = Target::parse(url).unwrap();
        target
            .uri(Transport::Polling, None, None)
            .unwrap()
            .to_string()
    }

    #[test]
    fn an_empty_port_is_that_of_the_scheme() {
        let expected = "http://h/x/?EIO=4&transport=polling";
        assert_eq!(uri("http://h:/x"), expected);
        assert_eq!(uri("http://user:pw@h:/x"), expected);
        assert_eq!(
            uri("https://[::1]:"),
            "https://[::1]/engine.io/?EIO=4&transport=polling"
        );
    }

    #[test]
    fn the_path_is_the_servers_unless_the_url_names_one() {
        let expected = "http://h:5000/engine.io/?EIO=4&transport=polling";
        assert_eq!(uri("http://h:5000"), expected);
        assert_eq!(uri("ws://h:5000/"), expected);
        let expected = "https://h/realtime/?a=b&EIO=4&transport=polling";
        assert_eq!(uri("wss://h/realtime?a=b"), expected);
        assert_eq!(
            uri("http://[::1]:80"),
            "http://[::1]:80/engine.io/?EIO=4&transport=polling"
        );
    }

    #[test]
    fn ids_and_parameters_are_escaped() {
        let mut target = Target::parse("http://h?x=1").unwrap();
        target.append_query("a b", "&=é");
        target.append_query("c", "d");
        let uri = target
            .uri(Transport::WebSocket, Some("a/b+c"), None)
            .unwrap();
        let expected =
            "/engine.io/?x=1&a+b=%26%3D%C3%A9&c=d&EIO=4&transport=websocket&sid=a%2Fb%2Bc";
        assert_eq!(uri.path_and_query().unwrap(), expected);
    }

    #[test]
    fn stamps_differ() {
        let target = Target::parse("http://h").unwrap();
        let stamped = || target.uri(Transport::Polling, None, Some("t")).unwrap();
        assert_ne!(stamped(), stamped());
    }

    #[test]
    fn credentials_leave_the_url() {
        let target = Target::parse("http://user:p%40ss@h").unwrap();
        assert_eq!(target.to_string(), "http://h/engine.io/");
        assert_eq!(
            target.credentials,
            Some(("user".into(), Some("p@ss".into())))
        );
    }

    #[test]
    fn what_is_no_url_is_refused_in_words() {
        for url in [
            "",
            "localhost",
            "ftp://h",
            "http://",
            "http://ü",
            "http://h:x",
            "http:///p",
        ] {
            let error = Target::parse(url).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Invalid, "{url}");
        }
        assert!(Target::parse(&format!("http://h/{}", "x".repeat(9000))).is_err());
    }

    #[test]
    fn the_zone_of_an_address_has_another_place() {
        for url in [
            "http://[fe80::1%25eth0]/",
            "ws://user:secret@[fe80::1%eth0]:80/x?secret",
        ] {
            let error = Target::parse(url).unwrap_err().to_string();
            assert!(error.contains("`resolve`"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn what_is_no_url_keeps_its_secrets() {
        for url in [
            "user:secret@h",
            "ftp://user:secret@h/",
            "http://user:secret@h:x",
            "http://user:secret@",
            "http://h:x/?token=secret",
            "http://user:secret@h/ x",
            "http://user:a/secret@h/",
            "ws//user:secret@h",
            "http://user:a#secret@h",
            "http://user:b/secret?secret@h:x",
            "http://user:secret/b?c@h:x",
        ] {
            let error = Target::parse(url).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_url_may_be_copied_from_a_browser() {
        let copied = "HTTP://h/engine.io/?EIO=3&transport=websocket&room=1&sid=abc";
        let expected = "http://h/engine.io/?room=1&EIO=4&transport=polling";
        assert_eq!(uri(copied), expected);
        assert_eq!(
            uri("WSS://h?sid=a"),
            "https://h/engine.io/?EIO=4&transport=polling"
        );
    }

    #[test]
    fn a_path_of_ones_own() {
        let mut target = Target::parse("http://h/ignored").unwrap();
        target.set_path("mine").unwrap();
        assert_eq!(target.to_string(), "http://h/mine/");
        target.strip_slash();
        assert_eq!(target.to_string(), "http://h/mine");
        let error = target.set_path("/a?token=secret").unwrap_err().to_string();
        assert!(
            error.contains("`/a`") && !error.contains("secret"),
            "{error}"
        );
    }
}
