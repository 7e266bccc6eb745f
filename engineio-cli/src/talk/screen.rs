//! The output: messages on standard output, everything else on standard error.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use engineio_client::Message;
use tokio::time::timeout;

use super::input::Printer;
use super::json::indented;
use crate::arguments::Talk;
use crate::failure::Failure;
use crate::output::{LAST_WORDS, WriterThread, printable, tell, tell_aside};

const REMARK: Style = Style::new().dimmed();
const BINARY: Style = AnsiColor::Cyan.on_default();
/// A text that changes nothing on the terminal. It has a line feed, which the editor would add.
const NOTHING: &str = "\x1b[A\n";
/// The number of bytes of a binary message that are shown.
const SHOWN: usize = 64;

pub(super) struct Screen {
    is_binary: bool,
    is_json: bool,
    is_quiet: bool,
    is_terminal: bool,
    has_colour: bool,
    thread: WriterThread<Job>,
}

/// The tasks of the thread.
enum Job {
    Message(Vec<u8>),
    /// A line with its line feed.
    Remark(String),
    /// Lets the editor print everything, and prints without it from then on.
    LeaveEditor,
}

impl Screen {
    pub(super) fn new(options: &Talk, printer: Option<Printer>) -> Self {
        let choice = anstream::AutoStream::choice(&io::stdout());
        let mut writer = Writer { printer };
        Self {
            is_binary: options.binary,
            is_json: options.json,
            is_quiet: options.quiet,
            is_terminal: io::stdout().is_terminal(),
            has_colour: choice != anstream::ColorChoice::Never,
            thread: WriterThread::new(move |job| writer.run(job)),
        }
    }

    /// Shows a message.
    pub(super) async fn message(&self, message: &Message) -> Result<(), Failure> {
        let bytes = match message.is_binary() && self.is_binary && !self.is_terminal {
            true => message.as_bytes().to_vec(),
            false => (self.line(message) + "\n").into_bytes(),
        };
        self.thread.run(Job::Message(bytes)).await
    }

    fn line(&self, message: &Message) -> String {
        let Some(text) = message.as_text() else {
            return self.paint(BINARY, &hex(message.as_bytes()));
        };
        let json = self.is_json.then(|| indented(text)).flatten();
        let text = json.map_or(Cow::Borrowed(text), Cow::Owned);
        match self.is_terminal {
            // A stranger's text must not move the cursor, change colours or turn other text round.
            true => printable(&text),
            false => text.into_owned(),
        }
    }

    /// Shows the state of the session, or the reason why something was not sent.
    pub(super) async fn remark(&self, text: &str) {
        if !self.is_quiet {
            let _ = self.thread.run(Job::Remark(self.remark_line(text))).await;
        }
    }

    /// Shows the state of the session after the editor has ended and nothing more is expected.
    pub(super) async fn last_remark(&self, text: &str) {
        if !self.is_quiet {
            tell_aside(self.remark_line(text).trim_end().to_owned()).await;
        }
    }

    fn remark_line(&self, text: &str) -> String {
        match self.has_colour {
            true => format!("{REMARK}eio: {text}{REMARK:#}\n"),
            false => format!("eio: {text}\n"),
        }
    }

    /// Waits until the editor has printed everything, and prints without it from now on.
    pub(super) async fn leave_editor(&self) {
        // It may wait for the rest of a pasted text.
        let _ = timeout(LAST_WORDS, self.thread.run(Job::LeaveEditor)).await;
    }

    fn paint(&self, style: Style, text: &str) -> String {
        match self.has_colour {
            true => format!("{style}{text}{style:#}"),
            false => text.to_owned(),
        }
    }
}

struct Writer {
    /// Prints above the line that is being typed.
    printer: Option<Printer>,
}

impl Writer {
    fn run(&mut self, job: Job) -> Result<(), Failure> {
        match job {
            Job::Message(bytes) => {
                let written = self.write(&bytes);
                written.map_err(|error| Failure::output(&error))
            }
            Job::Remark(line) => {
                if !self.print(|| line.clone()) {
                    tell(line.trim_end());
                }
                Ok(())
            }
            Job::LeaveEditor => {
                if let Some(mut print) = self.printer.take() {
                    // The editor holds one text, so it has shown what came before once it has taken the first of these.
                    let _ = print(NOTHING.to_owned()).and_then(|()| print(NOTHING.to_owned()));
                }
                Ok(())
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.print(|| String::from_utf8_lossy(bytes).into_owned()) {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }

    /// Prints above the line that is being typed. Returns `false` without an editor.
    fn print(&mut self, text: impl FnOnce() -> String) -> bool {
        let is_printed = |print: &mut Printer| print(text()).is_ok();
        if self.printer.as_mut().is_some_and(is_printed) {
            return true;
        }
        self.printer = None;
        false
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
