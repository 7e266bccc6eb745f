//! The parts of an origin and of a `Host` header, in the form in which they are compared.

use std::net::Ipv6Addr;

/// A serialised origin of RFC 6454 § 6.2, `scheme://host[:port]`, as a view of its text.
///
/// Equality is that of the web: the case of scheme and host does not matter, a default port equals a missing one,
/// and an IPv6 address is compared as an address and not by its spelling. `ws` and `wss` are read as `http` and `https`:
/// some clients that are no browsers send the URL of the WebSocket as their origin (Starscream).
#[derive(Clone, Copy, Debug)]
pub(super) struct Address<'a> {
    scheme: &'a str,
    authority: Authority<'a>,
}

/// A host with an optional port, as in a `Host` header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Authority<'a> {
    host: Host<'a>,
    port: Option<u16>,
}

#[derive(Clone, Copy, Debug)]
enum Host<'a> {
    Name(&'a str),
    V6(Ipv6Addr),
}

impl<'a> Address<'a> {
    /// Reads an origin; `null`, a path, a query, user information and anything else that is not an origin give `None`.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        // No scheme has a colon.
        let (scheme, rest) = text.split_at(colon(text)?);
        let authority = rest.strip_prefix("://")?;
        let mut bytes = scheme.bytes();
        // RFC 3986 § 3.1.
        let valid = bytes.next()?.is_ascii_alphabetic()
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        valid.then_some(Self {
            scheme: http_scheme(scheme),
            authority: Authority::parse(authority)?,
        })
    }

    /// Returns whether this is an origin with this scheme.
    pub(super) fn has_scheme(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// Returns whether a page of this origin calls the server that it came from, whose name is `authority`.
    ///
    /// A missing port in `authority` is the default port of the page's scheme: which scheme the server itself has
    /// spoken with the browser is a question for the caller.
    pub(super) fn is_at(&self, authority: &Authority<'_>) -> bool {
        self.authority.host == authority.host
            && self.port() == authority.port.or_else(|| default_port(self.scheme))
    }

    fn port(&self) -> Option<u16> {
        self.authority.port.or_else(|| default_port(self.scheme))
    }
}

impl PartialEq for Address<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.has_scheme(other.scheme)
            && self.authority.host == other.authority.host
            && self.port() == other.port()
    }
}

impl<'a> Authority<'a> {
    /// Reads `host`, `host:port`, `[v6]` or `[v6]:port`.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (address, rest) = rest.split_once(']')?;
            let port = match rest {
                "" => None,
                rest => Some(rest.strip_prefix(':')?),
            };
            (Host::V6(address.parse().ok()?), port)
        } else {
            let (name, port) = match colon(text) {
                Some(at) => (&text[..at], Some(&text[at + 1..])),
                None => (text, None),
            };
            if name.is_empty() || !name.bytes().all(is_in_name) {
                return None;
            }
            (Host::Name(name), port)
        };
        let port = match port {
            // `u16::from_str` takes a sign too.
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(port.parse().ok()?)
            }
            Some(_) => return None,
            None => None,
        };
        Some(Self { host, port })
    }
}

impl PartialEq for Host<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(one), Self::Name(other)) => one.eq_ignore_ascii_case(other),
            (Self::V6(one), Self::V6(other)) => one == other,
            _ => false,
        }
    }
}

/// Finds the first colon. Origins are shorter than what a search in text is made for, and every request has one.
fn colon(text: &str) -> Option<usize> {
    text.bytes().position(|byte| byte == b':')
}

/// The characters of a `reg-name` (RFC 3986 § 3.2.2). A table, because every request is checked.
const IN_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"-._~%!$&'()*+,;=";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
};

/// Returns whether a byte may be in a `reg-name`.
fn is_in_name(byte: u8) -> bool {
    IN_NAME[usize::from(byte)]
}

fn http_scheme(scheme: &str) -> &str {
    if scheme.eq_ignore_ascii_case("ws") {
        "http"
    } else if scheme.eq_ignore_ascii_case("wss") {
        "https"
    } else {
        scheme
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    if scheme.eq_ignore_ascii_case("http") {
        Some(80)
    } else if scheme.eq_ignore_ascii_case("https") {
        Some(443)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_origins_may_be_written_differently() {
        for (one, other) in [
            ("https://App.Example.com", "HTTPS://app.example.COM"),
            ("https://a.example:443", "https://a.example"),
            ("http://a.example", "http://a.example:80"),
            ("http://[::1]:3000", "http://[0:0:0:0:0:0:0:1]:3000"),
            ("capacitor://localhost", "capacitor://LOCALHOST"),
            ("ws://a.example:3000", "http://a.example:3000"),
            ("wss://a.example:443", "WSS://a.example"),
            ("wss://a.example", "https://a.example"),
        ] {
            assert_eq!(
                Address::parse(one).unwrap(),
                Address::parse(other).unwrap(),
                "{one} and {other}"
            );
        }
    }

    #[test]
    fn a_difference_in_any_part_is_another_origin() {
        let origin = Address::parse("https://a.example").unwrap();
        for other in [
            "http://a.example",
            "https://a.example:80",
            "https://a.example.",
            "https://b.a.example",
            "https://xa.example",
            "https://a.example.evil.com",
            "http://a.example:443",
            "ws://a.example",
        ] {
            assert_ne!(origin, Address::parse(other).unwrap(), "{other}");
        }
    }

    #[test]
    fn what_is_no_origin_is_not_read() {
        for text in [
            "",
            "null",
            "*",
            "https://",
            "https:",
            "a.example",
            "https://a.example/",
            "https://a.example?x",
            "https://a.example#x",
            "https://user@a.example",
            "https://a.example@evil.com",
            "https://a.example:",
            "https://a.example:+443",
            "https://a.example:65536",
            "https://a.example:80:80",
            "https://a example",
            "https://a.example, https://b.example",
            "https://[::1",
            "https://[::1]443",
            "https://[a.example]",
            "https://::1",
            "1https://a.example",
            "https://ä.example",
        ] {
            assert!(Address::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_page_is_at_the_host_it_names() {
        let is_at = |page, host| {
            Address::parse(page)
                .unwrap()
                .is_at(&Authority::parse(host).unwrap())
        };
        assert!(is_at("https://a.example", "a.example"));
        assert!(is_at("https://a.example", "A.example:443"));
        assert!(is_at("http://a.example:8080", "a.example:8080"));
        assert!(!is_at("http://a.example:8080", "a.example"));
        assert!(!is_at("http://a.example", "a.example:443"));
        assert!(!is_at("http://a.example", "b.example"));
    }
}
