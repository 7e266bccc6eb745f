//! Errors: what was tried, what came back, what to do.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use engineio_core::DisconnectReason;
use http::header::{HeaderName, LOCATION, PROXY_AUTHENTICATE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode, response};

use crate::net::attempt::Attempt;
use crate::net::date::date;
use crate::redirect::is_http;
use crate::secrets::{Secrets, is_open_packet, without_sid};
use crate::target::without_secrets;

/// The reason for which a link ended, and its first cause if that is an error.
pub(crate) type Ended = (DisconnectReason, Option<Error>);

pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// The error of a session that could not be opened, or that neither side ended on purpose.
///
/// [`Display`](fmt::Display) says what was tried, what came back and what to do, but nothing about the
/// [`source`](StdError::source), which is the next level. Cheap to clone.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use engineio_client::{Client, ErrorKind};
///
/// let error = Client::connect("localhost:5000").await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Invalid);
/// assert_eq!(error.to_string(), "the URL `localhost:5000` has no scheme; write `http://localhost:5000`");
/// # }
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    status: Option<StatusCode>,
    code: Option<u64>,
    headers: HeaderMap,
    body: Bytes,
    source: Option<BoxError>,
}

/// The kinds of [`Error`], distinguished by who can do something about them.
///
/// ```no_run
/// use engineio_client::{Client, ErrorKind};
///
/// # async fn run() {
/// match Client::connect("http://localhost:5000").await {
///     Ok(_) => println!("connected"),
///     Err(error) if error.kind() == ErrorKind::Refused => println!("sent away: {:?}", error.status()),
///     Err(error) => println!("{error}"),
/// }
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The URL or an option of the builder cannot be used; nothing was sent.
    Invalid,
    /// No connection to the server, or through the proxy: name resolution, TCP, TLS.
    Connect,
    /// There was no answer within the time limit.
    Timeout,
    /// The server answered with an error status; see [`Error::status`], [`Error::code`] and [`Error::body`].
    Refused,
    /// The server redirects the client, and [`redirects`](crate::ClientBuilder::redirects) does not allow it.
    Redirect,
    /// The connection broke while it was used.
    Transport,
    /// The server's answer is not Engine.IO.
    Protocol,
    /// The server sent more at once than the client accepts.
    TooLarge,
    /// The server did not send its heartbeat, or did not read the client's.
    PingTimeout,
    /// A blocking call was made where it would stop an async runtime.
    InsideRuntime,
    /// The client was closed before it was connected.
    Closed,
    /// The application's [`Reconnect::renew`](crate::Reconnect::renew) failed or gave no answer in time.
    Renewal,
    /// Code of the application that the client had called panicked: a handler, its connector or a stream of that, a
    /// closure of its [`Reconnect`](crate::Reconnect), a metrics recorder or a log subscriber. The client is closed.
    Panicked,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: message.into(),
            status: None,
            code: None,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            source: None,
        }))
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn with_source(self, source: impl Into<BoxError>) -> Self {
        self.change(|inner| inner.source = Some(source.into()))
    }

    /// Creates the error for a handler that panicked, in or after a session that had this error. One of a panic stays.
    pub(crate) fn handler_panicked(before: Option<Self>) -> Self {
        let message = "a handler of the application panicked; the client was closed";
        let panicked = Self::new(ErrorKind::Panicked, message);
        match before {
            Some(before) if before.kind() == ErrorKind::Panicked => before,
            Some(before) => panicked.with_source(before),
            None => panicked,
        }
    }

    /// Creates the error for an error status in the response to `attempt`.
    pub(crate) fn refused(attempt: &Attempt, head: response::Parts, body: Bytes) -> Self {
        Self::refused_with(attempt, &attempt.secrets(), head, body)
    }

    /// Creates the same for a request that is described otherwise.
    pub(crate) fn refused_with(
        attempt: &dyn fmt::Display,
        secrets: &Secrets,
        head: response::Parts,
        body: Bytes,
    ) -> Self {
        let code = refusal_code(&body, secrets);
        let status = head.status;
        let answer = match &code {
            Some((code, Some(message))) => format!("{status} and code {code}, {message}"),
            Some((code, None)) => format!("{status} and code {code}"),
            None => answer(status, &body, secrets),
        };
        let code = code.map(|(code, _)| code);
        let advice = match (status.as_u16(), code) {
            (401 | 403, _) => "check the credentials and the origin that the client sends",
            (407, _) => PROXY_CREDENTIALS,
            (404, _) => "check the host and the path of the server",
            (413, _) => "send smaller messages, or raise the server's limit",
            (429 | 503, _) => "the server is busy: try again later",
            (_, Some(0)) => "the server does not offer this transport: choose another",
            (_, Some(1)) => {
                "the server does not know the session: it was restarted, or a load balancer without sticky sessions \
                 sent the request to another instance; connect again"
            }
            (_, Some(5)) => {
                "the server speaks another revision of the protocol: choose it by `revision`"
            }
            _ => "see the server's log for the reason",
        };
        let message = format!("{attempt} was answered with {answer}; {advice}");
        Self::new(ErrorKind::Refused, message).change(|inner| {
            inner.status = Some(status);
            inner.code = code;
            inner.headers = head.headers;
            inner.body = body;
        })
    }

    /// Creates the error for a proxy that refused a tunnel to this host and port.
    pub(crate) fn refused_by_proxy(
        attempt: &Attempt,
        to: &str,
        head: response::Parts,
        body: Bytes,
    ) -> Self {
        let status = head.status;
        let answer = answer(status, &body, &attempt.secrets());
        let advice = match status.as_u16() {
            407 => PROXY_CREDENTIALS.to_owned(),
            502..=504 => format!("the proxy cannot reach {to}: check the host and the port"),
            _ => {
                format!("the proxy does not allow connections to {to}: see its log for the reason")
            }
        };
        let message = format!("{attempt} was answered with {answer}; {advice}");
        Self::new(ErrorKind::Refused, message).change(|inner| {
            inner.status = Some(status);
            inner.headers = head.headers;
            inner.body = body;
        })
    }

    pub(crate) fn redirect(attempt: &Attempt, head: response::Parts) -> Self {
        let status = head.status;
        let location = head.headers.get(LOCATION);
        let location = location.map(|to| String::from_utf8_lossy(to.as_bytes()));
        let (to, advice) = match &location {
            None => (
                "nowhere".to_owned(),
                "the server should say where in `Location`",
            ),
            Some(to) => {
                let advice = match is_http(to) {
                    true => CONNECT_THERE,
                    false => NO_URL,
                };
                (
                    attempt.secrets().excerpt(without_secrets(to).as_bytes()),
                    advice,
                )
            }
        };
        let message = format!("{attempt} was answered with {status} to {to}; {advice}");
        Self::new(ErrorKind::Redirect, message).change(|inner| {
            inner.status = Some(status);
            inner.headers = head.headers;
        })
    }

    /// Adds the number of redirects that the client followed before this error.
    pub(crate) fn after_redirects(self, count: usize) -> Self {
        self.advising(&format!(
            "{count} redirects were followed before; check that the server does not redirect in a circle, because a proxy \
             does not tell it the scheme or the host, for example"
        ))
    }

    /// Says of a redirect whose location cannot be requested that it cannot.
    pub(crate) fn leading_nowhere(self) -> Self {
        self.advising(NO_URL)
    }

    /// Says of a redirect that is not the answer to a handshake that such ones are not followed.
    pub(crate) fn within_session(self) -> Self {
        self.advising("a session stays where it was opened: redirect the handshake in the server, and nothing else")
    }

    /// Replaces the advice to follow a redirect.
    fn advising(self, advice: &str) -> Self {
        let Some(told) = self.0.message.strip_suffix(CONNECT_THERE) else {
            return self;
        };
        let message = format!("{told}{advice}");
        let head = (self.0.status, self.0.headers.clone());
        Self::new(self.0.kind, message).change(|inner| (inner.status, inner.headers) = head)
    }

    fn change(self, change: impl FnOnce(&mut Inner)) -> Self {
        // Called only while the error is being built, by its one owner.
        let mut this = self;
        if let Some(inner) = Arc::get_mut(&mut this.0) {
            change(inner);
        }
        this
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the HTTP status of the response if the server refused the request, or `None` otherwise.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status.map(|status| status.as_u16())
    }

    /// Returns the `code` of the server's JSON response: 0 unknown transport, 1 unknown session, 2 bad handshake
    /// method, 3 bad request, 4 forbidden, 5 unsupported revision.
    #[must_use]
    pub fn code(&self) -> Option<u64> {
        self.0.code
    }

    /// Returns the first 64 KiB of the response body, or an empty slice if the error is not a refusal. The body may
    /// repeat secrets of the request; the message of the error does not.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.0.body
    }

    /// Returns the headers of the server's or the proxy's response, or an empty map if the error is neither a refusal
    /// nor a redirect. They may contain secrets, such as cookies.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// Returns the time for which the server asks the client to wait before it tries again, counted from now: the
    /// `Retry-After` of the response (RFC 9110 § 10.2.3), in seconds or as a date. Servers send it with 429 and 503.
    /// Zero if the date has passed, and at most 2³¹ seconds, 68 years.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// # async fn example(error: engineio_client::Error) {
    /// let pause = error.retry_after().unwrap_or(Duration::from_secs(5));
    /// tokio::time::sleep(pause).await;
    /// # }
    /// ```
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let value = self.0.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        // What is too large to be read is a long time, and not none (RFC 9111 § 1.2.2).
        let longest = Duration::from_secs(1 << 31);
        if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(
                value
                    .parse()
                    .map_or(longest, Duration::from_secs)
                    .min(longest),
            );
        }
        let until = date(value)?.duration_since(SystemTime::now());
        Some(until.unwrap_or_default().min(longest))
    }

    /// Returns the authentication schemes that the server accepts, with their parameters: each `WWW-Authenticate` of a
    /// 401, or each `Proxy-Authenticate` of a 407 (RFC 9110 § 11.6.1, § 11.7.1).
    pub fn challenges(&self) -> impl Iterator<Item = &str> {
        let name: HeaderName = match self.0.status {
            Some(StatusCode::PROXY_AUTHENTICATION_REQUIRED) => PROXY_AUTHENTICATE,
            _ => WWW_AUTHENTICATE,
        };
        let values = self.0.headers.get_all(name).into_iter();
        values.filter_map(|value| value.to_str().ok())
    }

    /// Returns the whole `Location` of a redirect. Unlike the message of the error, it includes the query, which may
    /// contain secrets. `None` if the error is not a redirect, or had no location in ASCII.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        if self.0.kind != ErrorKind::Redirect {
            return None;
        }
        self.0.headers.get(LOCATION)?.to_str().ok()
    }

    /// Returns the disconnect reason of a session that ends with this error.
    pub(crate) fn reason(&self) -> DisconnectReason {
        match self.0.kind {
            ErrorKind::Refused | ErrorKind::Redirect => DisconnectReason::Refused,
            ErrorKind::TooLarge => DisconnectReason::PayloadTooLarge,
            ErrorKind::Protocol => DisconnectReason::ParseError,
            ErrorKind::PingTimeout => DisconnectReason::PingTimeout,
            ErrorKind::Panicked => DisconnectReason::HandlerPanic,
            _ => DisconnectReason::TransportError,
        }
    }
}

