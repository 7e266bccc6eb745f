//! The proxies that environment variables name, read as curl reads them.

use std::fmt;
use std::sync::Arc;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

use super::dial::whole;
use super::proxy::Proxy;
use crate::Error;

#[derive(Clone)]
pub(crate) struct Environment {
    http: Option<Proxy>,
    https: Option<Proxy>,
    /// Matches all URLs except those that `NO_PROXY` excludes.
    matcher: Arc<Matcher>,
}

/// Without the credentials.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("http", &self.http)
            .field("https", &self.https)
            .finish_non_exhaustive()
    }
}

impl Environment {
    /// Reads the variables; `get` returns the value of one.
    ///
    /// As curl does, `HTTP_PROXY` is not read: in a CGI program, a client could set it by a header `Proxy`.
    pub(crate) fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let value = |names: &[&'static str]| {
            let mut found = names.iter().map(|name| (*name, get(name)));
            found.find_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)))
        };
        let proxy = |names: &[&'static str]| {
            let Some((name, url)) = value(names) else {
                return Ok(None);
            };
            let url = match url.contains("://") {
                true => url,
                false => format!("http://{url}"),
            };
            Proxy::parse(&url).map(Some).map_err(|error| {
                Error::invalid(format!(
                    "the environment variable `{name}` cannot be used: {error}"
                ))
            })
        };
        let all = proxy(&["all_proxy", "ALL_PROXY"])?;
        let exceptions = value(&["no_proxy", "NO_PROXY"]).unwrap_or_default().1;
        let exceptions = exceptions.split(',').map(|name| whole(name.trim()));
        let exceptions = exceptions.collect::<Vec<_>>().join(",");
        let matcher = Matcher::builder().all("http://proxy.invalid");
        Ok(Self {
            http: proxy(&["http_proxy"])?.or_else(|| all.clone()),
            https: proxy(&["https_proxy", "HTTPS_PROXY"])?.or(all),
            matcher: Arc::new(matcher.no(exceptions).build()),
        })
    }

    /// Returns the proxy for the host of a URL.
    pub(super) fn proxy(&self, uri: &Uri) -> Option<&Proxy> {
        let host = uri.host().unwrap_or_default();
        match whole(host) {
            name if name == host => self.matcher.intercept(uri),
            name => self.matcher.intercept(&with_host(uri, name)?),
        }?;
        match uri.scheme_str() {
            Some("https") => self.https.as_ref(),
            _ => self.http.as_ref(),
        }
    }

    /// Returns whether the connection to a proxy uses TLS.
    pub(crate) fn is_secure(&self) -> bool {
        let mut proxies = self.http.iter().chain(&self.https);
        proxies.any(Proxy::is_secure)
    }
}

/// Returns the origin of a URL with another host.
fn with_host(uri: &Uri, host: &str) -> Option<Uri> {
    let origin = Uri::builder()
        .scheme(uri.scheme()?.clone())
        .authority(host)
        .path_and_query("/");
    origin.build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &'static [(&str, &str)]) -> Result<Environment, Error> {
        Environment::read(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn proxies(variables: &'static [(&str, &str)], urls: &[&str]) -> Vec<String> {
        let environment = read(variables).unwrap();
        let proxy = |url: &&str| {
            let proxy = environment.proxy(&url.parse().unwrap());
            proxy.map_or_else(String::new, |proxy| {
                proxy.uri.authority().unwrap().to_string()
            })
        };
        urls.iter().map(proxy).collect()
    }

    #[test]
    fn the_scheme_chooses_the_variable_and_small_letters_come_first() {
        let urls = ["http://h/", "https://h/"];
        let all = &[
            ("http_proxy", "a:1"),
            ("https_proxy", "http://b:2"),
            ("HTTPS_PROXY", "c:3"),
        ];
        assert_eq!(proxies(all, &urls), ["a:1", "b:2"]);
        let upper = &[("HTTP_PROXY", "a:1"), ("HTTPS_PROXY", "c:3")];
        assert_eq!(proxies(upper, &urls), ["", "c:3"]);
        let rest = &[
            ("ALL_PROXY", "socks5://d"),
            ("http_proxy", ""),
            ("https_proxy", "b:2"),
        ];
        assert_eq!(proxies(rest, &urls), ["d:1080", "b:2"]);
        assert_eq!(proxies(&[], &urls), ["", ""]);
    }

    #[test]
    fn exceptions_are_names_with_what_is_below_them_addresses_and_networks() {
        let variables = &[
            ("all_proxy", "p:1"),
            (
                "NO_PROXY",
                "a.example, .b.example,c.example. ,10.0.0.0/8,::1",
            ),
        ];
        let urls = [
            "http://a.example/",
            "http://x.A.example/",
            "https://b.example/",
            "http://x.c.example/",
            "http://a.example.:81/",
            "http://d.example./",
            "http://nota.example/",
            "http://10.1.2.3:5000/",
            "http://11.1.2.3/",
            "http://[::1]/",
        ];
        let expected = ["", "", "", "", "", "p:1", "p:1", "", "p:1", ""];
        assert_eq!(proxies(variables, &urls), expected);
        let variables = &[("all_proxy", "p:1"), ("no_proxy", "*")];
        assert_eq!(proxies(variables, &["http://h/"]), [""]);
        // What curl does not understand excludes nothing.
        let variables = &[
            ("all_proxy", "p:1"),
            (
                "no_proxy",
                "10.1.2.3/33,::1/129,[::1],10.1.2.3/-1,::ffff:10.1.2.3",
            ),
        ];
        let urls = ["http://10.1.2.3/", "http://[::1]/"];
        assert_eq!(proxies(variables, &urls), ["p:1", "p:1"]);
    }

    #[test]
    fn a_wrong_value_is_refused_with_the_name_of_its_variable_and_without_its_password() {
        let error = read(&[("https_proxy", "ftp://u:secret@p")])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`https_proxy`") && !error.contains("secret"),
            "{error}"
        );
    }
}
