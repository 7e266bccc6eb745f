//! The state of the terminal.

use std::io::{self, Write};
#[cfg(unix)]
use std::sync::OnceLock;

#[cfg(unix)]
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::time::timeout;

use crate::output::{LAST_WORDS, WriterThread};

/// Switches off bracketed paste, which the editor switches on.
const NO_BRACKETED_PASTE: &str = "\x1b[?2004l";

/// The mode of the terminal before the editor changed it, once it is saved.
#[cfg(unix)]
static BEFORE: OnceLock<Termios> = OnceLock::new();

/// Gives the terminal its mode back, without writing to it.
pub(super) fn restore_mode() {
    #[cfg(unix)]
    if let Some(before) = BEFORE.get() {
        // Nothing can be done about a terminal that is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
    }
}

/// The terminal as it was before the editor changed it. The editor restores it when its line ends, which it does not if the
/// session ends first.
#[derive(Debug)]
pub(super) struct Terminal;

impl Terminal {
    pub(super) fn save() -> Self {
        #[cfg(unix)]
        if let Ok(before) = tcgetattr(io::stdin()) {
            BEFORE.get_or_init(|| before);
        }
        Self
    }

    /// Restores the terminal and begins a new line, if it takes more output.
    pub(super) async fn restore(self) {
        restore_mode();
        let thread = WriterThread::new(|()| {
            let mut out = io::stdout().lock();
            let _ = write!(out, "{NO_BRACKETED_PASTE}\r\x1b[K").and_then(|()| out.flush());
            Ok(())
        });
        let _ = timeout(LAST_WORDS, thread.run(())).await;
    }
}
