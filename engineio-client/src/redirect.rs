//! The targets to which redirects lead.

use http::uri::PathAndQuery;

use crate::target::{Target, own_parameters};

/// The relation between the target of a redirect and the original server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// To the same scheme, host and port.
    Within,
    /// From `http` to `https` on the same host.
    Upgrade,
    Away,
}

impl Target {
    /// Resolves the `Location` of a redirect, which may be relative (RFC 3986 § 5.2), and says how far it leads away. `stamp`
    /// is the name of the parameter that makes requests unique. `None` if no request can be made there.
    ///
    /// A location on the same host that has no query keeps that of the application.
    pub(crate) fn moved(&self, location: &str, stamp: Option<&str>) -> Option<(Self, Move)> {
        let location = location.split('#').next().unwrap_or_default();
        let (location, query) = match location.split_once('?') {
            Some((location, query)) => (location, Some(query)),
            None => (location, None),
        };
        let (origin, path) = match location.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => match location.strip_prefix("//") {
                Some(rest) => (Some(self.scheme.as_str()), rest),
                None => (None, location),
            },
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
        let is_same_host = to.authority.host() == self.authority.host();
        let step = match (self.is_secure(), to.is_secure()) {
            (false, true) if is_same_host => Move::Upgrade,
            (before, after) if before == after && is_same_host && to.port() == self.port() => {
                Move::Within
            }
            _ => Move::Away,
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

    fn port(&self) -> u16 {
        let default = if self.is_secure() { 443 } else { 80 };
        self.authority.port_u16().unwrap_or(default)
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
            ("https://h/c/", "https://h/c/ own=1&more=2", Move::Upgrade),
            (
                "https://H:444/c?x=1#f",
                "https://h:444/c x=1",
                Move::Upgrade,
            ),
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
        let secure = Target::parse("https://h/").unwrap();
        let (_, step) = secure.moved("http://h/engine.io/", None).unwrap();
        assert_eq!(step, Move::Away);
        for location in ["ftp://h/", "http://", "https://h:x/", "http:///a", "/a b"] {
            assert!(from.moved(location, None).is_none(), "{location}");
        }
    }
}
