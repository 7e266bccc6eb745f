//! The errors for requests that were not answered.

use std::error::Error as StdError;

use super::attempt::Attempt;
use super::connect::ConnectTimeout;
use crate::error::BoxError;
use crate::{Error, ErrorKind};

/// Describes the failure of a request, with or without a connection.
pub(super) fn of_request(attempt: &Attempt, error: BoxError) -> Error {
    let is_connect = causes(&*error).any(|cause| {
        let error = cause.downcast_ref::<hyper_util::client::legacy::Error>();
        error.is_some_and(hyper_util::client::legacy::Error::is_connect)
    });
    if is_connect {
        return of_connection(attempt, error);
    }
    let message = format!("{attempt} broke before it was answered; connect again");
    Error::new(ErrorKind::Transport, message).with_source(error)
}

/// Describes the failure of a connection.
pub(super) fn of_connection(attempt: &Attempt, error: BoxError) -> Error {
    // The answer of a proxy.
    if let Some(error) = causes(&*error).find_map(|cause| cause.downcast_ref::<Error>()) {
        return error.clone();
    }
    if causes(&*error).any(|cause| cause.is::<ConnectTimeout>()) {
        let message = format!(
            "{attempt} found no connection in time; check that the server runs and can be reached, or raise \
             `connect_timeout`"
        );
        return Error::new(ErrorKind::Timeout, message).with_source(error);
    }
    let message = format!(
        "{attempt} found no connection; check that the server runs and that the host, the port, the proxy and the \
         certificates are right"
    );
    Error::new(ErrorKind::Connect, message).with_source(error)
}

/// The error and its causes, down to the first.
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
