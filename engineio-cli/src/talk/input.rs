//! Lines of input, from an editor with a history where somebody types, and from a pipe otherwise.

use std::env;
use std::fmt::{self, Display};
use std::fs;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::thread;

use engineio_client::{Handle, Message};
use rustyline::error::ReadlineError;
use rustyline::{Config, DefaultEditor, ExternalPrinter};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::command::{Format, Line};
use super::terminal::Terminal;
use super::{MOST, limit};
use crate::arguments::Talk;
use crate::failure::Failure;

/// The number of bytes that are read from a pipe at a time.
const BUFFER: usize = 64 * 1024;
const REMEMBERED: usize = 1_000;

/// What a line of input, or its end, asks for.
#[derive(Debug)]
pub(super) enum Entry {
    Message(Message, Place),
    /// A line that cannot be sent, and why.
    Refused(String),
    /// The answer to a command, which sends nothing.
    Remark(String),
    /// The input cannot be read further than this.
    Broken(String),
}

/// The origin of a message, for complaints about it.
#[derive(Debug)]
pub(super) enum Place {
    Line(u64),
    File(PathBuf),
    Typed,
}

/// Entries that are sent together.
pub(super) type Batch = Vec<Entry>;

/// Prints above the line that is being typed.
pub(super) type Printer = Box<dyn FnMut(String) -> rustyline::Result<()> + Send>;

/// The source of the entries.
pub(super) struct Input {
    /// Closed at the end of the input.
    pub(super) batches: mpsc::Receiver<Batch>,
    /// Somebody types, who sees what happens and may give commands.
    pub(super) is_typed: bool,
    /// The way to print and the terminal to restore, where it is an editor.
    pub(super) editor: Option<(Printer, Terminal)>,
    /// The signal SIGINT or its key, which the editor takes while it waits for a line.
    pub(super) interrupt: oneshot::Receiver<()>,
}

/// Starts to read, in a thread: reading from a terminal or a pipe cannot be cancelled.
pub(super) fn open(options: &Talk, handle: Handle) -> Result<Input, Failure> {
    let is_typed = io::stdin().is_terminal() && io::stdout().is_terminal();
    let format = Format {
        is_binary: options.binary,
        is_json: options.json,
    };
    // The thread reads the next batch while one is sent, and no further. An editor never waits: printing above its line
    // waits until it has taken the text, and the task that prints may be the one that sends.
    let is_edited = is_typed && is_editable();
    let most = if is_edited { Semaphore::MAX_PERMITS } else { 1 };
    let (sender, batches) = mpsc::channel(most);
    let (interrupted, interrupt) = oneshot::channel();
    let mut opened = Input {
        batches,
        is_typed,
        editor: None,
        interrupt,
    };
    if !is_edited {
        let input = BufReader::with_capacity(BUFFER, io::stdin());
        thread::spawn(move || match is_typed {
            true => read_typed(input, format, || limit(&handle), &sender),
            false => read(input, format, || limit(&handle), &sender),
        });
        return Ok(opened);
    }
    let failed = |error| Failure::session(format!("cannot use the terminal: {error}"));
    let config = Config::builder()
        .max_history_size(REMEMBERED)
        .and_then(|config| config.history_ignore_dups(true));
    let config = config
        .map_err(failed)?
        // As in shells, for lines with secrets.
        .history_ignore_space(true)
        .auto_add_history(true)
        .build();
    let mut editor = DefaultEditor::with_config(config).map_err(failed)?;
    let mut printer = editor.create_external_printer().map_err(failed)?;
    let terminal = Terminal::save();
    let history = history().filter(|_| !options.no_history);
    thread::spawn(move || edit(editor, history, format, sender, interrupted));
    opened.editor = Some((Box::new(move |text| printer.print(text)), terminal));
    Ok(opened)
}

/// Returns whether the terminal can move its cursor, as the editor needs it; it knows these that cannot.
fn is_editable() -> bool {
    let name = env::var("TERM").unwrap_or_default();
    !["dumb", "cons25", "emacs"].contains(&name.to_ascii_lowercase().as_str())
}

/// Reads lines that somebody types on a terminal without an editor.
fn read_typed<R: Read>(
    mut input: BufReader<R>,
    format: Format,
    limit: impl Fn() -> usize,
    sender: &mpsc::Sender<Batch>,
) {
    loop {
        let goes_on = match next_line(&mut input, limit()) {
            Ok(Some(Ok(line))) => act(format.typed(line), sender),
            Ok(Some(Err(why))) => act(Line::Remark(format!("not sent: {why}")), sender),
            Ok(None) => false,
            Err(error) => {
                let why = format!("cannot read the terminal: {error}");
                let _ = sender.blocking_send(vec![Entry::Broken(why)]);
                false
            }
        };
        if !goes_on {
            return;
        }
    }
}

