//! The state of the terminal.

use std::io::{self, Write};

#[cfg(unix)]
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// Switches off bracketed paste, which the editor switches on.
const NO_BRACKETED_PASTE: &str = "\x1b[?2004l";

/// The terminal as it was before the editor changed it. The editor restores it when its line ends, which it does not if the
/// session ends first.
#[derive(Debug)]
pub(super) struct Terminal {
    #[cfg(unix)]
    before: Option<Termios>,
}

impl Terminal {
    pub(super) fn save() -> Self {
        Self {
            #[cfg(unix)]
            before: tcgetattr(io::stdin()).ok(),
        }
    }

    /// Restores the terminal and begins a new line.
    pub(super) fn restore(self) {
        #[cfg(unix)]
        if let Some(before) = self.before {
            // Nothing can be done about a terminal that is gone.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
        }
        let mut out = io::stdout().lock();
        let _ = write!(out, "{NO_BRACKETED_PASTE}\r\x1b[K").and_then(|()| out.flush());
    }
}
