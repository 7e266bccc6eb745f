//! The forms in which the head of a request says where it goes.

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};

use crate::Error;

/// Returns the value of `Host` (RFC 9110 § 7.2): without the default port of the scheme.
pub(super) fn host(uri: &Uri) -> Result<HeaderValue, Error> {
    let default = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => 443,
        _ => 80,
    };
    let authority = uri.authority().map_or("", Authority::as_str);
    let host = match uri.port_u16() {
        Some(port) if port != default => authority.rsplit('@').next().unwrap_or_default(),
        _ => uri.host().unwrap_or_default(),
    };
    let value = HeaderValue::from_str(host);
    value.map_err(|_| Error::invalid("the host cannot be sent in a header"))
}

/// Returns the path and the query alone, as a server gets them (RFC 9112 § 3.2.1).
pub(super) fn origin_form(uri: &Uri) -> Uri {
    let root = || PathAndQuery::from_static("/");
    uri.path_and_query().cloned().unwrap_or_else(root).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_port_is_not_part_of_the_host() {
        for (uri, expected) in [
            ("http://h/", "h"),
            ("http://h:80/", "h"),
            ("https://h:443/", "h"),
            ("https://h:80/", "h:80"),
            ("http://h:443/", "h:443"),
            ("http://[::1]:80/", "[::1]"),
            ("http://user:pw@h:5000/", "h:5000"),
        ] {
            assert_eq!(host(&uri.parse().unwrap()).unwrap(), expected, "{uri}");
        }
    }

    #[test]
    fn a_server_gets_the_path_and_the_query() {
        for (uri, expected) in [("http://h", "/"), ("https://h:1/a/?b=c", "/a/?b=c")] {
            assert_eq!(origin_form(&uri.parse().unwrap()), expected, "{uri}");
        }
    }
}
