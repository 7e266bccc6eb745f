//! The lines of input, from an editor with a history where somebody types, and from a pipe otherwise.

use std::env;
use std::fs;
use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;
use std::thread;

use engineio_client::Message;
use rustyline::error::ReadlineError;
use rustyline::{Config, DefaultEditor, ExternalPrinter};
use tokio::sync::mpsc;

use super::command::{Format, Line};
use super::terminal::Terminal;
use crate::arguments::Talk;
use crate::failure::Failure;

/// The most lines of input that wait for a slow server.
const WAITING: usize = 64;
const REMEMBERED: usize = 1_000;

/// The action for a line of input.
#[derive(Debug)]
pub(super) enum Entry {
    Message(Message),
    Remark(String),
}

/// Prints above the line that is being typed.
pub(super) type Printer = Box<dyn FnMut(String) -> rustyline::Result<()> + Send>;

/// The source of the entries, and the way to print and the terminal to restore where it is an editor.
pub(super) struct Input {
    pub(super) entries: mpsc::Receiver<Entry>,
    pub(super) editor: Option<(Printer, Terminal)>,
}

/// Starts to read, in a thread: reading from a terminal or a pipe cannot be cancelled.
pub(super) fn open(options: &Talk) -> Result<Input, Failure> {
    let is_typed = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let format = Format {
        is_binary: options.binary,
        is_json: options.json,
        has_commands: is_typed,
    };
    let (sender, entries) = mpsc::channel(WAITING);
    if !is_typed {
        thread::spawn(move || read(format, &sender));
        return Ok(Input {
            entries,
            editor: None,
        });
    }
    let failed = |error| Failure::session(format!("cannot use the terminal: {error}"));
    let config = Config::builder()
        .max_history_size(REMEMBERED)
        .and_then(|config| config.history_ignore_dups(true));
    let config = config.map_err(failed)?.auto_add_history(true).build();
    let mut editor = DefaultEditor::with_config(config).map_err(failed)?;
    let mut printer = editor.create_external_printer().map_err(failed)?;
    let terminal = Terminal::save();
    let history = history().filter(|_| !options.no_history);
    thread::spawn(move || edit(editor, history, format, &sender));
    Ok(Input {
        entries,
        editor: Some((Box::new(move |text| printer.print(text)), terminal)),
    })
}

fn read(format: Format, sender: &mpsc::Sender<Entry>) {
    let mut input = std::io::stdin().lock();
    let mut line = Vec::new();
    loop {
        match input.read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) => {
                if line.ends_with(b"\n") {
                    line.pop();
                }
                if !pass(format.parse(std::mem::take(&mut line)), sender) {
                    return;
                }
            }
            Err(error) => {
                let _ =
                    sender.blocking_send(Entry::Remark(format!("cannot read the input: {error}")));
                return;
            }
        }
    }
}

fn edit(
    mut editor: DefaultEditor,
    history: Option<PathBuf>,
    format: Format,
    sender: &mpsc::Sender<Entry>,
) {
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
                    let remark =
                        format!("cannot remember the line in {}: {error}", history.display());
                    let _ = sender.blocking_send(Entry::Remark(remark));
                }
                if !pass(format.parse(line.into_bytes()), sender) {
                    return;
                }
            }
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => return,
            Err(error) => {
                let _ = sender
                    .blocking_send(Entry::Remark(format!("cannot read the terminal: {error}")));
                return;
            }
        }
    }
}

/// Passes a line on. Returns whether the input goes on.
fn pass(line: Line, sender: &mpsc::Sender<Entry>) -> bool {
    let entry = match line {
        Line::Send(message) => Entry::Message(message),
        Line::Remark(remark) => Entry::Remark(remark),
        Line::Quit => return false,
    };
    sender.blocking_send(entry).is_ok()
}

/// Returns the file of the history, in a directory that exists, as the XDG Base Directory Specification places it.
fn history() -> Option<PathBuf> {
    let state = env::var_os("XDG_STATE_HOME").filter(|path| !path.is_empty());
    let state = match state {
        Some(state) => PathBuf::from(state),
        None => env::home_dir()?.join(".local/state"),
    };
    let directory = state.join("eio");
    fs::create_dir_all(&directory).ok()?;
    Some(directory.join("history"))
}
