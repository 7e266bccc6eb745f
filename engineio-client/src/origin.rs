//! Origins (RFC 6454). Data that was given for one must not be sent to others.

use http::Uri;

/// The scheme, host and port of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) is_secure: bool,
    /// In lower case, an IPv6 address with its brackets.
    pub(crate) host: String,
    port: u16,
}

impl Origin {
    /// Returns the origin of a URL.
    pub(crate) fn of(uri: &Uri) -> Self {
        let is_secure = matches!(uri.scheme_str(), Some("https" | "wss"));
        Self::new(is_secure, uri.host().unwrap_or_default(), uri.port_u16())
    }

    /// Creates one; without a port, it has that of the scheme.
    pub(crate) fn new(is_secure: bool, host: &str, port: Option<u16>) -> Self {
        Self {
            is_secure,
            host: host.to_ascii_lowercase(),
            port: port.unwrap_or(if is_secure { 443 } else { 80 }),
        }
    }

    /// Returns whether data given for this origin may be sent to that one: to itself, and from `http` to `https` on the
    /// same host if both have the default port. Another port may belong to another owner.
    pub(crate) fn includes(&self, to: &Self) -> bool {
        let is_upgrade =
            (self.is_secure, self.port) == (false, 80) && (to.is_secure, to.port) == (true, 443);
        self == to || (is_upgrade && self.host == to.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_with_their_origin_and_follow_it_to_https() {
        let includes = |from: &str, to: &str| {
            let of = |url: &str| Origin::of(&url.parse().unwrap());
            of(from).includes(&of(to))
        };
        for (from, to, expected) in [
            ("http://h/a", "ws://H:80/b", true),
            ("http://h", "https://h", true),
            ("http://h:80", "wss://h:443", true),
            ("https://h", "http://h", false),
            ("http://h:81", "https://h", false),
            ("http://h", "https://h:444", false),
            ("http://h:1", "http://h:2", false),
            ("https://h", "https://h:444", false),
            ("http://h", "https://x.h", false),
            ("https://[::1]", "https://[::1]:443", true),
        ] {
            assert_eq!(includes(from, to), expected, "{from} {to}");
        }
    }
}
