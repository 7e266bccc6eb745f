//! The cookie that carries the session id.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use engineio_core::Sid;
use http::HeaderValue;
use http::request::Parts;

/// A cookie with the session id, set by the handshake response (the 101 of a WebSocket handshake included).
///
/// The protocol does not need it: it is for load balancers that keep the requests of a client on one server. None is
/// sent unless one is configured. The defaults are those of engine.io: `io=<sid>; Path=/; HttpOnly; SameSite=Lax`,
/// without `Secure`, `Domain` and `Max-Age` (the browser forgets it when it is closed).
///
/// ```
/// use std::time::Duration;
/// use engineio_tower::{SameSite, SidCookie};
///
/// let sticky = SidCookie::new("io")
///     .path("/realtime")
///     .secure(true)
///     .same_site(SameSite::Strict)
///     .max_age(Duration::from_secs(3600));
/// # let _ = sticky;
/// ```
#[derive(Clone, Debug)]
pub struct SidCookie(Source);

#[derive(Clone, Debug)]
enum Source {
    Fixed(Attributes),
    Function(Function),
}

#[derive(Clone, Debug)]
struct Attributes {
    name: Cow<'static, str>,
    path: Option<Cow<'static, str>>,
    domain: Option<Cow<'static, str>>,
    http_only: bool,
    secure: Option<bool>,
    partitioned: bool,
    same_site: SameSite,
    max_age: Option<Duration>,
}

#[derive(Clone)]
struct Function(Arc<Write>);

type Write = dyn Fn(&Sid, &Parts) -> Option<HeaderValue> + Send + Sync;

/// The policy by which a browser sends the cookie with requests that another site has caused (RFC 6265bis § 5.2).
///
/// ```
/// use engineio_tower::{SameSite, SidCookie};
///
/// // For pages of another site that embed this one.
/// let cookie = SidCookie::new("io").same_site(SameSite::None);
/// # let _ = cookie;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SameSite {
    /// Never.
    Strict,
    /// Only when the user follows a link to this site; the default.
    #[default]
    Lax,
    /// Always. Browsers accept this only with `Secure`, so `Secure` is added unless it is [switched
    /// off](SidCookie::secure).
    None,
}

