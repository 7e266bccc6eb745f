//! The targets to which redirects lead.

use http::StatusCode;
use http::uri::PathAndQuery;

use crate::target::{Target, own_parameters};

/// The relation between the target of a redirect and the original server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// To an origin to which the secrets of the first one may go; see [`Origin::includes`](crate::origin::Origin::includes).
    Within,
    Away,
}

/// Returns whether a status redirects the client to its `Location` (RFC 9110 § 15.4). 300 leaves the choice to the user, and
/// 304, 305 and 306 name no other place for the resource.
pub(crate) const fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Returns the scheme of a URL reference, if it has one, and the rest behind the colon (RFC 3986 § 3.1).
fn split_scheme(reference: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = reference.split_once(':')?;
    let is_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let is_scheme =
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(is_char);
    is_scheme.then_some((scheme, rest))
}

/// Returns whether a `Location` is a relative reference, or the beginning of a URL that this client can open.
///
/// A scheme without an authority, as in `javascript:x` and in `http:x`, is neither. RFC 3986 § 5.2.2 tolerates reading
/// the latter as relative, and browsers do, but it is usually a mistake of the server.
pub(crate) fn is_http(location: &str) -> bool {
    let known = ["http", "https", "ws", "wss"];
    split_scheme(location).is_none_or(|(scheme, rest)| {
        known.iter().any(|known| scheme.eq_ignore_ascii_case(known)) && rest.starts_with("//")
    })
}

impl Target {
    /// Resolves the `Location` of a redirect, which may be relative (RFC 3986 § 5.2), and says how far it leads away. `stamp`
    /// is the name of the parameter that makes requests unique. `None` if no request can be made there.
    ///
    /// A location on the same host that has no query keeps that of the application.
    pub(crate) fn moved(&self, location: &str, stamp: Option<&str>) -> Option<(Self, Move)> {
        if !is_http(location) {
            return None;
        }
        let location = location.split('#').next().unwrap_or_default();
        let (location, query) = match location.split_once('?') {
            Some((location, query)) => (location, Some(query)),
            None => (location, None),
        };
        let (scheme, rest) = match split_scheme(location) {
            Some((scheme, rest)) => (scheme, rest),
            None => (self.scheme.as_str(), location),
        };
        let (origin, path) = match rest.strip_prefix("//") {
            Some(rest) => (Some(scheme), rest),
            None => (None, rest),
        };
        let mut to = self.clone();
        to.credentials = None;
        let path = if let Some(scheme) = origin {
            let (authority, path) = path.split_at(path.find('/').unwrap_or(path.len()));
            let origin = Self::parse(&format!("{scheme}://{authority}")).ok()?;
            (to.scheme, to.authority) = (origin.scheme, origin.authority);
            if path.is_empty() { "/" } else { path }.to_owned()
        } else if path.starts_with('/') {
            path.to_owned()
        } else if path.is_empty() {
            self.path.clone()
        } else {
            let directory = self.path.rfind('/').map_or(0, |at| at + 1);
            format!("{}{path}", &self.path[..directory])
        };
        to.path = without_dots(&path);
        to.path.parse::<PathAndQuery>().ok()?;
        let step = match self.origin().includes(&to.origin()) {
            true => Move::Within,
            false => Move::Away,
        };
        if let Some(query) = query {
            let is_stamp = |pair: &&str| pair.split('=').next() == stamp;
            let own = own_parameters(query);
            let own = own.split('&').filter(|pair| !is_stamp(pair));
            to.query = own.collect::<Vec<_>>().join("&");
        } else if step == Move::Away {
            to.query.clear();
        }
        Some((to, step))
    }
}

/// Removes the segments `.` and `..` of an absolute path (RFC 3986 § 5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (at, segment) in segments.iter().enumerate() {
        let is_last = at + 1 == segments.len();
        match *segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            segment => {
                kept.push(segment);
                continue;
            }
        }
        if is_last {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_resolved_and_judged() {
        let mut from = Target::parse("http://h:81/a/b/?own=1").unwrap();
        from.append_query("more", "2");
        for (location, expected, step) in [
            ("https://h/c/", "https://h/c/ ", Move::Away),
            ("https://H:444/c?x=1#f", "https://h:444/c x=1", Move::Away),
            (
                "http://h:81/to/http://x",
                "http://h:81/to/http://x own=1&more=2",
                Move::Within,
            ),
            (
                "/to/http://x:1/",
                "http://h:81/to/http://x:1/ own=1&more=2",
                Move::Within,
            ),
            ("./a:b", "http://h:81/a/b/a:b own=1&more=2", Move::Within),
            ("http://h:/c", "http://h/c ", Move::Away),
            (
                "http://u:pw@h:81",
                "http://h:81/ own=1&more=2",
                Move::Within,
            ),
            ("/c", "http://h:81/c own=1&more=2", Move::Within),
            ("../c/./d/", "http://h:81/a/c/d/ own=1&more=2", Move::Within),
            ("c/..", "http://h:81/a/b/ own=1&more=2", Move::Within),
            ("../../../..", "http://h:81/ own=1&more=2", Move::Within),
            (
                "?y=1&EIO=4&transport=polling&t=1&sid=a",
                "http://h:81/a/b/ y=1",
                Move::Within,
            ),
            ("", "http://h:81/a/b/ own=1&more=2", Move::Within),
            ("//other/c", "http://other/c ", Move::Away),
            ("ws://h:82/c?z=1", "http://h:82/c z=1", Move::Away),
            ("https://h.evil/a/b/", "https://h.evil/a/b/ ", Move::Away),
        ] {
            let (to, judged) = from.moved(location, Some("t")).unwrap();
            assert_eq!(format!("{to} {}", to.query), expected, "{location}");
            assert_eq!(judged, step, "{location}");
        }
        let plain = Target::parse("http://h/?own=1").unwrap();
        for location in ["https://h/", "https://h:443/", "https://h:/"] {
            let (to, step) = plain.moved(location, None).unwrap();
            assert_eq!((&*to.query, step), ("own=1", Move::Within), "{location}");
        }
        let secure = Target::parse("https://h/").unwrap();
        let (_, step) = secure.moved("http://h/engine.io/", None).unwrap();
        assert_eq!(step, Move::Away);
        for location in [
            "ftp://h/",
            "http://",
            "https://h:x/",
            "http:///a",
            "/a b",
            "javascript:alert(1)",
            "JavaScript://h/%0aalert(1)",
            "data:text/html,x",
            "mailto:a@h",
            "file:///etc/passwd",
            "http:x",
            "http:/x",
            "https:",
            "x:y",
        ] {
            assert!(from.moved(location, None).is_none(), "{location}");
        }
    }
}