/// Does what a line that was typed asks for. Returns whether the input goes on.
fn act(line: Line, sender: &mpsc::Sender<Batch>) -> bool {
    let entry = match line {
        Line::Send(message) => Entry::Message(message, Place::Typed),
        Line::Remark(remark) => Entry::Remark(remark),
        Line::Quit => return false,
    };
    sender.blocking_send(vec![entry]).is_ok()
}

/// Reads lines until the end of the input.
fn read<R: Read>(
    mut input: BufReader<R>,
    format: Format,
    limit: impl Fn() -> usize,
    sender: &mpsc::Sender<Batch>,
) {
    let mut number = 0;
    loop {
        let (batch, goes_on) = next_batch(&mut input, format, limit(), &mut number);
        if sender.blocking_send(batch).is_err() || !goes_on {
            return;
        }
    }
}

/// Reads a line, and those that are there already: they may share a request. Returns whether the input goes on.
fn next_batch<R: Read>(
    input: &mut BufReader<R>,
    format: Format,
    limit: usize,
    number: &mut u64,
) -> (Batch, bool) {
    let mut batch = Vec::new();
    loop {
        *number += 1;
        let entry = match next_line(input, limit) {
            Ok(Some(line)) => line.and_then(|line| format.message(line)),
            Ok(None) => return (batch, false),
            Err(error) => {
                let why = format!("line {number}: cannot read the input: {error}");
                batch.push(Entry::Broken(why));
                return (batch, false);
            }
        };
        batch.push(match entry {
            Ok(message) => Entry::Message(message, Place::Line(*number)),
            Err(why) => Entry::Refused(format!("line {number}: {why}")),
        });
        if !input.buffer().contains(&b'\n') {
            return (batch, true);
        }
    }
}

/// Reads a line without its line feed, or why it is not to be sent. Does not hold more than the limit.
fn next_line(
    input: &mut impl BufRead,
    limit: usize,
) -> io::Result<Option<Result<Vec<u8>, String>>> {
    let mut line = Vec::new();
    // One byte more for the line feed.
    let most = limit as u64 + 1;
    let length = input.by_ref().take(most).read_until(b'\n', &mut line)?;
    if line.pop_if(|last| *last == b'\n').is_none() && length as u64 == most {
        // The next line begins behind this one, if it ends.
        if input.by_ref().take(MOST as u64).skip_until(b'\n')? == MOST {
            return Err(io::Error::other("the line has no end"));
        }
        let why = format!("more than the {limit} bytes that the server accepts");
        return Ok(Some(Err(why)));
    }
    Ok((length > 0).then_some(Ok(line)))
}

/// Reads lines until the user ends the input, and then leaves the terminal to the editor, which goes on to print what comes
/// above its line. It would drop a text that it is given while it ends.
fn edit(
    mut editor: DefaultEditor,
    history: Option<PathBuf>,
    format: Format,
    sender: mpsc::Sender<Batch>,
    interrupted: oneshot::Sender<()>,
) {
    let mut outcome = read_edited(&mut editor, history, format, &sender);
    drop(sender);
    while outcome.is_ok() {
        outcome = editor.readline("").map(drop);
    }
    if let Err(ReadlineError::Interrupted) = outcome {
        // Nobody waits for it if the session is over.
        let _ = interrupted.send(());
    }
}

fn read_edited(
    editor: &mut DefaultEditor,
    history: Option<PathBuf>,
    format: Format,
    sender: &mpsc::Sender<Batch>,
) -> Result<(), ReadlineError> {
    let send = |entry| sender.blocking_send(vec![entry]).is_ok();
    let history = history.filter(|path| match protect(path) {
        Ok(()) => true,
        Err(why) => {
            let path = path.display();
            send(Entry::Remark(format!(
                "cannot remember lines in {path}: {why}"
            )));
            false
        }
    });
    if let Some(history) = &history {
        // There is none before the first conversation.
        let _ = editor.load_history(history);
    }
    loop {
        match editor.readline("> ") {
            Ok(line) => {
                // Written line by line, because the program can end at any time.
                if let Some(history) = &history
                    && let Err(error) = editor.append_history(history)
                {
                    send(Entry::Remark(format!(
                        "cannot remember the line in {}: {error}",
                        history.display()
                    )));
                }
                if !meanings(format, &line).all(|line| act(line, sender)) {
                    return Ok(());
                }
            }
            Err(ReadlineError::Eof) => return Ok(()),
            Err(ReadlineError::Interrupted) => return Err(ReadlineError::Interrupted),
            Err(error) => {
                // The editor has lost what it had read, up to an unknown place: going on might send half a line.
                let why = match &error {
                    ReadlineError::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                        "what was typed or pasted has a byte that is not UTF-8".to_owned()
                    }
                    error => error.to_string(),
                };
                send(Entry::Broken(format!("cannot read the terminal: {why}")));
                return Err(error);
            }
        }
    }
}

