//! How an application turns a client away.

use bytes::Bytes;
use engineio_core::SendError;
use http::StatusCode;

/// The answer to a client that the application does not let in: a status and a JSON body.
///
/// The default is what python-engineio answers: 401 and the JSON string `"Unauthorized"`. A WebSocket client gets the
/// same answer in place of the 101.
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
}

impl Rejection {
    /// 401 with `"Unauthorized"`: the client may try again with other credentials.
    #[must_use]
    pub const fn unauthorized() -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            body: Bytes::from_static(br#""Unauthorized""#),
        }
    }

    /// 403 with the protocol's own body for it, `{"code":4,"message":"Forbidden"}`.
    #[must_use]
    pub const fn forbidden() -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            body: Bytes::from_static(br#"{"code":4,"message":"Forbidden"}"#),
        }
    }

    pub(crate) fn internal_error() -> Self {
        Self::status_code(StatusCode::INTERNAL_SERVER_ERROR).json("Internal server error")
    }

    pub(crate) fn unavailable() -> Self {
        Self::status_code(StatusCode::SERVICE_UNAVAILABLE).json("Service unavailable")
    }

    /// Another status, with `"Unauthorized"` until [`json`](Self::json) replaces it.
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

    /// The same with this value as the JSON body.
    #[must_use]
    pub fn json(self, body: impl Into<serde_json::Value>) -> Self {
        Self {
            body: body.into().to_string().into(),
            ..self
        }
    }

    /// The status of the answer.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The JSON body of the answer.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    pub(crate) fn into_parts(self) -> (StatusCode, Bytes) {
        (self.status, self.body)
    }
}

impl Default for Rejection {
    fn default() -> Self {
        Self::unauthorized()
    }
}

/// For the `?` behind a `send` in a connect handler: 503 if more was sent than fits or the handler closed the socket, 500
/// for a text that cannot be sent at all.
impl<T> From<SendError<T>> for Rejection {
    fn from(error: SendError<T>) -> Self {
        tracing::warn!(target: "engineio::connect", %error, "a connect handler could not send");
        match error {
            SendError::Separator(_) => Self::internal_error(),
            _ => Self::unavailable(),
        }
    }
}