/// The advice for a redirect to something else than a server.
const NO_URL: &str =
    "that is no URL that a request can be made to: use http, https, ws or wss in the server";

/// The advice for a redirect that is not followed.
const CONNECT_THERE: &str = "connect to that URL instead, or allow it by `redirects`";

const PROXY_CREDENTIALS: &str = "the proxy asks for credentials: put them into the proxy's URL";

/// Formats a status, with the beginning of the body if there is one.
fn answer(status: StatusCode, body: &[u8], secrets: &Secrets) -> String {
    match body {
        [] => status.to_string(),
        body if is_open_packet(body) => {
            let shown = without_sid(body);
            format!("{status} and {}", secrets.excerpt(shown.as_bytes()))
        }
        body => format!("{status} and {}", secrets.excerpt(body)),
    }
}

/// Returns the code of an Engine.IO refusal, and its message in quotes.
fn refusal_code(body: &[u8], secrets: &Secrets) -> Option<(u64, Option<String>)> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    let message = json.get("message").and_then(|message| message.as_str());
    let message = message.map(|message| secrets.excerpt(message.as_bytes()));
    let code = json.get("code")?;
    // engineioxide sends the number as a text.
    let code = code.as_u64().or_else(|| code.as_str()?.parse().ok())?;
    Some((code, message))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}
