//! The rejection of a client by the application.

use bytes::Bytes;
use engineio_core::SendError;
use http::StatusCode;

/// Rejects a client in a connect handler, with a status and a JSON body.
///
/// The default is the same as in python-engineio: 401 and the JSON string `"Unauthorized"`. A WebSocket client gets the
/// same response in place of the 101.
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
    /// Returns a 401 with `"Unauthorized"`: the client may try again with other credentials.
    #[must_use]
    pub const fn unauthorized() -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            body: Bytes::from_static(br#""Unauthorized""#),
        }
    }

    /// Returns a 403 with the protocol's own body, `{"code":4,"message":"Forbidden"}`.
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

    pub(crate) fn into_parts(self) -> (StatusCode, Bytes) {
        (self.status, self.body)
    }
}

impl Default for Rejection {
    fn default() -> Self {
        Self::unauthorized()
    }
}

/// For the `?` behind a `send` in a connect handler: 503 if more was sent than fits or the handler closed the socket,
/// 500 for a text that cannot be sent at all.
impl<T> From<SendError<T>> for Rejection {
    fn from(error: SendError<T>) -> Self {
        tracing::warn!(target: "engineio::connect", %error, "a connect handler could not send");
        match error {
            SendError::Separator(_) => Self::internal_error(),
            _ => Self::unavailable(),
        }
    }
}
