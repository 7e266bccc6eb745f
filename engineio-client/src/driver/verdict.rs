//! The error that says why a session ended. Of several causes the first one wins.

use std::time::Duration;

use bytes::Bytes;
use engineio_core::client::{Fault, ProbeFailure, Session};
use engineio_core::{DisconnectReason, Transport};

use crate::secrets::{Secrets, without_messages, without_sid};
use crate::{Error, ErrorKind};

/// The evidence, collected while the session runs.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// The first failure of the network.
    error: Option<Error>,
    /// The size in bytes of the POST in progress, and the server's limit, if that is smaller.
    pub(super) oversized: Option<(usize, usize)>,
    /// The answer to the handshake, until it has proved to be valid.
    pub(super) first_answer: Bytes,
}

impl Verdict {
    /// Remembers a failure, and returns its reason for the session.
    pub(super) fn failed(&mut self, error: Error) -> DisconnectReason {
        let reason = error.reason();
        self.error.get_or_insert(error);
        reason
    }

    /// Remembers the failure of a POST, and returns its reason for the session. One that the server has closed, and that is
    /// no longer open, does not end because of it.
    pub(super) fn post_failed(&mut self, error: Error, is_open: bool) -> DisconnectReason {
        match is_open || error.kind() == ErrorKind::Panicked {
            true => self.failed(error),
            false => error.reason(),
        }
    }

    /// Returns the error to report for an ended session, or `None` if one of the sides closed it gracefully.
    pub(super) fn error(
        &self,
        session: &Session,
        was_open: bool,
        target: &str,
        secrets: &Secrets,
    ) -> Option<Error> {
        if let Some(fault) = session.fault() {
            return Some(self.fault(fault, was_open, target, secrets));
        }
        match session.closed() {
            Some(DisconnectReason::PingTimeout) => {
                let patience = session.opened().map(|opened| opened.patience());
                let message = match patience.unwrap_or_default() {
                    Duration::ZERO => format!(
                        "{target} leaves no time for heartbeats: its ping interval and its ping timeout are zero; raise \
                         them in the server"
                    ),
                    patience => format!(
                        "{target} sent no heartbeat for {patience:?}; the server or the network is gone, connect again"
                    ),
                };
                Some(Error::new(ErrorKind::PingTimeout, message))
            }
            Some(DisconnectReason::SlowConsumer) => {
                let message = format!(
                    "{target} kept sending but did not read: a heartbeat of the client could not be written in time; see \
                     the server's log, and connect again"
                );
                Some(Error::new(ErrorKind::PingTimeout, message))
            }
            Some(DisconnectReason::TransportClose) if !was_open && self.error.is_none() => {
                let link = link_name(session.transport());
                let message = format!(
                    "{target} closed the {link} before it opened a session; check that the URL and the path are \
                     those of an Engine.IO server, or see its log"
                );
                Some(Error::new(ErrorKind::Transport, message))
            }
            // The close packet of the server may arrive before its answer to the POST, which says less.
            Some(DisconnectReason::Server) if was_open => {
                let Some((len, limit)) = self.oversized else {
                    return self.error.clone();
                };
                let message = format!(
                    "{target} closed the session while a message in {len} bytes was being sent, and accepts {limit} at most; \
                     send smaller messages, or raise the server's limit"
                );
                Some(Error::new(ErrorKind::Refused, message))
            }
            Some(DisconnectReason::Client) if was_open => None,
            Some(DisconnectReason::HandlerPanic) => {
                let panic = |error: &Error| error.kind() == ErrorKind::Panicked;
                Some(Error::handler_panicked(self.error.clone().filter(panic)))
            }
            _ => self.error.clone(),
        }
    }

    /// Returns the error for invalid data from the server, which ended the session.
    fn fault(&self, fault: &Fault, was_open: bool, target: &str, secrets: &Secrets) -> Error {
        let answer = match &*self.first_answer {
            [] => String::new(),
            answer => {
                let shown = without_messages(&without_sid(answer));
                format!(" ({})", secrets.excerpt(shown.as_bytes()))
            }
        };
        let (kind, advice) = match fault {
            Fault::OpenTimeout => (
                ErrorKind::Timeout,
                "check that the server runs and can be reached, or raise `request_timeout`",
            ),
            Fault::TooManyPackets(_) => (ErrorKind::TooLarge, "no sane server does that"),
            _ if was_open => (ErrorKind::Protocol, "see the server's log for what it sent"),
            _ => (
                ErrorKind::Protocol,
                "check that the URL and the path are those of an Engine.IO server of revision 4",
            ),
        };
        let what = match was_open {
            true => "the session ended",
            false => "no session was opened",
        };
        let message = format!("{what} at {target}: {fault}{answer}; {advice}");
        let source = std::error::Error::source(fault).map(ToString::to_string);
        let error = Error::new(kind, message);
        match source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }
}

/// Returns the error for an upgrade that failed without one of the network.
pub(super) fn upgrade_failure(
    failure: Option<ProbeFailure>,
    tried: Transport,
    target: &str,
    limit: Duration,
) -> Error {
    match failure {
        Some(ProbeFailure::Timeout) => {
            let advice = match tried {
                Transport::WebTransport => "UDP packets reach the server",
                _ => "the proxies in between pass WebSockets on",
            };
            let to = link_name(tried);
            let message = format!(
                "the upgrade to {to} at {target} was not complete after {limit:?}; check that {advice}, or raise \
                 `upgrade_timeout`"
            );
            Error::new(ErrorKind::Timeout, message)
        }
        Some(ProbeFailure::WrongAnswer) => {
            let message = format!(
                "{target} answered the probe of the upgrade with something other than `3probe`"
            );
            Error::new(ErrorKind::Protocol, message)
        }
        _ => {
            let link = link_name(tried);
            let message =
                format!("{target} closed the {link} before the upgrade was complete; see its log");
            Error::new(ErrorKind::Transport, message)
        }
    }
}

/// Returns what an error calls a link of this transport.
const fn link_name(transport: Transport) -> &'static str {
    match transport {
        Transport::WebTransport => "WebTransport session",
        _ => "WebSocket",
    }
}

#[cfg(test)]
mod tests {
    use engineio_core::client::Config;

    use super::*;
    use crate::clock::now;

    /// The error of a session that ended for this reason after these failures.
    fn told(failures: &[(ErrorKind, &str)], reason: DisconnectReason) -> Option<String> {
        let mut session = Session::new(now(), Config::default(), Transport::Polling);
        session.abort(reason);
        let mut verdict = Verdict::default();
        for (kind, message) in failures {
            verdict.failed(Error::new(*kind, *message));
        }
        let error = verdict.error(&session, true, "http://h/", &Secrets::default());
        error.map(|error| error.to_string())
    }

    #[test]
    fn the_refusal_of_a_post_is_told_whatever_the_poll_brings_after_it() {
        let post = (ErrorKind::Refused, "POST: 503, maintenance until noon");
        let reset = (ErrorKind::Transport, "GET: reset");
        let unknown = (ErrorKind::Refused, "GET: 400, unknown session");
        for (failures, reason) in [
            (vec![post, reset], DisconnectReason::Refused),
            (vec![post, unknown], DisconnectReason::Refused),
            // The poll brought a close packet, or an answer that is none.
            (vec![post], DisconnectReason::Server),
            (vec![post], DisconnectReason::ParseError),
        ] {
            assert_eq!(told(&failures, reason).as_deref(), Some(post.1));
        }
        assert_eq!(told(&[post], DisconnectReason::Client), None);
    }
}
