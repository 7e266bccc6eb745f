//! A conversation: lines of input out, messages in.

mod command;
mod input;
mod screen;
mod terminal;

use std::fs;
use std::pin::pin;

use engineio_client::{Client, Handle, Message, Reconnect};
use tokio::sync::mpsc;
use tokio::time::sleep;

use self::input::Entry;
use self::screen::Screen;
use crate::arguments::Talk;
use crate::failure::Failure;

/// Connects, and talks until the input or the session ends.
pub(crate) async fn run(options: Talk) -> Result<(), Failure> {
    let files = read_files(&options)?;
    let mut builder = options.connection.builder()?;
    if options.reconnect {
        builder = builder.reconnect(Reconnect::new());
    }
    let client = builder.connect().await?;
    let input = input::open(&options)?;
    let (printer, terminal) = input.editor.unzip();
    let mut screen = Screen::new(&options, printer);
    screen.remark("connected; each line is a message, Ctrl-D ends the session");
    let results = send_all(client.handle(), files, input.entries);
    let client = exchange(client, &options, &mut screen, results).await;
    screen.leave_editor();
    if let Some(terminal) = terminal {
        terminal.restore();
    }
    let client = client?;
    if let Some(error) = client.disconnect_error() {
        return Err(error.into());
    }
    if let Some(reason) = client.disconnect_reason() {
        screen.remark(&reason.to_string());
    }
    Ok(())
}

/// Reads the files to send, before anything is sent: a name that is wrong loses no message.
fn read_files(options: &Talk) -> Result<Vec<Message>, Failure> {
    let read = |path: &std::path::PathBuf| match fs::read(path) {
        Ok(content) => Ok(Message::from(content)),
        Err(error) => {
            let message = format!("cannot read {}: {error}", path.display());
            Err(Failure::session(message))
        }
    };
    options.send_file.iter().map(read).collect()
}

/// Shows the messages until the session ends, or for the time of `--linger` after the input has ended.
async fn exchange(
    mut client: Client,
    options: &Talk,
    screen: &mut Screen,
    mut results: mpsc::Receiver<Result<(), String>>,
) -> Result<Client, Failure> {
    let handle = client.handle();
    let mut settled = pin!(handle.settled());
    let (mut transport, mut is_settled) = (client.transport(), false);
    let mut has_input = true;
    loop {
        tokio::select! {
            result = results.recv(), if has_input => match result {
                Some(Ok(())) => {}
                Some(Err(error)) => screen.remark(&error),
                // The server may still answer the last messages.
                None => has_input = false,
            },
            message = client.next() => match message {
                Some(message) => screen
                    .message(&message)
                    .map_err(|error| Failure::session(format!("cannot write: {error}")))?,
                None => return Ok(client),
            },
            () = sleep(options.linger), if !has_input => {
                client.close().await;
                return Ok(client);
            }
            now = &mut settled, if !is_settled => {
                is_settled = true;
                if now != transport {
                    transport = now;
                    screen.remark(&format!("upgraded to {}", transport.name()));
                }
            }
        }
    }
}

/// Sends the files and then the input, in a task of its own: a slow server must not stop the reading of its messages.
/// Returns one result for each message; the channel closes when the input ends.
fn send_all(
    handle: Handle,
    files: Vec<Message>,
    mut entries: mpsc::Receiver<Entry>,
) -> mpsc::Receiver<Result<(), String>> {
    let (report, results) = mpsc::channel(64);
    tokio::spawn(async move {
        for file in files {
            if handle.send(file).await.is_err() {
                return;
            }
        }
        while let Some(entry) = entries.recv().await {
            let result = match entry {
                Entry::Message(message) => match handle.send(message).await {
                    Ok(()) => Ok(()),
                    Err(_) if !handle.is_open() => return,
                    Err(error) => Err(format!("not sent: {error}")),
                },
                Entry::Remark(remark) => Err(remark),
            };
            if report.send(result).await.is_err() {
                return;
            }
        }
    });
    results
}
