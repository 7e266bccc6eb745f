//! The check of a request's origin: the web pages that may talk to the server.
//!
//! A browser sends the origin of the calling page in the `Origin` header, which a page can neither forge nor leave out
//! of a WebSocket handshake. Nothing else stops a foreign page from opening a WebSocket with the cookies of its
//! visitor, because the rules of CORS do not apply there; so the same check is made for polling and WebSocket, on
//! handshakes and on every later request.

mod address;
mod log;
mod script;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use address::{Address, Authority};

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The maximum length of an origin, in bytes, which is enough for every DNS name. A longer one is neither compared nor
/// echoed.
pub(crate) const MAX_ORIGIN_LEN: usize = 512;

/// The origins of pages without an address of their own: documents of files and apps, and sandboxed frames.
const OPAQUE: [&str; 2] = ["file://", "null"];

/// The result of an asynchronous predicate.
pub(crate) type Answer = Pin<Box<dyn Future<Output = bool> + Send>>;

type Predicate = dyn Fn(&str, &Parts) -> bool + Send + Sync;
type AsyncPredicate = dyn Fn(&str, &Parts) -> Answer + Send + Sync;

/// The origins that may talk to the server: the check of the `Origin` header, and the CORS headers of responses.
///
/// A request without an `Origin` header passes, because no foreign web page can read the response. The exception is
/// JSONP, whose script requests never have the header: `Sec-Fetch-Site` and `Referer` decide on these. A request whose
/// `Origin` is refused is answered with 403, on polling and WebSocket alike, before any other check; an allowed one
/// gets `Access-Control-Allow-Origin` with its own origin, never with `*`.
///
/// Put no CORS layer around the server: `CorsLayer::permissive()` of tower-http replaces the origin by `*`, beside
/// `Access-Control-Allow-Credentials: true`, which browsers refuse for requests with credentials.
///
/// Origins are compared as browsers compare them: without regard to the case of the host, and with a default port
/// equal to a missing one. `ws` and `wss` count as `http` and `https`.
///
/// | constructor | allowed | `Origin: null` (sandboxed frames, `file:`) |
/// |---|---|---|
/// | [`same`](Self::same), the default | pages of the server's own host and port | refused |
/// | [`list`](Self::list), [`try_list`](Self::try_list) | the listed ones, and only these | refused unless listed |
/// | [`predicate`](Self::predicate), [`predicate_async`](Self::predicate_async) | those that a function allows | as the function decides |
/// | [`any`](Self::any) | every page in the world | allowed |
/// | [`off`](Self::off) | everything; no CORS header is sent, as the host app does that | not checked |
///
/// ```
/// use engineio_tower::Origins;
///
/// let one_app = Origins::list(["https://app.example.com", "http://localhost:5173"]);
/// let own_subdomains = Origins::predicate(|origin, _request| {
///     origin.starts_with("https://") && origin.ends_with(".example.com")
/// });
/// let public_feed = Origins::any().credentials(false);
/// # let _ = (one_app, own_subdomains, public_feed);
/// ```
#[derive(Clone)]
pub struct Origins {
    rule: Rule,
    credentials: bool,
    trust_forwarded: bool,
}

#[derive(Clone)]
enum Rule {
    Same,
    Any,
    /// Every entry is readable by [`Address::parse`] or one of [`OPAQUE`].
    List(Arc<[Box<str>]>),
    Predicate(Arc<Predicate>),
    Ask(Arc<AsyncPredicate>),
    Off,
}

/// The result of the check of one request.
pub(crate) enum Verdict {
    /// The request may go on.
    Allowed,
    /// The request must be refused, with 403 and code 4.
    Refused,
    /// The application decides: `true` allows.
    Ask(Answer),
}

