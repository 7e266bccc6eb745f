//! The printed results.

use anstyle::{AnsiColor, Style};

use crate::failure::Failure;

const GOOD: Style = AnsiColor::Green.on_default();
const NOTE: Style = AnsiColor::Yellow.on_default();
const FAULT: Style = AnsiColor::Red.on_default().bold();

/// Prints results as they come, and counts the faults.
#[derive(Debug)]
pub(super) struct Report {
    faults: usize,
}

impl Report {
    pub(super) fn new(url: &str) -> Self {
        anstream::println!("{url}\n");
        Self { faults: 0 }
    }

    pub(super) fn good(&self, check: &str, text: impl AsRef<str>) {
        line(GOOD, "good", check, text.as_ref());
    }

    /// Reports something that is not wrong, or that was not checked.
    pub(super) fn note(&self, check: &str, text: impl AsRef<str>) {
        line(NOTE, "note", check, text.as_ref());
    }

    /// Reports a fault, and what to do about it.
    pub(super) fn fault(&mut self, check: &str, text: impl AsRef<str>, advice: &str) {
        self.faults += 1;
        line(FAULT, "FAULT", check, text.as_ref());
        for advice in advice.lines() {
            anstream::println!("                    {advice}");
        }
    }

    pub(super) fn finish(self) -> Result<(), Failure> {
        match self.faults {
            0 => {
                anstream::println!("\n{GOOD}no faults found{GOOD:#}");
                Ok(())
            }
            1 => {
                anstream::println!("\n{FAULT}1 fault found{FAULT:#}");
                Err(Failure::findings())
            }
            faults => {
                anstream::println!("\n{FAULT}{faults} faults found{FAULT:#}");
                Err(Failure::findings())
            }
        }
    }
}

fn line(style: Style, verdict: &str, check: &str, text: &str) {
    anstream::println!("{style}{verdict:<6}{style:#}{check:<14}{text}");
}