impl SidCookie {
    /// Creates a cookie with the default attributes.
    ///
    /// # Panics
    ///
    /// Panics if the name is empty or has a character that RFC 6265 § 4.1.1 does not allow: controls, spaces, and any
    /// of `()<>@,;:\"/[]?={}`.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        let name = name.into();
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        assert!(
            !name.is_empty() && name.bytes().all(is_token),
            "{name:?} is not the name of a cookie: use letters, digits, '-' and '_'"
        );
        Self(Source::Fixed(Attributes {
            name,
            path: Some(Cow::Borrowed("/")),
            domain: None,
            http_only: true,
            secure: None,
            partitioned: false,
            same_site: SameSite::default(),
            max_age: None,
        }))
    }

    /// Creates a cookie whose `Set-Cookie` value comes from a function. If the function returns `None`, no cookie is
    /// set.
    ///
    /// The other options have no effect on such a cookie. The function can choose among prepared ones:
    ///
    /// ```
    /// use engineio_tower::SidCookie;
    ///
    /// let (open, secure) = (SidCookie::new("io"), SidCookie::new("io").secure(true));
    /// let cookie = SidCookie::from_fn(move |sid, request| match request.headers.get("x-forwarded-proto") {
    ///     Some(proto) if proto == "https" => secure.header(sid, request),
    ///     _ => open.header(sid, request),
    /// });
    /// # let _ = cookie;
    /// ```
    #[must_use]
    pub fn from_fn<F>(write: F) -> Self
    where
        F: Fn(&Sid, &Parts) -> Option<HeaderValue> + Send + Sync + 'static,
    {
        Self(Source::Function(Function(Arc::new(write))))
    }

    /// Sets the paths for which the browser sends the cookie. Default: `/`.
    ///
    /// # Panics
    ///
    /// Panics if the path does not begin with `/` (browsers would replace it by one of their own), or contains a `;` or
    /// a character that is not printable ASCII.
    #[must_use]
    pub fn path(self, path: impl Into<Cow<'static, str>>) -> Self {
        let path = path.into();
        let is_allowed = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b';';
        assert!(
            path.starts_with('/') && path.bytes().all(is_allowed),
            "{path:?} is not the path of a cookie: it begins with '/' and is ASCII without ';'"
        );
        self.with(|cookie| cookie.path = Some(path))
    }

    /// Leaves the path to the browser, which takes the directory of the Engine.IO path.
    #[must_use]
    pub fn without_path(self) -> Self {
        self.with(|cookie| cookie.path = None)
    }

    /// Sets the host to which the browser sends the cookie, including its subdomains. Default: only the host that has
    /// set it, without subdomains.
    ///
    /// # Panics
    ///
    /// Panics if the domain is empty or has characters other than letters, digits, `-` and `.`; an international name
    /// is written in its ASCII form (`xn--…`).
    #[must_use]
    pub fn domain(self, domain: impl Into<Cow<'static, str>>) -> Self {
        let domain = domain.into();
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        assert!(
            domain.bytes().any(|byte| byte != b'.') && domain.bytes().all(is_allowed),
            "{domain:?} is not the domain of a cookie: write a host name in ASCII"
        );
        self.with(|cookie| cookie.domain = Some(domain))
    }

    /// Sets whether the cookie is hidden from scripts of the page (`HttpOnly`). On by default.
    #[must_use]
    pub fn http_only(self, http_only: bool) -> Self {
        self.with(|cookie| cookie.http_only = http_only)
    }

    /// Sets whether the cookie is sent over TLS only (`Secure`). Off by default, except with [`SameSite::None`].
    #[must_use]
    pub fn secure(self, secure: bool) -> Self {
        self.with(|cookie| cookie.secure = Some(secure))
    }

    /// Sets whether an embedded page gets a separate cookie for each embedding site (`Partitioned`). Off by default.
    /// Browsers require `Secure` with it, which is added.
    #[must_use]
    pub fn partitioned(self, partitioned: bool) -> Self {
        self.with(|cookie| cookie.partitioned = partitioned)
    }

    /// Sets when the browser sends the cookie with requests that another site has caused. Default: [`SameSite::Lax`].
    #[must_use]
    pub fn same_site(self, same_site: SameSite) -> Self {
        self.with(|cookie| cookie.same_site = same_site)
    }

    /// Sets the time for which the browser keeps the cookie, in whole seconds (a fraction is cut off; zero deletes it).
    /// Default: until the browser is closed.
    #[must_use]
    pub fn max_age(self, max_age: Duration) -> Self {
        self.with(|cookie| cookie.max_age = Some(max_age))
    }

    /// Returns the value of the `Set-Cookie` header for a new session. `None` only if the function of
    /// [`from_fn`](Self::from_fn) returns it.
    #[must_use]
    pub fn header(&self, sid: &Sid, head: &Parts) -> Option<HeaderValue> {
        match &self.0 {
            // Names, paths and domains were checked when they were set, so that the value always is one.
            Source::Fixed(attributes) => HeaderValue::try_from(attributes.write(sid)).ok(),
            Source::Function(function) => (function.0)(sid, head),
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Attributes)) -> Self {
        if let Source::Fixed(attributes) = &mut self.0 {
            change(attributes);
        }
        self
    }
}

