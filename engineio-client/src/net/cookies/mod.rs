//! Cookies, by which a load balancer keeps a client on the same instance.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{COOKIE, HeaderValue, SET_COOKIE};
use http::{HeaderMap, Uri};

use super::cookie::{Cookie, parse, split_once};
use crate::origin::Origin;

/// The maximum number of cookies of one host. No sensible server sets more; further ones are ignored.
const MAX_COOKIES: usize = 50;

/// The maximum number of cookies of all hosts, those of ten servers, because redirects may lead to any number of them.
const MAX_COOKIES_OF_ALL: usize = 500;

/// The cookies of one or more clients, which the application can read and fill. Cheap to clone: clones share their content.
///
/// Cookies are sent only to the very host that set them, whatever `Domain` says, only for the paths that they cover
/// (RFC 6265 § 5.1.4), and only over `https` if they are `Secure`. Only `https` responses may set, replace or delete
/// `Secure` cookies, and the name prefixes `__Secure-` and `__Host-` have the meaning of RFC 6265bis § 4.1.3. Cookies that
/// the application gave to a builder ([`cookie`](crate::ClientBuilder::cookie)) are sent only to the scheme, host and port
/// of its URL, and from `http` to `https` if both have the default port.
///
/// A jar holds at most 50 cookies of one host and 500 in all, of up to 4,096 bytes each; further ones are ignored until
/// others have expired.
///
/// # Examples
///
/// Reuses a cookie of an earlier request, and shares all cookies between two clients:
///
/// ```no_run
/// # async fn example() -> Result<(), engineio_client::Error> {
/// use engineio_client::{Client, CookieJar};
///
/// let jar = CookieJar::new();
/// jar.store("https://example.com/login", "session=abc; Path=/; Secure");
/// let first = Client::builder("https://example.com").cookie_jar(jar.clone());
/// let second = Client::builder("https://example.com").cookie_jar(jar);
/// # first.connect().await?.close().await;
/// # second.connect().await?.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct CookieJar(Arc<Mutex<Vec<Cookie>>>);

/// Without the values.
impl fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut jar = f.debug_struct("CookieJar");
        jar.field("cookies", &self.lock().len()).finish()
    }
}

impl CookieJar {
    /// Creates an empty jar.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores a cookie, given as the value of a `Set-Cookie` header, as if the server at this URL had sent it. Returns
    /// whether the jar has accepted it; an expired cookie is accepted and deletes the one of the same name and path.
    pub fn store(&self, url: &str, set_cookie: impl AsRef<[u8]>) -> bool {
        let uri = url.parse::<Uri>().ok().filter(|uri| uri.scheme().is_some());
        uri.is_some_and(|uri| self.store_one(&uri, set_cookie.as_ref()))
    }

    /// Returns the value of the `Cookie` header for a request to this URL, or `None` if no cookie applies to it.
    #[must_use]
    pub fn header(&self, url: &str) -> Option<HeaderValue> {
        self.header_for(&url.parse().ok()?, true)
    }

    /// Returns all cookies of servers that have not expired, including those without an expiry, so that the jar can be
    /// saved. Each is a URL and the value of a `Set-Cookie` header, which [`store`](Self::store) accepts.
    ///
    /// Those that the application gave to a builder are left out: a `Set-Cookie` cannot say to which port they may be sent,
    /// and the application has them.
    #[must_use]
    pub fn set_cookies(&self) -> Vec<(String, HeaderValue)> {
        let jar = self.lock();
        let of_servers = jar.iter().filter(|cookie| cookie.owner.is_none());
        let kept = of_servers.filter(|cookie| !cookie.is_over());
        let lines = kept.filter_map(|cookie| {
            let scheme = if cookie.secure { "https" } else { "http" };
            let url = format!("{scheme}://{}/", cookie.host);
            Some((url, HeaderValue::from_bytes(&cookie.line()).ok()?))
        });
        lines.collect()
    }

