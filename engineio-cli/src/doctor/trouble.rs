//! The ways in which a request gets no answer, and what to do about them.

use std::error::Error as StdError;
use std::fmt::{self, Display};
use std::io;
use std::time::Duration;

use reqwest::StatusCode;

use super::probe::LARGEST_BODY;
use crate::failure::with_causes;

/// A request without an answer, or without the whole of it.
#[derive(Debug)]
pub(super) enum Trouble {
    /// No TCP connection, to the server or the proxy.
    NoConnection(String),
    /// Nothing answered the attempt to connect in this time.
    NoConnectionInTime(Duration),
    /// The connection could not be secured.
    Tls(String),
    /// Connected, and no answer came in this time.
    NoAnswer(Duration),
    /// Connected, and closed without an answer, or what came is not HTTP.
    NotHttp(String),
    /// The answer stopped in its body.
    Cut(StatusCode, String),
    /// The body did not end in this time.
    Endless(StatusCode, Duration),
    TooLarge(StatusCode),
}

impl Trouble {
    /// Returns the trouble of a request that failed after this time, before there was an answer.
    pub(super) fn without_answer(error: &reqwest::Error, waited: Duration) -> Self {
        let text = cause(error);
        match (error.is_connect(), error.is_timeout()) {
            _ if is_tls(error) => Self::Tls(text),
            (true, true) => Self::NoConnectionInTime(waited),
            (true, false) => Self::NoConnection(text),
            (false, true) => Self::NoAnswer(waited),
            (false, false) => Self::NotHttp(text),
        }
    }

    /// Returns the trouble of a request that failed after this time, in the body of the answer.
    pub(super) fn in_body(status: StatusCode, error: &reqwest::Error, waited: Duration) -> Self {
        match error.is_timeout() {
            true => Self::Endless(status, waited),
            false => Self::Cut(status, cause(error)),
        }
    }

    /// Returns the status of the answer, if it had one.
    pub(super) const fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Cut(status, _) | Self::Endless(status, _) | Self::TooLarge(status) => {
                Some(*status)
            }
            _ => None,
        }
    }

    /// Returns the advice for a server that gives no answer at all.
    pub(super) const fn advice(&self) -> &'static str {
        match self {
            Self::NoConnection(_) => {
                "Nothing answers here: check the host, the port and the proxy, if there is one, and whether the server runs."
            }
            Self::NoConnectionInTime(_) => {
                "Nothing answers here: check the host and the port. A firewall may drop what is sent, or a server without\n\
                 TLS waits for a URL that begins with http://."
            }
            Self::Tls(_) => {
                "If the certificate is of a private authority, name that with --ca-file; --insecure accepts any.\n\
                 A server without TLS has a URL that begins with http://."
            }
            Self::NoAnswer(_) => {
                "Something takes connections here and gives no answer: it is no HTTP server, or it hangs."
            }
            Self::NotHttp(_) => {
                "What takes connections here does not speak HTTP, or hangs up. A server with TLS has a URL that\n\
                 begins with https://."
            }
            Self::Cut(..) | Self::Endless(..) | Self::TooLarge(_) => {
                "Something else answers at this path, or a proxy breaks the answer."
            }
        }
    }
}

impl Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoConnection(text) | Self::Tls(text) | Self::NotHttp(text) => f.write_str(text),
            Self::NoConnectionInTime(waited) => {
                write!(f, "no connection within {:.1} s", waited.as_secs_f64())
            }
            Self::NoAnswer(waited) => {
                let waited = waited.as_secs_f64();
                write!(f, "connected, but no answer came within {waited:.1} s")
            }
            Self::Cut(status, text) => write!(f, "{status}, and the body breaks off: {text}"),
            Self::Endless(status, waited) => {
                let waited = waited.as_secs_f64();
                write!(f, "{status}, and the body did not end within {waited:.1} s")
            }
            Self::TooLarge(status) => {
                write!(
                    f,
                    "{status}, and the body is larger than {LARGEST_BODY} bytes"
                )
            }
        }
    }
}

/// Returns the cause of an error, below the levels that only say that a request failed.
fn cause(error: &reqwest::Error) -> String {
    let mut level: &dyn StdError = error;
    while let Some(source) = level.source() {
        let text = level.to_string();
        if !text.starts_with("error ") && !text.starts_with("client error") {
            break;
        }
        level = source;
    }
    with_causes(level)
}

/// Returns whether the cause of an error is TLS. An error of IO hides what it wraps from `source`.
fn is_tls(error: &(dyn StdError + 'static)) -> bool {
    let wrapped = error
        .downcast_ref::<io::Error>()
        .and_then(|error| error.get_ref())
        .map(|inner| inner as &(dyn StdError + 'static));
    let inner = [wrapped, error.source()].into_iter().flatten();
    error.is::<engineio_client::rustls::Error>() || inner.into_iter().any(is_tls)
}
