//! The errors for requests that were not answered.

use std::error::Error as StdError;

use super::attempt::Attempt;
use super::connect::ConnectTimeout;
use super::custom::Panicked;
use super::dial::NoIo;
use crate::error::BoxError;
use crate::{Error, ErrorKind};

/// Describes the failure of a request that had a connection.
pub(super) fn of_request(attempt: &Attempt, error: BoxError) -> Error {
    if is_panic(&*error) {
        return panicked(attempt, error);
    }
    // The library has a method for it, but for servers only.
    let is_too_large = |error: &hyper::Error| error.to_string().contains("head is too large");
    if is_http_error(&*error, is_too_large) {
        let message = format!(
            "{attempt} was answered with more than 100 header fields or 400 KiB of them, or with a `Content-Length` that no \
             body can have; check the server, and the proxies on the way"
        );
        return Error::new(ErrorKind::Transport, message).with_source(error);
    }
    let is_not_http = is_http_error(&*error, hyper::Error::is_parse);
    let (what, advice) = match (is_not_http, attempt.is_plain_handshake()) {
        (true, true) => (
            NOT_HTTP,
            "check the port, and use https or wss in the URL if the server has TLS",
        ),
        (true, false) => (NOT_HTTP, "check the server, and the proxies on the way"),
        (false, true) => (
            BROKE,
            "connect again, by https or wss if the server has TLS",
        ),
        (false, false) => (BROKE, "connect again"),
    };
    Error::new(ErrorKind::Transport, format!("{attempt} {what}; {advice}")).with_source(error)
}

const BROKE: &str = "broke before it was answered";
const NOT_HTTP: &str = "was answered with something other than HTTP";

/// Returns whether an error began with one of the HTTP library that is of this kind.
fn is_http_error(error: &(dyn StdError + 'static), is_it: impl Fn(&hyper::Error) -> bool) -> bool {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<hyper::Error>())
        .any(is_it)
}

/// Returns whether an error began with a panic of the application's code.
pub(super) fn is_panic(error: &(dyn StdError + 'static)) -> bool {
    is::<Panicked>(error)
}

/// Returns whether the error or one of its causes is of this type.
fn is<T: StdError + 'static>(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>();
        // The source of an IO error is not the error in it, but that error's own source.
        let inner = io.and_then(std::io::Error::get_ref);
        cause.is::<T>() || inner.is_some_and(|inner| is::<T>(inner))
    })
}

/// Describes a panic of the application's connector or of its stream.
pub(super) fn panicked(what: impl std::fmt::Display, error: BoxError) -> Error {
    let message = format!(
        "{what} was given up: code of the application panicked; see the source of this error"
    );
    Error::new(ErrorKind::Panicked, message).with_source(error)
}

/// Describes the failure of a connection.
pub(super) fn of_connection(attempt: &Attempt, error: BoxError) -> Error {
    // The answer of a proxy.
    if let Some(error) = causes(&*error).find_map(|cause| cause.downcast_ref::<Error>()) {
        return error.clone();
    }
    if is_panic(&*error) {
        return panicked(attempt, error);
    }
    if is::<NoIo>(&*error) {
        let message = "`connect` was called in a tokio runtime without IO, which it needs: call `enable_io` or `enable_all` \
                       of its `Builder`";
        return Error::invalid(message);
    }
    if causes(&*error).any(|cause| cause.is::<ConnectTimeout>()) {
        let message = format!(
            "{attempt} found no connection in time; check that the server runs and can be reached, or raise \
             `connect_timeout`"
        );
        return Error::new(ErrorKind::Timeout, message).with_source(error);
    }
    #[cfg(feature = "rustls-no-provider")]
    let advice = causes(&*error).find_map(tls_advice);
    #[cfg(feature = "rustls-no-provider")]
    if let Some(advice) = advice {
        let message = format!("{attempt} found no secure connection: {advice}");
        return Error::new(ErrorKind::Connect, message).with_source(error);
    }
    let message = format!(
        "{attempt} found no connection; check that the server runs and that the host, the port, the proxy and the \
         certificates are right"
    );
    Error::new(ErrorKind::Connect, message).with_source(error)
}

/// Says what is wrong with the other side of TLS, or its certificate, and what to do about it.
#[cfg(feature = "rustls-no-provider")]
fn tls_advice(cause: &(dyn StdError + 'static)) -> Option<&'static str> {
    use tokio_rustls::rustls::{CertificateError as Bad, Error as TlsError};

    let error = cause.downcast_ref::<std::io::Error>()?.get_ref()?;
    let error = match error.downcast_ref::<TlsError>()? {
        TlsError::InvalidCertificate(error) => error,
        TlsError::InvalidMessage(_) => {
            return Some(
                "what answers does not speak TLS; check the port, and use http or ws in the URL if the server has no TLS",
            );
        }
        _ => return None,
    };
    Some(match error {
        Bad::UnknownIssuer => {
            "no authority that the client trusts has signed the certificate; give that of its issuer by `root_certificate`, \
             or let the operating system verify it by `platform_verifier`"
        }
        Bad::Expired | Bad::ExpiredContext { .. } => {
            "the certificate has expired; renew it, and check the clock of this machine"
        }
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            "the certificate is not valid yet; check the clock of this machine"
        }
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
            "the certificate is for another host; use a name that it has in the URL, and `resolve` for the address"
        }
        // The type of the error in it is that of a library that rustls does not export.
        Bad::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "the certificate is that of an authority, as `openssl req -x509` makes them, and the client does not trust \
             it; give it by `root_certificate`"
        }
        _ => {
            "the certificate cannot be used; make one of version 3, with a subject alternative name and a key of RSA \
             (2,048 bits or more), P-256, P-384 or Ed25519"
        }
    })
}

/// Iterates over the error and its causes, down to the first.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let level = next?;
        next = level.source();
        Some(level)
    })
}
