//! The ways in which `eio` fails, and their exit codes.

use std::error::Error as StdError;
use std::io;
use std::process::ExitCode;

use engineio_client::ErrorKind;

use crate::output::printable_line;

/// The server cannot be reached, the session ended with an error, or input or output was lost.
const SESSION: u8 = 1;
/// Wrong usage, as clap has it.
const USAGE: u8 = 2;
/// `doctor` found faults, or `bench` did not get back what it sent.
const FINDINGS: u8 = 3;
/// What shells add to the number of a signal that ended a program.
const SIGNAL: u8 = 128;
const SIGPIPE: u8 = 13;

/// The reason for which `eio` ends with an exit code other than 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    code: u8,
    message: Option<String>,
}

impl Failure {
    /// Creates the failure of a session that could not be opened, or ended with an error.
    pub(crate) fn session(message: impl Into<String>) -> Self {
        Self::new(SESSION, message)
    }

    /// Creates the failure of an option, a URL or a file that cannot be used.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, message)
    }

    /// Creates the failure of a check whose findings have already been printed.
    pub(crate) const fn findings() -> Self {
        Self::silent(FINDINGS)
    }

    /// Creates the failure to write the output. If nobody reads it any more, that needs no message, as with a program that
    /// the signal SIGPIPE ends.
    pub(crate) fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::signal(SIGPIPE),
            _ => Self::session(format!("cannot write the output: {error}")),
        }
    }

    /// Creates the failure of a program that a signal ended.
    pub(crate) const fn signal(number: u8) -> Self {
        Self::silent(SIGNAL + number)
    }

    fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: Some(message.into()),
        }
    }

    const fn silent(code: u8) -> Self {
        Self {
            code,
            message: None,
        }
    }

    pub(crate) fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl From<engineio_client::Error> for Failure {
    fn from(error: engineio_client::Error) -> Self {
        match error.kind() {
            ErrorKind::Invalid => Self::usage(with_causes(&error)),
            _ => Self::session(with_causes(&error)),
        }
    }
}

/// Returns an error and its causes in one line. They may cite the peer, so that they are escaped.
pub(crate) fn with_causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    printable_line(&text)
}
