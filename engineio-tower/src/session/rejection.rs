//! The rejection of a client by the application.

use bytes::Bytes;
use engineio_core::{Refusal, SendError};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::repeated::log_repeated;

/// Rejects a client in a connect handler, with a status, a JSON body and headers.
///
/// The default is the same as in python-engineio: 401 and the JSON string `"Unauthorized"`. A WebSocket client gets the
/// same response in place of the 101. A 401 has `WWW-Authenticate: Bearer` unless [`header`](Self::header) sets another
/// challenge, because RFC 9110 § 15.5.2 requires one; browsers show no password prompt for it.
///
/// # Examples
///
/// ```
/// use engineio_tower::Rejection;
/// use http::StatusCode;
/// use serde_json::json;
///
/// let rejection = Rejection::unauthorized().json(json!({ "reason": "token expired" }));
/// assert_eq!(rejection.status(), StatusCode::UNAUTHORIZED);
/// assert_eq!(rejection.body(), r#"{"reason":"token expired"}"#);
/// ```
#[derive(Clone, Debug)]
pub struct Rejection {
    status: StatusCode,
    body: Bytes,
    /// Boxed, as few rejections have any.
    headers: Option<Box<HeaderMap>>,
}

impl Rejection {
    /// Returns a 401 with `"Unauthorized"`: the client may try again with other credentials.
    #[must_use]
    pub const fn unauthorized() -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            body: Bytes::from_static(br#""Unauthorized""#),
            headers: None,
        }
    }

    /// Returns a 403 with the protocol's own body, `{"code":4,"message":"Forbidden"}`.
    #[must_use]
    pub const fn forbidden() -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            body: Bytes::from_static(br#"{"code":4,"message":"Forbidden"}"#),
            headers: None,
        }
    }

    pub(crate) fn internal_error() -> Self {
        Self::status_code(StatusCode::INTERNAL_SERVER_ERROR).json("Internal server error")
    }

    pub(crate) fn unavailable() -> Self {
        Self {
            body: Refusal::Unavailable.body().into(),
            ..Self::status_code(StatusCode::SERVICE_UNAVAILABLE)
        }
    }

    /// Returns a rejection with this status, and `"Unauthorized"` until [`json`](Self::json) replaces it.
    ///
    /// # Panics
    ///
    /// Panics unless the status is that of an error, 400 to 599: a client would take anything else for an open
    /// session.
    #[must_use]
    pub fn status_code(status: StatusCode) -> Self {
        assert!(
            status.is_client_error() || status.is_server_error(),
            "a client is refused with a status from 400 to 599, not with {status}"
        );
        Self {
            status,
            ..Self::unauthorized()
        }
    }

    /// Replaces the JSON body.
    #[must_use]
    pub fn json(self, body: impl Into<serde_json::Value>) -> Self {
        Self {
            body: body.into().to_string().into(),
            ..self
        }
    }

    /// Sets a header, such as `WWW-Authenticate` on a 401 or `Retry-After` on a 429 or 503; replaces one of that name.
    ///
    /// `Connection`, `Content-Length`, `Transfer-Encoding` and `Upgrade` are ignored: the host sets them.
    ///
    /// ```
    /// use engineio_tower::Rejection;
    /// use http::header::{HeaderValue, WWW_AUTHENTICATE};
    ///
    /// let challenge = HeaderValue::from_static("Basic realm=\"chat\"");
    /// let rejection = Rejection::unauthorized().header(WWW_AUTHENTICATE, challenge);
    /// # let _ = rejection;
    /// ```
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.get_or_insert_default().insert(name, value);
        self
    }

    /// Returns the status of the response.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the JSON body of the response.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    pub(crate) fn into_parts(self) -> (StatusCode, Bytes, HeaderMap) {
        let mut headers = self.headers.map(|headers| *headers).unwrap_or_default();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer");
            headers.entry(WWW_AUTHENTICATE).or_insert(challenge);
        }
        (self.status, self.body, headers)
    }
}

impl Default for Rejection {
    fn default() -> Self {
        Self::unauthorized()
    }
}

/// For the `?` behind a `send` in a connect handler: 503 if more was sent than fits or the handler closed the socket,
/// 500 for what cannot be sent at all.
impl<T> From<SendError<T>> for Rejection {
    fn from(error: SendError<T>) -> Self {
        log_repeated!(warn, target: "engineio::connect", %error, "a connect handler could not send");
        match error {
            SendError::Separator(_) | SendError::TooLarge(_) => Self::internal_error(),
            _ => Self::unavailable(),
        }
    }
}