    /// Removes all cookies.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Cookie>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the cookies of the application for the host of `uri` from its `cookie` headers, in place of those of the same
    /// names, and of those in `former`, the headers of the same client before. Those for an `https` URL are sent over
    /// encrypted connections only.
    pub(super) fn seed(&self, uri: &Uri, own: &HeaderMap, former: &HeaderMap) {
        let owner = Origin::of(uri);
        let own: Vec<Cookie> = pairs(own)
            .map(|(name, value)| Cookie {
                host: owner.host.clone(),
                name: name.to_owned(),
                value: value.to_owned(),
                owner: Some(owner.clone()),
                path: "/".to_owned(),
                secure: owner.is_secure,
                expires: None,
            })
            .collect();
        let mut jar = self.lock();
        jar.retain(|known| {
            let is_new = || own.iter().any(|own| own.name == known.name);
            let is_former = || pairs(former).any(|(name, _)| *name == *known.name);
            let is_replaced = match &known.owner {
                Some(other) => *other == owner && (is_new() || is_former()),
                None => known.host == owner.host && is_new(),
            };
            !is_replaced
        });
        jar.splice(0..0, own);
    }

    /// Stores the cookies of a response.
    pub(super) fn store_all(&self, uri: &Uri, answer: &HeaderMap) {
        for header in answer.get_all(SET_COOKIE) {
            self.store_one(uri, header.as_bytes());
        }
    }

    fn store_one(&self, uri: &Uri, set_cookie: &[u8]) -> bool {
        let Some(cookie) = parse(uri, set_cookie) else {
            return false;
        };
        let origin = Origin::of(uri);
        let mut jar = self.lock();
        let has_same_name = |known: &Cookie| known.host == cookie.host && known.name == cookie.name;
        // Whoever can change unencrypted answers must not get at the cookies of encrypted ones (RFC 6265bis § 5.7).
        let is_protected = |known: &Cookie| {
            known.secure && has_same_name(known) && known.is_for(&cookie.path) && !known.is_over()
        };
        if !origin.is_secure && jar.iter().any(is_protected) {
            return false;
        }
        // Those that are over would take the place of those to come.
        jar.retain(|known| {
            let is_same = match &known.owner {
                Some(owner) => owner.includes(&origin),
                None => known.path == cookie.path,
            };
            let is_replaced = is_same && has_same_name(known);
            !known.is_over() && !is_replaced
        });
        if cookie.is_over() {
            return true;
        }
        let of_host = jar.iter().filter(|known| known.host == cookie.host);
        let has_room = of_host.count() < MAX_COOKIES && jar.len() < MAX_COOKIES_OF_ALL;
        if has_room {
            jar.push(cookie);
        }
        has_room
    }

    /// Returns the value of the `Cookie` header for a request, with or without the cookies that the application gave to a
    /// builder.
    pub(super) fn header_for(&self, uri: &Uri, with_own: bool) -> Option<HeaderValue> {
        let jar = self.lock();
        if jar.is_empty() {
            return None;
        }
        let origin = Origin::of(uri);
        let mut line = Vec::new();
        for cookie in &*jar {
            let is_for_origin = match &cookie.owner {
                Some(owner) => with_own && owner.includes(&origin),
                None => cookie.host == origin.host,
            };
            if is_for_origin
                && cookie.is_for(uri.path())
                && (origin.is_secure || !cookie.secure)
                && !cookie.is_over()
            {
                join(&mut line, &[&*cookie.name, b"=", &cookie.value].concat());
            }
        }
        value(&line)
    }
}

/// Returns the names and values of the cookies in `cookie` headers.
fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let headers = headers.get_all(COOKIE).into_iter();
    let pairs = headers.flat_map(|header| header.as_bytes().split(|&byte| byte == b';'));
    pairs.map(|pair| split_once(pair, b'=').unwrap_or((pair, b"")))
}

/// Returns the value of the `cookie` header for the cookies of the application alone.
pub(super) fn joined(own: &HeaderMap) -> Option<HeaderValue> {
    let mut line = Vec::new();
    for own in own.get_all(COOKIE) {
        join(&mut line, own.as_bytes());
    }
    value(&line)
}

fn value(line: &[u8]) -> Option<HeaderValue> {
    let line = Some(line).filter(|line| !line.is_empty())?;
    let mut value = HeaderValue::from_bytes(line).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn join(line: &mut Vec<u8>, pairs: &[u8]) {
    if !line.is_empty() {
        line.extend(b"; ");
    }
    line.extend(pairs);
}

#[cfg(test)]
mod tests;