impl Attributes {
    /// Writes the header's value. Nothing is to be escaped: every part was checked when it was set, and so is a sid.
    fn write(&self, sid: &Sid) -> String {
        let mut cookie = format!("{}={sid}", self.name);
        let mut add = |attribute: &str, value: &str| {
            cookie.push_str(attribute);
            cookie.push_str(value);
        };
        if self.http_only {
            add("; HttpOnly", "");
        }
        match self.same_site {
            SameSite::Strict => add("; SameSite=", "Strict"),
            SameSite::Lax => add("; SameSite=", "Lax"),
            SameSite::None => add("; SameSite=", "None"),
        }
        if self.partitioned {
            add("; Partitioned", "");
        }
        let needs_secure = self.same_site == SameSite::None;
        if self.partitioned || self.secure.unwrap_or(needs_secure) {
            add("; Secure", "");
        }
        if let Some(path) = &self.path {
            add("; Path=", path);
        }
        if let Some(domain) = &self.domain {
            // RFC 6265 § 5.2.3 ignores a leading dot.
            add("; Domain=", domain.strip_prefix('.').unwrap_or(domain));
        }
        if let Some(max_age) = self.max_age {
            let seconds = i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX);
            add("; Max-Age=", &seconds.to_string());
        }
        cookie
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Function")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn written(cookie: &SidCookie) -> String {
        let head = http::Request::new(()).into_parts().0;
        let value = cookie.header(&"abc-123".parse().unwrap(), &head);
        value.unwrap().to_str().unwrap().to_owned()
    }

    /// The order of the attributes carries no meaning.
    fn assert_written(cookie: SidCookie, expected: &str) {
        let written = written(&cookie);
        let parts = |text: &str| -> BTreeSet<String> { text.split("; ").map(Into::into).collect() };
        assert_eq!(parts(&written), parts(expected), "{written}");
        assert_eq!(written.split(';').next(), expected.split(';').next());
    }

    #[test]
    fn the_defaults_are_those_of_the_reference() {
        assert_written(
            SidCookie::new("io"),
            "io=abc-123; Path=/; HttpOnly; SameSite=Lax",
        );
    }

    #[test]
    fn every_attribute_is_written() {
        assert_written(
            SidCookie::new("eid")
                .path("/x")
                .domain("a.example")
                .http_only(false)
                .secure(true)
                .partitioned(true)
                .same_site(SameSite::Strict)
                .max_age(Duration::from_millis(90_999)),
            "eid=abc-123; Path=/x; Domain=a.example; Secure; Partitioned; SameSite=Strict; Max-Age=90",
        );
        assert_written(
            SidCookie::new("io").without_path().max_age(Duration::MAX),
            &format!("io=abc-123; HttpOnly; SameSite=Lax; Max-Age={}", i64::MAX),
        );
    }

    #[test]
    fn same_site_none_is_secure_unless_said_otherwise() {
        let cookie = SidCookie::new("io").same_site(SameSite::None);
        assert_written(
            cookie.clone(),
            "io=abc-123; Path=/; HttpOnly; SameSite=None; Secure",
        );
        assert_written(
            cookie.secure(false),
            "io=abc-123; Path=/; HttpOnly; SameSite=None",
        );
    }

    #[test]
    fn a_function_may_write_or_leave_out() {
        let cookie = SidCookie::from_fn(|sid, head| {
            let browser = head.headers.contains_key("origin");
            browser.then(|| HeaderValue::try_from(format!("node=1.{sid}")).unwrap())
        });
        let (mut head, ()) = http::Request::new(()).into_parts();
        let sid = "abc".parse().unwrap();
        assert_eq!(cookie.header(&sid, &head), None);
        head.headers
            .insert("origin", HeaderValue::from_static("null"));
        assert_eq!(cookie.header(&sid, &head).unwrap(), "node=1.abc");
    }

    #[test]
    fn what_would_break_the_header_is_refused_when_built() {
        // The class of CVE-2024-47764: attributes smuggled in through a name or a path.
        let panics = |build: fn()| engineio_core::driver::catch_panic(build).is_err();
        assert!(panics(|| drop(SidCookie::new(""))));
        assert!(panics(|| drop(SidCookie::new("a b"))));
        assert!(panics(|| drop(SidCookie::new("io=x; Domain"))));
        assert!(panics(|| drop(SidCookie::new("ö"))));
        assert!(panics(|| drop(SidCookie::new("io").path("x"))));
        assert!(panics(|| drop(SidCookie::new("io").path("/;Secure"))));
        assert!(panics(|| drop(SidCookie::new("io").path("/\r\nX: y"))));
        assert!(panics(|| drop(SidCookie::new("io").domain(""))));
        assert!(panics(|| drop(SidCookie::new("io").domain("a.b;c"))));
        assert!(!panics(|| drop(
            SidCookie::new("__Host-io").path("/a b").domain(".a.b")
        )));
    }
}
