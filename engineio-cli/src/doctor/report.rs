//! The printed results.

use anstyle::{AnsiColor, Style};

use crate::failure::Failure;
use crate::output::{WriterThread, print, printable_line};

const GOOD: Style = AnsiColor::Green.on_default();
const NOTE: Style = AnsiColor::Yellow.on_default();
const FAULT: Style = AnsiColor::Red.on_default().bold();

/// Prints results as they come, and counts the faults.
#[derive(Debug)]
pub(super) struct Report {
    faults: usize,
    /// Prints nothing more after a failure, which is the outcome of all that follows.
    thread: WriterThread<Option<String>>,
}

impl Report {
    pub(super) fn new(address: &str) -> Self {
        let mut printed = Ok(());
        let report = Self {
            faults: 0,
            thread: WriterThread::new(move |text: Option<String>| {
                if let (Some(text), Ok(())) = (text, &printed) {
                    printed = print(text);
                }
                printed.clone()
            }),
        };
        report.print(format!("{}\n", printable_line(address)));
        report
    }

    /// Waits until the results are printed, and fails if they cannot be printed any more.
    pub(super) async fn check(&self) -> Result<(), Failure> {
        self.thread.run(None).await
    }

    pub(super) fn good(&self, check: &str, text: impl AsRef<str>) {
        self.line(GOOD, "good", check, text.as_ref());
    }

    /// Reports something that is not wrong, or that was not checked.
    pub(super) fn note(&self, check: &str, text: impl AsRef<str>) {
        self.line(NOTE, "note", check, text.as_ref());
    }

    /// Reports a fault, and what to do about it.
    pub(super) fn fault(&mut self, check: &str, text: impl AsRef<str>, advice: &str) {
        self.faults += 1;
        self.line(FAULT, "FAULT", check, text.as_ref());
        for advice in advice.lines() {
            self.print(format!("                    {advice}"));
        }
    }

    pub(super) async fn finish(self) -> Result<(), Failure> {
        self.print(match self.faults {
            0 => format!("\n{GOOD}no faults found{GOOD:#}"),
            1 => format!("\n{FAULT}1 fault found{FAULT:#}"),
            faults => format!("\n{FAULT}{faults} faults found{FAULT:#}"),
        });
        self.check().await?;
        match self.faults {
            0 => Ok(()),
            _ => Err(Failure::findings()),
        }
    }

    fn line(&self, style: Style, verdict: &str, check: &str, text: &str) {
        // Some of it was said by the peer.
        let text = printable_line(text);
        self.print(format!("{style}{verdict:<6}{style:#}{check:<14}{text}"));
    }

    fn print(&self, text: String) {
        drop(self.thread.run(Some(text)));
    }
}
