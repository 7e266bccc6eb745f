//! The output: messages on standard output, everything else on standard error.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use engineio_client::Message;

use super::input::Printer;
use crate::arguments::Talk;
use crate::failure::Failure;
use crate::output::{printable, tell};

const REMARK: Style = Style::new().dimmed();
const BINARY: Style = AnsiColor::Cyan.on_default();
/// The number of bytes of a binary message that are shown.
const SHOWN: usize = 64;

pub(super) struct Screen {
    is_binary: bool,
    is_json: bool,
    is_quiet: bool,
    is_terminal: bool,
    has_colour: bool,
    /// Prints above the line that is being typed.
    printer: Option<Printer>,
}

impl Screen {
    pub(super) fn new(options: &Talk, printer: Option<Printer>) -> Self {
        let choice = anstream::AutoStream::choice(&io::stdout());
        Self {
            is_binary: options.binary,
            is_json: options.json,
            is_quiet: options.quiet,
            is_terminal: io::stdout().is_terminal(),
            has_colour: choice != anstream::ColorChoice::Never,
            printer,
        }
    }

    /// Shows a message.
    pub(super) fn message(&mut self, message: &Message) -> Result<(), Failure> {
        let bytes = match message.is_binary() && self.is_binary && !self.is_terminal {
            true => message.as_bytes().to_vec(),
            false => (self.line(message) + "\n").into_bytes(),
        };
        self.write(bytes).map_err(|error| Failure::output(&error))
    }

    fn write(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        match &mut self.printer {
            Some(print) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                print(text).map_err(io::Error::other)
            }
            None => {
                let mut out = io::stdout().lock();
                out.write_all(&bytes)?;
                out.flush()
            }
        }
    }

    fn line(&self, message: &Message) -> String {
        let Some(text) = message.as_text() else {
            return self.paint(BINARY, &hex(message.as_bytes()));
        };
        let json = match self.is_json {
            true => message.parse_json::<serde_json::Value>().ok(),
            false => None,
        };
        let text = match json {
            Some(json) => Cow::Owned(format!("{json:#}")),
            None => Cow::Borrowed(text),
        };
        match self.is_terminal {
            // A stranger's text must not move the cursor, change colours or turn other text round.
            true => printable(&text),
            false => text.into_owned(),
        }
    }

    /// Shows the state of the session, or the reason why something was not sent.
    pub(super) fn remark(&mut self, text: &str) {
        if self.is_quiet {
            return;
        }
        match &mut self.printer {
            Some(print) => {
                let line = match self.has_colour {
                    true => format!("{REMARK}eio: {text}{REMARK:#}\n"),
                    false => format!("eio: {text}\n"),
                };
                // The session goes on without the remark.
                let _ = print(line);
            }
            None => tell(format_args!("{REMARK}eio: {text}{REMARK:#}")),
        }
    }

    /// Prints without the editor from now on.
    pub(super) fn leave_editor(&mut self) {
        self.printer = None;
    }

    fn paint(&self, style: Style, text: &str) -> String {
        match self.has_colour {
            true => format!("{style}{text}{style:#}"),
            false => text.to_owned(),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let shown = bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}"));
    let more = if bytes.len() > SHOWN { " …" } else { "" };
    let digits = shown.collect::<Vec<_>>().join(" ");
    format!("<{} bytes> {digits}{more}", bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_up_to_a_limit() {
        assert_eq!(hex(&[0, 0xff]), "<2 bytes> 00 ff");
        let long = hex(&[1; SHOWN + 1]);
        assert!(
            long.starts_with("<65 bytes> 01 ") && long.ends_with(" …"),
            "{long}"
        );
    }
}