/// The scheme that the browser has used: a request extension, which a host sets if it knows the scheme.
///
/// The request itself does not say whether it came over TLS. A host that terminates TLS itself inserts `Scheme::Https`
/// into the request's extensions, and [`Origins::same`] then refuses the `http` page of the same host. Without the
/// extension the scheme is unknown, unless the URI says `https` (HTTP/2 does) or the [forwarded headers are
/// trusted](Origins::trust_forwarded).
///
/// ```
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(engineio_tower::Scheme::Https);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP, from the browser to this server.
    Http,
    /// HTTP over TLS.
    Https,
}

/// Text that is not an origin, in the configuration of [`Origins::try_list`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an origin: write scheme://host or scheme://host:port in ASCII, without a path, file:// or null; \
     for every origin use Origins::any(), for patterns Origins::predicate()"
)]
///
/// ```
/// use engineio_tower::Origins;
///
/// let error = Origins::try_list(["app.example.com"]).unwrap_err();
/// assert!(error.to_string().starts_with("\"app.example.com\" is not an origin"));
/// ```
pub struct InvalidOrigin(String);

impl Origins {
    /// Allows only pages of this server's own origin. This is the default.
    ///
    /// Host and port of the `Origin` must be those of the request (`:authority` or `Host`, or `X-Forwarded-Host` if
    /// [trusted](Self::trust_forwarded)). The scheme is compared where it is known, see [`Scheme`]: behind a proxy
    /// that terminates TLS, the usual deployment, the server sees plain HTTP from pages that are `https`.
    ///
    /// That still keeps every foreign site out, since its pages have another host and the browser writes both
    /// headers. Not covered are pages of the *same* host over plain HTTP, which only somebody on the network path
    /// can write: let the proxy redirect them, send HSTS, or name the `https` origin with [`list`](Self::list). Nor
    /// is DNS rebinding, where a foreign name points at this server, so that host and origin agree: a server on
    /// `localhost` or in a private network should name its origins with [`list`](Self::list).
    #[must_use]
    pub fn same() -> Self {
        Self::new(Rule::Same)
    }

    /// Allows every page, including those with the origin `null`.
    ///
    /// With [`credentials`](Self::credentials), which is the default, any page can act with the cookies of its visitor.
    /// Use this for servers that identify their users by something other than a cookie.
    #[must_use]
    pub fn any() -> Self {
        Self::new(Rule::Any)
    }

    /// Allows exactly these origins; the server's own is not added. An empty list refuses every page.
    ///
    /// An entry is `scheme://host` or `scheme://host:port`; a slash at its end is ignored. `file://` and `null` may be
    /// listed as they are, for devices and apps that send them; any site can make its pages send `null`, from a
    /// sandboxed frame.
    ///
    /// # Panics
    ///
    /// Panics if an entry is not an origin, such as `*` or a pattern. [`try_list`](Self::try_list) is for
    /// entries that come from a configuration file.
    #[must_use]
    pub fn list<I>(origins: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        match Self::try_list(origins) {
            Ok(origins) => origins,
            Err(error) => panic!("{error}"),
        }
    }

