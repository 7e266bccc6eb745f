//! The error that says why a session ended. Of several causes the first one wins.

use bytes::Bytes;
use engineio_core::DisconnectReason;
use engineio_core::client::{Fault, Session};

use crate::error::excerpt;
use crate::target::Target;
use crate::{Error, ErrorKind};

/// The evidence, as it is met while the session runs.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// The first failure of the network.
    error: Option<Error>,
    /// The size in bytes of the POST under way, and the server's limit, where that is smaller.
    pub(super) oversized: Option<(usize, usize)>,
    /// The answer to the handshake, until it has proved to be one.
    pub(super) first_answer: Bytes,
}

impl Verdict {
    /// Remembers a failure, and returns its reason for the session.
    pub(super) fn failed(&mut self, error: Error) -> DisconnectReason {
        let reason = error.reason();
        self.error.get_or_insert(error);
        reason
    }

    /// The error to report for a session that ended, or `None` if one side wished the end.
    pub(super) fn into_error(
        self,
        session: &Session,
        was_open: bool,
        target: &Target,
    ) -> Option<Error> {
        if let Some(fault) = session.fault() {
            return Some(self.fault(fault, was_open, target));
        }
        match session.closed() {
            Some(DisconnectReason::PingTimeout) => {
                let patience = session.opened().map(|opened| opened.patience());
                let message = format!(
                    "{target} sent no heartbeat for {:?}; the server or the network is gone, connect again",
                    patience.unwrap_or_default()
                );
                Some(Error::new(ErrorKind::PingTimeout, message))
            }
            Some(DisconnectReason::TransportClose) if !was_open && self.error.is_none() => {
                let message = format!(
                    "{target} closed the WebSocket before it opened a session; check that the URL and the path are \
                     those of an Engine.IO server, or see its log"
                );
                Some(Error::new(ErrorKind::Transport, message))
            }
            // The close packet of the server may arrive before its answer to the POST, which says less.
            Some(DisconnectReason::Server) if was_open => {
                let Some((len, limit)) = self.oversized else {
                    return self.error;
                };
                let message = format!(
                    "{target} closed the session while it was sent a message in {len} bytes, and takes {limit} at most; \
                     send smaller messages, or raise the server's limit"
                );
                Some(Error::new(ErrorKind::Refused, message))
            }
            Some(DisconnectReason::Client) if was_open => None,
            _ => self.error,
        }
    }

    /// The error for something that the server sent and that ended the session.
    fn fault(&self, fault: &Fault, was_open: bool, target: &Target) -> Error {
        let answer = match &*self.first_answer {
            [] => String::new(),
            answer => format!(" ({})", excerpt(without_sid(answer).as_bytes())),
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

/// The text of an answer without the id of a session, which the server may have opened even if the client cannot use it.
fn without_sid(answer: &[u8]) -> String {
    const KEY: &str = "\"sid\"";
    let mut text = String::from_utf8_lossy(answer).into_owned();
    let key = text.find(KEY).map(|at| at + KEY.len());
    let value = key.and_then(|key| Some(key + text[key..].find('"')? + 1));
    if let Some(start) = value {
        let end = text[start..].find('"').map_or(text.len(), |at| start + at);
        text.replace_range(start..end, "…");
    }
    text
}
