//! The addresses of NATS servers and the credentials in them, which async-nats does not use.

use async_nats::ConnectOptions;
use percent_encoding::percent_decode_str;

/// The servers of a URL, without credentials.
pub(super) struct Servers {
    pub(super) addresses: Vec<String>,
    pub(super) credentials: Option<Credentials>,
}

/// The credentials of a client of NATS.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    User { name: String, password: String },
    Token(String),
}

impl Servers {
    /// Reads a list of URLs, which are separated by commas. All connections have the same credentials, so one address with
    /// some is enough.
    pub(super) fn parse(urls: &str) -> Result<Self, &'static str> {
        let mut credentials = None;
        let mut addresses = Vec::new();
        for url in urls.split(',').map(str::trim) {
            let (scheme, rest) = match url.split_once("://") {
                Some((scheme, rest)) => (Some(scheme), rest),
                None => (None, url),
            };
            let (own, address) = match rest.rsplit_once('@') {
                Some((own, address)) => (Some(Credentials::parse(own)?), address),
                None => (None, rest),
            };
            addresses.push(match scheme {
                Some(scheme) => format!("{scheme}://{address}"),
                None => address.to_owned(),
            });
            match (&credentials, own) {
                (Some(first), Some(own)) if *first != own => {
                    return Err(
                        "the URLs have different credentials, but each server gets the same",
                    );
                }
                (None, Some(own)) => credentials = Some(own),
                _ => {}
            }
        }
        Ok(Self {
            addresses,
            credentials,
        })
    }
}

impl Credentials {
    /// Reads `user:password`, or a token without a colon, as other clients of NATS do.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let decoded = |text: &str| -> Result<String, &'static str> {
            let text = percent_decode_str(text).decode_utf8();
            let text = text.map_err(|_| "the credentials in the URL are not UTF-8")?;
            Ok(text.into_owned())
        };
        Ok(match text.split_once(':') {
            Some((name, password)) => Self::User {
                name: decoded(name)?,
                password: decoded(password)?,
            },
            None => Self::Token(decoded(text)?),
        })
    }

    /// Adds the credentials to the options of a connection, in place of others.
    pub(super) fn add_to(&self, options: ConnectOptions) -> ConnectOptions {
        match self.clone() {
            Self::User { name, password } => options.user_and_password(name, password),
            Self::Token(token) => options.token(token),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(urls: &str) -> (Vec<String>, Option<Credentials>) {
        let servers = Servers::parse(urls).map_err(str::to_owned).unwrap();
        (servers.addresses, servers.credentials)
    }

    fn user(name: &str, password: &str) -> Option<Credentials> {
        Some(Credentials::User {
            name: name.to_owned(),
            password: password.to_owned(),
        })
    }

    #[test]
    fn credentials_are_taken_out_of_urls() {
        for (urls, addresses, credentials) in [
            ("nats://a:1", &["nats://a:1"][..], None),
            ("a:1", &["a:1"], None),
            ("u:p@a:1", &["a:1"], user("u", "p")),
            ("tls://u:@a", &["tls://a"], user("u", "")),
            (
                "nats://u%40x:p%3A%2f@y@a:1/",
                &["nats://a:1/"],
                user("u@x", "p:/@y"),
            ),
            (
                "nats://t%6Fken@a",
                &["nats://a"],
                Some(Credentials::Token("token".to_owned())),
            ),
            (
                "nats://u:p@a, nats://b, nats://u:p@c",
                &["nats://a", "nats://b", "nats://c"],
                user("u", "p"),
            ),
        ] {
            let (found, own) = parsed(urls);
            assert_eq!(found, addresses, "{urls}");
            assert!(own == credentials, "{urls}");
        }
    }

    #[test]
    fn credentials_that_cannot_be_used_are_refused() {
        for urls in ["nats://u:p@a,nats://u:q@b", "nats://u:%ff@a"] {
            assert!(Servers::parse(urls).is_err(), "{urls}");
        }
    }
}
