//! The errors for WebTransport sessions that could not be opened.

use bytes::Bytes;
use http::response::Parts;
use http::{Response, StatusCode};
use quinn::ConnectionError;
use web_transport_proto::ConnectError as Refused;

use super::session::OpenError;
use crate::error::BoxError;
use crate::net::attempt::Attempt;
use crate::{Error, ErrorKind};

/// `CONNECTION_REFUSED` (RFC 9000 § 20.1), and the beginning of the range for TLS alerts.
const CONNECTION_REFUSED: u64 = 0x02;
const ALERT: u64 = 0x100;
/// `H3_NO_ERROR` (RFC 9114 § 8.1).
pub(super) const NO_ERROR: u64 = 0x100;

/// Describes a server from which no packet came in time.
pub(super) fn of_udp(attempt: &Attempt, source: impl Into<BoxError>) -> Error {
    let message = format!(
        "{attempt} had no answer in time; check that the server serves WebTransport at this port, and that no firewall \
         stops UDP, or raise `connect_timeout`"
    );
    Error::new(ErrorKind::Timeout, message).with_source(source)
}

/// Describes the failure of a connection.
pub(super) fn of_connection(attempt: &Attempt, error: BoxError) -> Error {
    match error.downcast::<ConnectionError>() {
        Ok(error) => of_quic(attempt, &error, ErrorKind::Connect),
        Err(error) => {
            let message = format!(
                "{attempt} found no connection; check that the host and the port are right, and that UDP can be sent there"
            );
            Error::new(ErrorKind::Connect, message).with_source(error)
        }
    }
}

/// Describes the failure to open a session over a connection, which may have ended.
pub(super) fn of_session(
    attempt: &Attempt,
    error: OpenError,
    end: Option<ConnectionError>,
) -> Error {
    match (&error, end) {
        (
            OpenError::Request(Refused::WrongStatus(Some(status)) | Refused::ErrorStatus(status)),
            _,
        ) => Error::refused(attempt, head(*status), Bytes::new()),
        (_, Some(end)) => of_quic(attempt, &end, ErrorKind::Transport),
        (_, None) => {
            let message = format!(
                "{attempt} was answered by something that is not a WebTransport server; check the URL, and the settings of \
                 the server"
            );
            Error::new(ErrorKind::Protocol, message).with_source(error)
        }
    }
}

/// Returns the head of an answer of which only the status is known.
pub(super) fn head(status: StatusCode) -> Parts {
    let mut answer = Response::new(());
    *answer.status_mut() = status;
    answer.into_parts().0
}

/// Describes the end of a connection before the session was open. `kind` is that of a connection that broke.
fn of_quic(attempt: &Attempt, error: &ConnectionError, kind: ErrorKind) -> Error {
    let error = match error {
        ConnectionError::TransportError(error) => {
            let code = u64::from(error.code);
            if let Some(advice) = certificate_advice(code) {
                let message = format!("{attempt} found no secure connection: {advice}");
                return Error::new(ErrorKind::Connect, message).with_source(error.clone());
            }
            let message = format!("{attempt} was answered with something other than QUIC");
            return Error::new(kind, message).with_source(error.clone());
        }
        ConnectionError::ConnectionClosed(close) => {
            // The server's words may repeat secrets.
            let reason = match &*close.reason {
                [] => String::new(),
                reason => format!(", {}", attempt.secrets().excerpt(reason)),
            };
            let code = u64::from(close.error_code);
            let what = match code {
                CONNECTION_REFUSED => {
                    "was refused: the server is busy, or about to stop".to_owned()
                }
                code if code & !0xff == ALERT => format!(
                    "was refused by TLS with alert {}{reason}; check the server's certificate, and the client's if it \
                     needs one",
                    code - ALERT
                ),
                code => format!("was closed{}{reason}; see the server's log", with(code)),
            };
            return Error::new(kind, format!("{attempt} {what}"));
        }
        ConnectionError::ApplicationClosed(close) => {
            let reason = match &*close.reason {
                [] => String::new(),
                reason => format!(", {}", attempt.secrets().excerpt(reason)),
            };
            let code = with(u64::from(close.error_code));
            let message = format!(
                "{attempt} was closed{code}{reason} before it was answered; see the server's log"
            );
            return Error::new(kind, message);
        }
        ConnectionError::TimedOut => return of_udp(attempt, ConnectionError::TimedOut),
        error => error.clone(),
    };
    let message = format!("{attempt} broke before it was answered; connect again");
    Error::new(kind, message).with_source(error)
}

/// Names the code with which a connection was closed, unless it is one of those for no error (RFC 9000 § 20.1, RFC 9114 § 8.1).
fn with(code: u64) -> String {
    match code {
        0 | NO_ERROR => " without an error code".to_owned(),
        code => format!(" with code {code:#x}"),
    }
}

/// Says what is wrong with the server's certificate, by the alert that the client sent (RFC 8446 § 6.2), and what to do
/// about it.
fn certificate_advice(code: u64) -> Option<&'static str> {
    Some(match code.checked_sub(ALERT)? {
        // bad_certificate
        42 => {
            "the certificate is for another host, or cannot be read; use a name that it has in the URL, and `resolve` for \
             the address"
        }
        // certificate_expired
        45 => {
            "the certificate has expired or is not valid yet; renew it, and check the clock of this machine"
        }
        // unknown_ca
        48 => {
            "no authority that the client trusts has signed the certificate; give that of its issuer by \
             `root_certificate`, or its hash by `server_certificate_hashes`"
        }
        // access_denied
        49 => "the certificate has none of the hashes given to `server_certificate_hashes`",
        // unsupported_certificate, certificate_revoked, certificate_unknown, decrypt_error
        43 | 44 | 46 | 51 => {
            "the certificate cannot be used; make one of version 3, with a subject alternative name and a key of RSA \
             (2,048 bits or more), P-256, P-384 or Ed25519"
        }
        // no_application_protocol
        120 => "what answers speaks QUIC, but not HTTP/3; check the port",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_without_an_error_has_no_code() {
        assert_eq!(with(0), " without an error code");
        assert_eq!(with(NO_ERROR), " without an error code");
        assert_eq!(with(0x10c), " with code 0x10c");
    }
}
