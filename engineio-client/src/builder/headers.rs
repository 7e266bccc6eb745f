//! Options for the headers, credentials and cookies of every request.

use http::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderName, ORIGIN, USER_AGENT};

use super::ClientBuilder;
use crate::Error;
use crate::net::cookies::CookieJar;
use crate::net::proxy::{basic, secret};

impl<M> ClientBuilder<M> {
    /// Adds a header to every request and to the handshakes of other transports. `user-agent`, `authorization`, `host` and `origin` are
    /// replaced, since there is only one of each.
    ///
    /// `connect` fails with [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if the name is one of those by which requests
    /// are framed, as `content-length`, `transfer-encoding`, `connection`, `upgrade`, `te`, `trailer`, `expect`,
    /// `content-encoding`, `range` and all of `sec-websocket-*` but `sec-websocket-protocol` are, or if it is
    /// `proxy-authorization`, which belongs in the URL of the [`proxy`](Self::proxy).
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::try_from(name), secret(value)) {
            (Ok(name), Ok(value)) => {
                if [USER_AGENT, AUTHORIZATION, HOST, ORIGIN].contains(&name) {
                    self.headers.insert(name, value);
                } else {
                    self.headers.append(name, value);
                }
            }
            (Err(error), _) => {
                let message = format!("`{}` is not the name of a header", name.escape_debug());
                self.fail(Error::invalid(message).with_source(error));
            }
            // The value may be a secret.
            (_, Err(error)) => {
                let message = format!("the value of the header `{name}` cannot be sent");
                self.fail(Error::invalid(message).with_source(error));
            }
        }
        self
    }

    /// Adds headers to every request and to the handshakes of other transports, in place of those given before with the same names.
    /// Names that [`header`](Self::header) refuses are refused here too.
    pub fn headers(mut self, mut headers: HeaderMap) -> Self {
        hide(&mut headers);
        self.headers.extend(headers);
        self
    }

    /// Sends `authorization: Bearer …` with every request. For a token that expires, see [`Reconnect::renew`].
    ///
    /// [`Reconnect::renew`]: crate::Reconnect::renew
    pub fn bearer_auth(mut self, token: &str) -> Self {
        match secret(&format!("Bearer {token}")) {
            Ok(value) => {
                self.headers.insert(AUTHORIZATION, value);
            }
            Err(error) => {
                self.fail(Error::invalid("the bearer token cannot be sent").with_source(error));
            }
        }
        self
    }

    /// Sends `authorization: Basic …` with every request. A user name and password in the URL do the same.
    pub fn basic_auth(mut self, user: &str, password: Option<&str>) -> Self {
        if let Some(value) = basic(user, password.unwrap_or_default()) {
            self.headers.insert(AUTHORIZATION, value);
        }
        self
    }

    /// Sends a cookie with every request, until the server replaces or deletes it.
    pub fn cookie(mut self, name: &str, value: &str) -> Self {
        // A semicolon would begin another cookie.
        let is_one = !name.contains(['=', ';']) && !value.contains(';');
        match secret(&format!("{name}={value}")) {
            Ok(pair) if is_one => {
                self.headers.append(COOKIE, pair);
            }
            _ => {
                let message = format!("the cookie `{}` cannot be sent", name.escape_debug());
                self.fail(Error::invalid(message));
            }
        }
        self
    }

    /// Sets whether cookies that the server sets are sent back to it, on both transports, for the lifetime of the client.
    /// Default: yes, because many load balancers keep a client at one instance with a cookie.
    pub const fn cookies(mut self, cookies: bool) -> Self {
        self.cookies = cookies;
        self
    }

    /// Keeps cookies in this jar, which the application can read and fill, and which other clients may share. It turns
    /// [`cookies`](Self::cookies) on, and also stores those of [`cookie`](Self::cookie). Default: a jar that only this
    /// client uses.
    ///
    /// Clients that share a jar have the same cookies, as the tabs of a browser: a cookie that one of them is given
    /// replaces that of the same name for all, in running sessions too. Clients of different users need different jars.
    pub fn cookie_jar(mut self, jar: CookieJar) -> Self {
        self.jar = jar;
        self.cookies = true;
        self
    }
}

/// Marks all values as secrets, which are not shown when the map is printed.
pub(crate) fn hide(headers: &mut HeaderMap) {
    for value in headers.values_mut() {
        value.set_sensitive(true);
    }
}
