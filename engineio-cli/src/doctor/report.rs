//! The printed results.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};

use crate::failure::Failure;
use crate::output::{print, printable_line};

const GOOD: Style = AnsiColor::Green.on_default();
const NOTE: Style = AnsiColor::Yellow.on_default();
const FAULT: Style = AnsiColor::Red.on_default().bold();

/// Prints results as they come, and counts the faults.
#[derive(Debug)]
pub(super) struct Report {
    faults: usize,
    /// The first failure to print, reported at the end.
    printed: Result<(), Failure>,
}

impl Report {
    pub(super) fn new(address: &str) -> Self {
        let mut report = Self {
            faults: 0,
            printed: Ok(()),
        };
        report.print(format_args!("{}\n", printable_line(address)));
        report
    }

    /// Fails if the results cannot be printed any more.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.printed.clone()
    }

    pub(super) fn good(&mut self, check: &str, text: impl AsRef<str>) {
        self.line(GOOD, "good", check, text.as_ref());
    }

    /// Reports something that is not wrong, or that was not checked.
    pub(super) fn note(&mut self, check: &str, text: impl AsRef<str>) {
        self.line(NOTE, "note", check, text.as_ref());
    }

    /// Reports a fault, and what to do about it.
    pub(super) fn fault(&mut self, check: &str, text: impl AsRef<str>, advice: &str) {
        self.faults += 1;
        self.line(FAULT, "FAULT", check, text.as_ref());
        for advice in advice.lines() {
            self.print(format_args!("                    {advice}"));
        }
    }

    pub(super) fn finish(mut self) -> Result<(), Failure> {
        match self.faults {
            0 => self.print(format_args!("\n{GOOD}no faults found{GOOD:#}")),
            1 => self.print(format_args!("\n{FAULT}1 fault found{FAULT:#}")),
            faults => self.print(format_args!("\n{FAULT}{faults} faults found{FAULT:#}")),
        }
        self.printed?;
        match self.faults {
            0 => Ok(()),
            _ => Err(Failure::findings()),
        }
    }

    fn line(&mut self, style: Style, verdict: &str, check: &str, text: &str) {
        // Some of it was said by the peer.
        let text = printable_line(text);
        self.print(format_args!(
            "{style}{verdict:<6}{style:#}{check:<14}{text}"
        ));
    }

    fn print(&mut self, text: impl Display) {
        if self.printed.is_ok() {
            self.printed = print(text);
        }
    }
}
