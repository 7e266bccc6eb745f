//! The ways in which `eio` fails, and their exit codes.

use std::error::Error as StdError;
use std::process::ExitCode;

/// The server cannot be reached, or the session ended with an error. Wrong usage is 2, by clap.
const SESSION: u8 = 1;
/// `doctor` found faults, or `bench` did not get back what it sent.
const FINDINGS: u8 = 3;

/// The reason for which `eio` ends with an exit code other than 0.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    code: u8,
    message: Option<String>,
}

impl Failure {
    /// Creates the failure of a session that could not be opened, or ended with an error.
    pub(crate) fn session(message: impl Into<String>) -> Self {
        Self {
            code: SESSION,
            message: Some(message.into()),
        }
    }

    /// Creates the failure of a check whose findings have already been printed.
    pub(crate) fn findings() -> Self {
        Self {
            code: FINDINGS,
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
        Self::session(with_causes(&error))
    }
}

/// Returns an error and its causes in one line.
pub(crate) fn with_causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
