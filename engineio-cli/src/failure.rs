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
pub(crate) const SIGNAL: u8 = 128;
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

    /// Returns whether a signal of the user ended the program, and not that nobody reads the output.
    pub(crate) const fn is_asked_for(&self) -> bool {
        self.code > SIGNAL && self.code != SIGNAL + SIGPIPE
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

    /// Returns the failure when its message has been printed.
    pub(crate) const fn without_message(&self) -> Self {
        Self::silent(self.code)
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
pub(crate) fn with_causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = words(error);
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {}", words(cause)));
        source = cause.source();
    }
    printable_line(&text)
}

/// Options that errors of the library advise, and those of `eio` for the same.
const OPTIONS: [(&str, Option<&str>); 11] = [
    ("`connect_timeout`", Some("`--timeout`")),
    ("`request_timeout`", Some("`--timeout`")),
    ("`upgrade_timeout`", Some("`--timeout`")),
    ("`root_certificate`", Some("`--ca-file`")),
    ("`revision`", Some("`--eio`")),
    ("by `query`", Some("in the URL")),
    ("`max_response`", None),
    ("`platform_verifier`", None),
    ("`redirects`", None),
    ("`server_certificate_hashes`", None),
    ("`resolve`", None),
];

/// Returns the text of an error without its causes.
fn words(error: &(dyn StdError + 'static)) -> String {
    let text = error.to_string();
    match error.is::<engineio_client::Error>() {
        true => translated(text),
        false => text,
    }
}

/// Lets a text advise the options of `eio` instead of those of the library, or none where `eio` has none.
fn translated(mut text: String) -> String {
    for (name, own) in OPTIONS {
        match (text.find(name), own) {
            (Some(_), Some(own)) => text = text.replace(name, own),
            (Some(at), None) => {
                let start = text[..at].rfind([',', ';']).unwrap_or(at);
                let end = text[at..].find(';').map_or(text.len(), |end| at + end);
                text.replace_range(start..end, "");
            }
            (None, _) => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_the_options_of_the_program() {
        for (text, expected) in [
            (
                "no answer; raise `request_timeout` if the server is slow",
                "no answer; raise `--timeout` if the server is slow",
            ),
            (
                "give that of its issuer by `root_certificate`, or let the operating system verify it by `platform_verifier`",
                "give that of its issuer by `--ca-file`",
            ),
            (
                "give that of its issuer by `root_certificate`, or its hash by `server_certificate_hashes`",
                "give that of its issuer by `--ca-file`",
            ),
            (
                "connect to that URL instead, or allow it by `redirects`; 5 redirects were followed before",
                "connect to that URL instead; 5 redirects were followed before",
            ),
            (
                "more than 9 bytes; raise `max_response` if the server may send that much",
                "more than 9 bytes",
            ),
            (
                "`a?b` is not a path; percent-encode what is not allowed in one, and give a query by `query`",
                "`a?b` is not a path; percent-encode what is not allowed in one, and give a query in the URL",
            ),
            (
                "the server speaks another revision of the protocol: choose it by `revision`",
                "the server speaks another revision of the protocol: choose it by `--eio`",
            ),
            ("other than `3probe`", "other than `3probe`"),
        ] {
            assert_eq!(translated(text.to_owned()), expected);
        }
    }
}
