//! Output: a closed or full stream is an error and no panic, and no text of a peer controls a terminal.

use std::fmt::Display;
use std::io::Write;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::failure::Failure;

/// The time for the last words after a signal.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(1);

/// A thread that writes: nobody may read the output, and signals must be heard even so. The process does not wait for it.
#[derive(Debug)]
pub(crate) struct WriterThread<J> {
    jobs: mpsc::Sender<(J, oneshot::Sender<Result<(), Failure>>)>,
}

impl<J: Send + 'static> WriterThread<J> {
    pub(crate) fn new(mut write: impl FnMut(J) -> Result<(), Failure> + Send + 'static) -> Self {
        let (jobs, taken) = mpsc::channel::<(J, oneshot::Sender<_>)>();
        thread::spawn(move || {
            for (job, done) in taken {
                // Nobody waits for it after a signal.
                let _ = done.send(write(job));
            }
        });
        Self { jobs }
    }

    /// Hands a job to the thread, which takes one after the other. The future waits until it is done.
    pub(crate) fn run(&self, job: J) -> impl Future<Output = Result<(), Failure>> + use<J> {
        let (done, is_done) = oneshot::channel();
        let _ = self.jobs.send((job, done));
        async {
            let stopped = |_| Err(Failure::session("the thread that writes has stopped"));
            is_done.await.unwrap_or_else(stopped)
        }
    }
}

/// Prints a text as [`print()`] does, in a thread.
pub(crate) async fn print_aside(text: String) -> Result<(), Failure> {
    WriterThread::new(|text: String| print(text))
        .run(text)
        .await
}

/// Prints a line as [`tell`] does, in a thread.
pub(crate) async fn tell_aside(text: String) {
    let thread = WriterThread::new(|text: String| {
        tell(text);
        Ok(())
    });
    let _ = thread.run(text).await;
}

/// Prints a text and a line feed to the standard output, with its styles where it may have some.
pub(crate) fn print(text: impl Display) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::output(&error))
}

/// Prints a line to the standard error stream. Nobody can be told if that fails.
pub(crate) fn tell(text: impl Display) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Returns a text whose control characters, and those that change the order of what is shown, are escaped. Line feeds and
/// tabs remain.
pub(crate) fn printable(text: &str) -> String {
    escape(text, |c| matches!(c, '\n' | '\t'))
}

/// Returns a text in one line, escaped like a [`printable`] one.
pub(crate) fn printable_line(text: &str) -> String {
    escape(text, |_| false)
}

fn escape(text: &str, is_kept: fn(char) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match is_harmful(c) && !is_kept(c) {
            true => escaped.extend(c.escape_unicode()),
            false => escaped.push(c),
        }
    }
    escaped
}

/// Returns whether a terminal may act on the character, or show others in another order or not at all: the control
/// characters, the bidirectional ones (<https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters>), the
/// separators of lines, annotations and tags.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{206f}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_control_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\tc\n"), "a\\u{1b}[2Jb\tc\n");
        assert_eq!(printable("\u{9b}\u{7f}\r"), "\\u{9b}\\u{7f}\\u{d}");
        assert_eq!(printable("\u{202e}txt.exe"), "\\u{202e}txt.exe");
        assert_eq!(printable_line("a\nb\u{2066}"), "a\\u{a}b\\u{2066}");
    }

    #[test]
    fn what_people_write_is_shown_as_it_is() {
        // With a joiner, a selector, a combining character and letters that are written from the right.
        for text in ["👩‍👩‍👧 ❤\u{fe0f}", "e\u{301}", "שלום \\ \"'"] {
            assert_eq!(printable(text), text);
        }
    }
}