/// Returns the meaning of each line that the editor has read together. Text of several lines was pasted, and has no commands: a
/// `:quit` in it would drop the lines behind it.
fn meanings(format: Format, text: &str) -> impl Iterator<Item = Line> {
    let is_pasted = lines(text).count() > 1;
    lines(text).map(move |line| match is_pasted {
        true => format.pasted(line.into()),
        false => format.typed(line.into()),
    })
}

/// Returns the lines of a text, of which the last one may end with a line feed or not.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.strip_suffix('\n').unwrap_or(text).split('\n')
}

/// Returns the file of the history, in a directory that exists, as the XDG Base Directory Specification places it.
fn history() -> Option<PathBuf> {
    let state = env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        // As the specification says of a path that is not absolute.
        .filter(|path| path.is_absolute());
    let state = match state {
        Some(state) => state,
        None => env::home_dir()?.join(".local/state"),
    };
    let directory = state.join("eio");
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(&directory).ok()?;
    Some(directory.join("history"))
}

/// Keeps others from reading a history that exists already. Fails for what is not a regular file: opening a pipe would wait for
/// somebody who writes into it.
fn protect(history: &Path) -> Result<(), String> {
    let metadata = match fs::metadata(history) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    #[cfg(unix)]
    {
        let mut permissions = metadata.permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
        fs::set_permissions(history, permissions).map_err(|error| error.to_string())?;
    }
    Ok(())
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}: "),
            Self::File(path) => write!(f, "{}: ", path.display()),
            Self::Typed => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    const FORMAT: Format = Format {
        is_binary: false,
        is_json: false,
    };

    /// The batches of an input that comes in these pieces.
    fn batches(pieces: &[&str], limit: usize) -> Vec<Vec<String>> {
        struct Pieces(Vec<Vec<u8>>);
        impl Read for Pieces {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                match self.0.pop() {
                    Some(piece) => Cursor::new(piece).read(buffer),
                    None => Ok(0),
                }
            }
        }
        let pieces = pieces.iter().rev().map(|piece| piece.as_bytes().to_vec());
        let mut input = BufReader::new(Pieces(pieces.collect()));
        let (mut batches, mut number) = (Vec::new(), 0);
        loop {
            let (batch, goes_on) = next_batch(&mut input, FORMAT, limit, &mut number);
            let entries = batch.into_iter().map(|entry| match entry {
                Entry::Message(message, _) => message.as_text().unwrap_or_default().to_owned(),
                Entry::Refused(why) | Entry::Remark(why) | Entry::Broken(why) => why,
            });
            batches.push(entries.collect());
            if !goes_on {
                return batches;
            }
        }
    }

    #[test]
    fn lines_that_are_there_make_one_batch() {
        let found = batches(&["a\nb\nc", "d\n", "", "e"], 10);
        assert_eq!(found, [vec!["a", "b"], vec!["cd"], vec![]]);
        let found = batches(&["a\n\nlast"], 10);
        assert_eq!(found, [vec!["a", ""], vec!["last"], vec![]]);
    }

    #[test]
    fn each_line_of_a_pasted_text_is_one() {
        for (text, expected) in [
            ("", &[""][..]),
            ("a", &["a"]),
            ("a\n", &["a"]),
            ("a\n\nb", &["a", "", "b"]),
        ] {
            assert_eq!(lines(text).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn pasted_text_of_several_lines_has_no_commands() {
        let send = |text: &str| Line::Send(text.into());
        let found: Vec<_> = meanings(FORMAT, "a\n:quit\n::b\n").collect();
        assert_eq!(found, [send("a"), send(":quit"), send("::b")]);
        assert_eq!(meanings(FORMAT, ":quit").collect::<Vec<_>>(), [Line::Quit]);
    }

    #[cfg(unix)]
    #[test]
    fn a_history_is_a_file_that_only_its_owner_can_read() {
        use std::os::unix::fs::PermissionsExt;

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("history");
        assert_eq!(protect(&path), Ok(()));
        fs::write(&path, b"\xff").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(protect(&path), Ok(()));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(protect(directory.path()).unwrap_err().contains("regular"));
    }

    #[test]
    fn a_line_above_the_limit_is_skipped() {
        let found = batches(&["1234\n12345\nrest\n"], 4);
        let error = "line 2: more than the 4 bytes that the server accepts";
        assert_eq!(found, [vec!["1234", error, "rest"], vec![]]);
        assert_eq!(batches(&["1234"], 4), [vec!["1234"], vec![]]);
        let error = "line 1: more than the 4 bytes that the server accepts";
        assert_eq!(batches(&["123456"], 4), [vec![error], vec![]]);
    }
}
