//! The output: messages on standard output, everything else on standard error.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use engineio_client::Message;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::input::Printer;
use crate::arguments::Talk;
use crate::failure::Failure;
use crate::output::{printable, tell};

const REMARK: Style = Style::new().dimmed();
const BINARY: Style = AnsiColor::Cyan.on_default();
/// A text that changes nothing on the terminal. It has a line feed, which the editor would add.
const NOTHING: &str = "\x1b[A\n";
/// The time that the editor has to print what it was given.
const PATIENCE: Duration = Duration::from_secs(1);
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
        if self.print(|| String::from_utf8_lossy(&bytes).into_owned()) {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        out.write_all(&bytes)?;
        out.flush()
    }

    /// Prints above the line that is being typed. Returns `false` if there is no editor, or none any more.
    fn print(&mut self, text: impl FnOnce() -> String) -> bool {
        let is_printed = |print: &mut Printer| print(text()).is_ok();
        if self.printer.as_mut().is_some_and(is_printed) {
            return true;
        }
        self.printer = None;
        false
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
        let line = match self.has_colour {
            true => format!("{REMARK}eio: {text}{REMARK:#}\n"),
            false => format!("eio: {text}\n"),
        };
        if !self.print(|| line) {
            tell(format_args!("{REMARK}eio: {text}{REMARK:#}"));
        }
    }

    /// Waits until the editor has printed everything, and prints without it from now on.
    pub(super) async fn leave_editor(&mut self) {
        let Some(mut print) = self.printer.take() else {
            return;
        };
        let (printed, is_printed) = oneshot::channel();
        // It may wait for the rest of a pasted text.
        thread::spawn(move || {
            // The editor holds one text, so it has shown what came before once it has taken the first of these.
            let _ = print(NOTHING.to_owned()).and_then(|()| print(NOTHING.to_owned()));
            let _ = printed.send(());
        });
        let _ = timeout(PATIENCE, is_printed).await;
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
