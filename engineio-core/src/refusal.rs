//! Refusals: the reasons for which a request is not served.

use std::fmt;

/// The reason for which a request is not served, with the error code of the protocol.
///
/// Codes 0 to 5 are those of the reference server (`Server.errors` of engine.io 6.6). Where the reference answers without
/// a body, the code is 3 and the message is more specific.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The `transport` query parameter is missing, unknown or not offered.
    UnknownTransport,
    /// No session has this id: it never existed, or it has ended.
    UnknownSid,
    /// A request without a session id must be a GET.
    BadHandshakeMethod,
    /// The request does not fit the state of its session, or is not a valid WebSocket handshake.
    BadRequest,
    /// The origin is not allowed, or a rule of the application forbids the request.
    Forbidden,
    /// The `EIO` query parameter is missing or names a revision that this server does not support.
    UnsupportedVersion,
    /// The `j` query parameter asks for polling by script elements (JSONP), which this server does not allow.
    JsonpNotAllowed,
    /// The method is neither GET nor POST. The session is not affected.
    MethodNotAllowed,
    /// The body is larger than the announced `maxPayload`.
    PayloadTooLarge,
    /// The WebSocket handshake asks for a version other than 13.
    UpgradeRequired,
    /// The server is shutting down, or has reached its limit of sessions.
    Unavailable,
    /// The client has too many sessions.
    TooManyRequests,
}

impl Refusal {
    /// Returns the code in the JSON body, 0 to 5.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::UnknownTransport => 0,
            Self::UnknownSid => 1,
            Self::BadHandshakeMethod => 2,
            Self::Forbidden => 4,
            Self::UnsupportedVersion => 5,
            Self::BadRequest
            | Self::JsonpNotAllowed
            | Self::MethodNotAllowed
            | Self::PayloadTooLarge
            | Self::UpgradeRequired
            | Self::Unavailable
            | Self::TooManyRequests => 3,
        }
    }

    /// Returns the message in the JSON body.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::UnknownTransport => "Transport unknown",
            Self::UnknownSid => "Session ID unknown",
            Self::BadHandshakeMethod => "Bad handshake method",
            Self::BadRequest => "Bad request",
            Self::Forbidden => "Forbidden",
            Self::UnsupportedVersion => "Unsupported protocol version",
            Self::JsonpNotAllowed => "JSONP is not allowed",
            Self::MethodNotAllowed => "Method not allowed",
            Self::PayloadTooLarge => "Payload too large",
            Self::UpgradeRequired => "WebSocket version must be 13",
            Self::Unavailable => "Service unavailable",
            Self::TooManyRequests => "Too many sessions",
        }
    }

    /// Returns the HTTP status: 400, or a more specific one.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::UnknownTransport
            | Self::UnknownSid
            | Self::BadHandshakeMethod
            | Self::BadRequest
            | Self::UnsupportedVersion
            | Self::JsonpNotAllowed => 400,
            Self::Forbidden => 403,
            Self::MethodNotAllowed => 405,
            Self::PayloadTooLarge => 413,
            Self::UpgradeRequired => 426,
            Self::TooManyRequests => 429,
            Self::Unavailable => 503,
        }
    }

    /// Returns the JSON body of the response.
    ///
    /// ```
    /// use engineio_core::Refusal;
    ///
    /// assert_eq!(Refusal::UnknownSid.body(), r#"{"code":1,"message":"Session ID unknown"}"#);
    /// ```
    #[must_use]
    pub fn body(self) -> String {
        format!(
            r#"{{"code":{},"message":"{}"}}"#,
            self.code(),
            self.message()
        )
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Refusal {}