    /// Allows exactly these origins, like [`list`](Self::list), and returns an error for an invalid entry.
    ///
    /// # Errors
    ///
    /// [`InvalidOrigin`] with the first entry that is not an origin.
    ///
    /// ```
    /// use engineio_tower::Origins;
    ///
    /// let line = "https://app.example.com, http://localhost:5173";
    /// assert!(Origins::try_list(line.split(", ")).is_ok());
    /// assert!(Origins::try_list(["app.example.com"]).is_err());
    /// ```
    pub fn try_list<I>(origins: I) -> Result<Self, InvalidOrigin>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let read = |origin: I::Item| {
            let given = origin.as_ref();
            if OPAQUE.contains(&given) {
                return Ok(given.into());
            }
            let text = given.strip_suffix('/').unwrap_or(given);
            match Address::parse(text) {
                // A host may have a star, but no origin of a browser does: it was meant as a pattern.
                Some(_) if !text.contains('*') => Ok(text.into()),
                _ => Err(InvalidOrigin(given.to_owned())),
            }
        };
        let list: Result<_, _> = origins.into_iter().map(read).collect();
        Ok(Self::new(Rule::List(list?)))
    }

    /// Asks a function, which gets the `Origin` header as it was sent and the head of the request.
    ///
    /// It is called for every request with an `Origin`, not only for handshakes. Compare whole origins: `contains`
    /// and a bare `starts_with` match `https://example.com.evil.org` too.
    #[must_use]
    pub fn predicate<F>(allows: F) -> Self
    where
        F: Fn(&str, &Parts) -> bool + Send + Sync + 'static,
    {
        Self::new(Rule::Predicate(Arc::new(allows)))
    }

    /// Asks an asynchronous function, for instance one that looks into a database.
    ///
    /// It is called for every request with an `Origin`, so it should remember its answers. The future cannot borrow:
    /// the function takes out of the head what the future needs.
    ///
    /// ```
    /// use engineio_tower::Origins;
    ///
    /// # async fn is_customer(origin: &str) -> bool { origin.len() > 8 }
    /// let customers = Origins::predicate_async(|origin, _request| {
    ///     let origin = origin.to_owned();
    ///     async move { is_customer(&origin).await }
    /// });
    /// # let _ = customers;
    /// ```
    #[must_use]
    pub fn predicate_async<F, Fut>(allows: F) -> Self
    where
        F: Fn(&str, &Parts) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        Self::new(Rule::Ask(Arc::new(move |origin, head| {
            Box::pin(allows(origin, head))
        })))
    }

    /// Checks nothing and sends no CORS headers, for a host that does both itself.
    ///
    /// A CORS layer of the host is not enough for WebSocket: it sets headers, but refuses nothing, and a browser
    /// does not ask for them there.
    #[must_use]
    pub fn off() -> Self {
        Self::new(Rule::Off)
    }

    fn new(rule: Rule) -> Self {
        Self {
            rule,
            credentials: true,
            trust_forwarded: false,
        }
    }

    /// Sets whether pages of an allowed origin may send cookies and other credentials across origins:
    /// `Access-Control-Allow-Credentials: true`. On by default, as in python-engineio. It has no effect on WebSockets,
    /// with which browsers always send cookies: with [`any`](Self::any), a connect handler sees those of the visitor of
    /// any page.
    #[must_use]
    pub fn credentials(mut self, credentials: bool) -> Self {
        self.credentials = credentials;
        self
    }

    /// Sets whether the first items of `X-Forwarded-Host` and `X-Forwarded-Proto` count as the host and scheme that the
    /// browser sees. Off by default; it matters to [`same`](Self::same) only.
    ///
    /// Switch it on when a proxy in front changes the `Host` header, and only if every request comes through a proxy
    /// that sets both headers itself.
    #[must_use]
    pub fn trust_forwarded(mut self, trust: bool) -> Self {
        self.trust_forwarded = trust;
        self
    }

    /// Judges a request by its head. `script` means that the answer would be a script, which pages of other origins can
    /// read.
    pub(crate) fn check(&self, head: &Parts, script: bool) -> Verdict {
        if self.is_off() {
            return Verdict::Allowed;
        }
        let mut values = head.headers.get_all(ORIGIN).iter();
        let Some(origin) = values.next() else {
            return if script {
                self.check_script(head)
            } else {
                Verdict::Allowed
            };
        };
        // A browser sends one; with two of them it would be open which one counts.
        let origin = match origin.to_str() {
            Ok(origin) if values.next().is_none() && origin.len() <= MAX_ORIGIN_LEN => origin,
            _ => return Verdict::Refused,
        };
        self.judge(origin, head)
    }

    /// Applies the rule to the origin of a page.
    fn judge(&self, origin: &str, head: &Parts) -> Verdict {
        let allowed = match &self.rule {
            Rule::Off | Rule::Any => true,
            Rule::Same => Address::parse(origin).is_some_and(|page| self.is_same(&page, head)),
            Rule::List(list) => match Address::parse(origin) {
                Some(page) => list.iter().any(|entry| Address::parse(entry) == Some(page)),
                None => list.iter().any(|entry| **entry == *origin),
            },
            Rule::Predicate(allows) => allows(origin, head),
            Rule::Ask(allows) => return Verdict::Ask(allows(origin, head)),
        };
        if allowed {
            Verdict::Allowed
        } else {
            Verdict::Refused
        }
    }

    pub(crate) fn is_off(&self) -> bool {
        matches!(self.rule, Rule::Off)
    }

    pub(crate) fn sends_credentials(&self) -> bool {
        self.credentials
    }

    fn is_same(&self, page: &Address<'_>, head: &Parts) -> bool {
        let scheme_fits = match self.scheme(head) {
            Some(scheme) => page.has_scheme(scheme.as_str()),
            None => page.has_scheme("http") || page.has_scheme("https"),
        };
        scheme_fits && self.authority(head).is_some_and(|own| page.is_at(&own))
    }

    /// Returns the host that the browser has asked for.
    fn authority<'a>(&self, head: &'a Parts) -> Option<Authority<'a>> {
        if self.trust_forwarded
            && let Some(forwarded) = first_item(&head.headers, &X_FORWARDED_HOST)
        {
            return Authority::parse(forwarded);
        }
        // RFC 9112 § 3.2.2: the authority of the target counts more than the Host header.
        if let Some(authority) = head.uri.authority() {
            return Authority::parse(authority.as_str());
        }
        let mut hosts = head.headers.get_all(HOST).iter();
        let host = hosts.next()?.to_str().ok()?;
        match hosts.next() {
            None => Authority::parse(host),
            Some(_) => None,
        }
    }

    /// Returns the scheme that the browser has used, if it is known.
    fn scheme(&self, head: &Parts) -> Option<Scheme> {
        if self.trust_forwarded
            && let Some(scheme) =
                first_item(&head.headers, &X_FORWARDED_PROTO).and_then(Scheme::forwarded)
        {
            return Some(scheme);
        }
        if let Some(scheme) = head.extensions.get::<Scheme>() {
            return Some(*scheme);
        }
        // `http` in the URI tells only how the last hop came: a proxy that terminates TLS writes it as well.
        (head.uri.scheme() == Some(&http::uri::Scheme::HTTPS)).then_some(Scheme::Https)
    }
}

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Reads `X-Forwarded-Proto`, in which some proxies name the scheme of a WebSocket URL.
    fn forwarded(item: &str) -> Option<Self> {
        let is = |name| item.eq_ignore_ascii_case(name);
        if is("https") || is("wss") {
            Some(Self::Https)
        } else if is("http") || is("ws") {
            Some(Self::Http)
        } else {
            None
        }
    }
}

/// Returns the first item of a comma-separated header, which the proxy next to the browser has written. An empty one
/// counts as none.
fn first_item<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let value = headers.get(name)?.to_str().ok()?;
    let item = value.split(',').next()?.trim();
    (!item.is_empty()).then_some(item)
}

impl Default for Origins {
    fn default() -> Self {
        Self::same()
    }
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origins")
            .field("rule", &self.rule)
            .field("credentials", &self.credentials)
            .field("trust_forwarded", &self.trust_forwarded)
            .finish()
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("Same"),
            Self::Any => f.write_str("Any"),
            Self::List(list) => f.debug_tuple("List").field(list).finish(),
            Self::Predicate(_) => f.write_str("Predicate"),
            Self::Ask(_) => f.write_str("AsyncPredicate"),
            Self::Off => f.write_str("Off"),
        }
    }
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allowed => "Allowed",
            Self::Refused => "Refused",
            Self::Ask(_) => "Ask",
        })
    }
}
