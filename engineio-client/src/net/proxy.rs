//! Proxies between the client and the server.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Uri;
use http::header::{HeaderValue, InvalidHeaderValue};

use crate::Error;
use crate::target::{parse_credentials, without_secrets};

#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) kind: ProxyKind,
    /// Host and port, as an `http` URI whatever the kind, or an `https` URI if the connection to the proxy uses TLS.
    pub(crate) uri: Uri,
    credentials: Option<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyKind {
    /// Polling over plain HTTP uses the absolute form of the URI; everything else uses CONNECT.
    Http,
    Socks4,
    /// With `socks5`, the client resolves names; with `socks5h`, the proxy does.
    Socks5 {
        local_dns: bool,
    },
}

impl Proxy {
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let wrong = |what: &str| {
            let shown = without_secrets(url);
            let path = shown.find("://").map_or(0, |at| at + 3);
            let path = shown[path..].find('/').map_or(shown.len(), |at| path + at);
            let shown = shown[..path].escape_debug();
            Error::invalid(format!(
                "the proxy `{shown}` {what}; write it as http://host:port, https://host:port, socks4://host:port, \
                 socks5://host:port or socks5h://host:port"
            ))
        };
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| wrong("has no scheme"))?;
        let scheme = scheme.to_ascii_lowercase();
        let (kind, default_port) = match &*scheme {
            "http" => (ProxyKind::Http, 80),
            "https" => (ProxyKind::Http, 443),
            // The proxy resolves names in both cases.
            "socks4" | "socks4a" => (ProxyKind::Socks4, 1080),
            "socks5" => (ProxyKind::Socks5 { local_dns: true }, 1080),
            "socks5h" => (ProxyKind::Socks5 { local_dns: false }, 1080),
            _ => return Err(wrong("has an unsupported scheme")),
        };
        let (credentials, authority) = match rest.rsplit_once('@') {
            Some((credentials, authority)) => (Some(parse_credentials(credentials)), authority),
            None => (None, rest),
        };
        if kind == ProxyKind::Socks4 && credentials.is_some() {
            return Err(wrong(
                "cannot take a user name and password, because it is SOCKS4",
            ));
        }
        let authority: http::uri::Authority = authority
            .trim_end_matches('/')
            .parse()
            .map_err(|_| wrong("has no valid host"))?;
        if authority.host().is_empty() {
            return Err(wrong("has no host"));
        }
        if authority.host().contains('%') {
            return Err(wrong(
                "has an IPv6 address with a zone, which `resolve` can give to a name",
            ));
        }
        if authority.port_u16().is_none() && authority.as_str() != authority.host() {
            // The default port may be another server, which must not get the credentials.
            return Err(wrong("has no valid port"));
        }
        let port = authority.port_u16().unwrap_or(default_port);
        let scheme = if scheme == "https" { "https" } else { "http" };
        let uri = format!("{scheme}://{}:{port}/", authority.host());
        Ok(Self {
            kind,
            uri: uri.parse().map_err(|_| wrong("has no valid host"))?,
            credentials: credentials.map(|(user, password)| (user, password.unwrap_or_default())),
        })
    }

    /// Returns whether the connection to the proxy uses TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.uri.scheme() == Some(&http::uri::Scheme::HTTPS)
    }

    pub(crate) fn credentials(&self) -> Option<(String, String)> {
        self.credentials.clone()
    }

    /// Returns the `proxy-authorization` header for an HTTP proxy. A SOCKS proxy gets the credentials during its handshake; a
    /// header would pass through it to the server.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        let (user, password) = self.credentials.as_ref()?;
        if self.kind != ProxyKind::Http {
            return None;
        }
        basic(user, password)
    }
}

/// Omits the credentials.
impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut proxy = f.debug_struct("Proxy");
        proxy.field("kind", &self.kind).field("uri", &self.uri);
        proxy.finish_non_exhaustive()
    }
}

/// Returns the value of a header with basic credentials.
pub(crate) fn basic(user: &str, password: &str) -> Option<HeaderValue> {
    let token = STANDARD.encode(format!("{user}:{password}"));
    secret(&format!("Basic {token}")).ok()
}

/// Returns the value of a header that `Debug` does not show.
pub(crate) fn secret(value: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::try_from(value)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_read() {
        let proxy = Proxy::parse("http://user:secret@proxy.example:3128/").unwrap();
        assert_eq!(proxy.uri, "http://proxy.example:3128/");
        assert_eq!(proxy.authorization().unwrap(), "Basic dXNlcjpzZWNyZXQ=");
        let proxy = Proxy::parse("https://proxy.example").unwrap();
        assert!(proxy.is_secure() && proxy.kind == ProxyKind::Http);
        assert_eq!(proxy.uri, "https://proxy.example:443/");
        let proxy = Proxy::parse("socks5h://localhost").unwrap();
        assert_eq!(proxy.kind, ProxyKind::Socks5 { local_dns: false });
        assert_eq!(proxy.uri, "http://localhost:1080/");
        assert!(proxy.authorization().is_none());
        let proxy = Proxy::parse("HTTPS://proxy.example").unwrap();
        assert!(proxy.is_secure() && proxy.uri == "https://proxy.example:443/");
    }

    #[test]
    fn a_wrong_proxy_is_refused_without_its_password() {
        for url in [
            "proxy:80",
            "ftp://u:secret@p",
            "https://u:secret@p:x",
            "http://",
            "http://u:secret@p:99999",
            "socks5://u:secret@p:80x",
            "socks5://u:secret@p:",
            "http://u:secret@:80",
            "http://p:80/?token=secret",
            "http://p:80/secret",
            "p:80/secret?secret",
            "http://u:p/secret?secret@p:x",
            "http://u:?secret@p:x",
            "http://u:#secret@p:x",
            "http://u:secret@[fe80::1%25eth0]:80",
        ] {
            let error = Proxy::parse(url).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
