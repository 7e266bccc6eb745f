//! Credentials that are renewed before an attempt to connect again.

use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};

use crate::Error;
use crate::net::headers::check;
use crate::net::proxy::secret;

/// Headers and query parameters for the next session, which replace those with the same names; see
/// [`Reconnect::renew`](super::Reconnect::renew). Default: none, which changes nothing.
///
/// # Examples
///
/// ```
/// use engineio_client::Renewal;
///
/// let renewal = Renewal::new().bearer_auth("fresh").query("token", "fresh");
/// ```
#[derive(Clone, Default)]
#[must_use = "a renewal does nothing until it is returned to the policy"]
pub struct Renewal {
    pub(crate) headers: HeaderMap,
    pub(crate) query: Vec<(String, String)>,
    /// The first value that cannot be sent.
    invalid: Option<Error>,
}

impl Renewal {
    /// Creates a renewal that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces a header. A name or a value that cannot be sent fails the attempt to connect; so does a name that
    /// [`ClientBuilder::header`](crate::ClientBuilder::header) refuses.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::try_from(name), secret(value)) {
            (Ok(name), Ok(value)) => self.set(name, value),
            (Err(error), _) => {
                let message = format!("`{}` is not the name of a header", name.escape_debug());
                self.fail(Error::invalid(message).with_source(error));
            }
            (_, Err(error)) => {
                let message = format!("the new value of the header `{name}` cannot be sent");
                self.fail(Error::invalid(message).with_source(error));
            }
        }
        self
    }

    /// Replaces several headers.
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers);
        self
    }

    /// Replaces `authorization` by `Bearer` and this token.
    pub fn bearer_auth(mut self, token: &str) -> Self {
        match secret(&format!("Bearer {token}")) {
            Ok(value) => self.set(AUTHORIZATION, value),
            Err(error) => {
                self.fail(Error::invalid("the bearer token cannot be sent").with_source(error));
            }
        }
        self
    }

    /// Replaces a query parameter, which is percent-encoded. The names that the protocol uses, `EIO`, `transport` and
    /// `sid`, are left out.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.headers.insert(name, value);
    }

    fn fail(&mut self, error: Error) {
        self.invalid.get_or_insert(error);
    }

    /// Checks that everything can be sent.
    pub(crate) fn checked(mut self) -> Result<Self, Error> {
        match self.invalid.take() {
            Some(error) => Err(error),
            None => check(&self.headers).map(|()| self),
        }
    }
}

/// Shows names only: the values are secrets.
impl std::fmt::Debug for Renewal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let query: Vec<&str> = self.query.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Renewal")
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("query", &query)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_value_that_cannot_be_sent_fails_the_renewal_and_is_not_shown() {
        for renewal in [
            Renewal::new().header("x-token", "SECRET\n"),
            Renewal::new().header("x token", "SECRET"),
            Renewal::new().bearer_auth("SECRET\n"),
        ] {
            let error = renewal.header("fine", "fine").checked().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(
                !format!("{error} {error:?}").contains("SECRET"),
                "{error:?}"
            );
        }
    }

    #[test]
    fn debug_output_shows_names_without_values() {
        let renewal = Renewal::new()
            .header("x-token", "SECRET")
            .query("token", "SECRET");
        let shown = format!("{renewal:?}");
        assert!(
            shown.contains("x-token") && shown.contains("token"),
            "{shown}"
        );
        assert!(!shown.contains("SECRET"), "{shown}");
    }
}
