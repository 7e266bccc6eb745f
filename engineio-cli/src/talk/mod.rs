//! A conversation: lines of input out, messages in.

mod command;
mod input;
mod json;
mod reconnect;
mod screen;
mod sender;
mod terminal;

use std::pin::pin;
use std::time::Duration;

use engineio_client::{Client, DisconnectReason, Handle, Message};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use self::input::{Batch, Entry, Place};
use self::screen::Screen;
use self::sender::Sender;
use crate::arguments::Talk;
use crate::failure::{Failure, with_causes};
use crate::files;
use crate::output::{LAST_WORDS, tell_aside};
use crate::signals::{SIGINT, Signals};

/// The largest message that is sent, in bytes, even if the server accepts more or does not say.
const MOST: usize = 100_000_000;
/// The time in which the end of the input is noticed, if the server closes the session in answer to the last line.
const END_OF_INPUT: Duration = Duration::from_secs(1);

/// Connects, and talks until the input or the session ends.
pub(crate) async fn run(options: Talk) -> Result<(), Failure> {
    let files = read_files(&options)?;
    let mut builder = options.connection.builder()?;
    let (report, remarks) = mpsc::channel(64);
    let (give_back, unsent) = mpsc::unbounded_channel();
    match options.reconnect {
        true => builder = reconnect::enable(builder, &report, give_back),
        false => drop(give_back),
    }
    let mut client = builder.connect().await?;
    // Before the editor, which takes SIGINT while it waits for a line, and then restores what was there before.
    let listen = Signals::listen(terminal::restore_mode);
    let mut signals =
        listen.map_err(|error| Failure::session(format!("cannot wait for signals: {error}")))?;
    let input = input::open(&options, client.handle())?;
    let (printer, terminal) = input.editor.unzip();
    let is_typed = input.is_typed;
    let screen = Screen::new(&options, printer);
    let mut sender = Sender::new(client.handle(), input.batches, unsent, report);
    // Beside the reading: a slow server must not stop it.
    let sending = sender.run(files);
    let result = exchange(
        &mut client,
        &options,
        &screen,
        sending,
        remarks,
        input.interrupt,
        &mut signals,
    )
    .await;
    screen.leave_editor().await;
    if let Some(terminal) = terminal {
        terminal.restore().await;
    }
    // A server that has not answered the close may not have read what had left. It has ended, so that nothing waits.
    let is_in_doubt = client.flush().await.is_err();
    let complaint = complaint(&client, &mut sender, &options, is_typed, is_in_doubt);
    if let Err(failure) = result {
        if let Some(text) = complaint.filter(|_| failure.is_asked_for()) {
            let _ = timeout(LAST_WORDS, tell_aside(format!("eio: {text}"))).await;
        }
        return Err(failure);
    }
    if let Some(text) = complaint {
        return Err(Failure::session(text));
    }
    if let Some(reason) = client.disconnect_reason() {
        let reason = reason.to_string();
        let remark = signals.unless(screen.last_remark(&reason));
        remark.await.map_err(Failure::signal)?;
    }
    Ok(())
}

/// Reads the files to send, before anything is sent: a name that is wrong loses no message.
fn read_files(options: &Talk) -> Result<Batch, Failure> {
    let read = |path: &std::path::PathBuf| match files::read(path, MOST) {
        Ok(content) => Ok(Entry::Message(
            Message::from(content),
            Place::File(path.clone()),
        )),
        Err(why) => Err(Failure::usage(why)),
    };
    options.send_file.iter().map(read).collect()
}

/// Returns the size of the largest message that may be sent now, in bytes.
fn limit(handle: &Handle) -> usize {
    handle.max_payload().unwrap_or(MOST).min(MOST)
}

/// Shows the messages until the session ends, or for the time of `--linger` after the input has ended.
async fn exchange(
    client: &mut Client,
    options: &Talk,
    screen: &Screen,
    sending: impl Future<Output = ()>,
    mut remarks: mpsc::Receiver<String>,
    mut interrupt: oneshot::Receiver<()>,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let welcome = "connected; each line is a message, Ctrl-D ends the session";
    shown(screen.remark(welcome), client, signals).await?;
    let mut sending = pin!(sending);
    let handle = client.handle();
    let mut settled = pin!(handle.settled());
    let (mut is_sent, mut is_over, mut is_settled, mut is_editing) = (false, false, false, true);
    let began_with = client.transport();
    while !(is_sent && is_over) {
        tokio::select! {
            Some(remark) = remarks.recv() => {
                shown(screen.remark(&remark), client, signals).await?;
            }
            () = &mut sending, if !is_sent => is_sent = true,
            message = client.next(), if !is_over => match message {
                Some(message) => shown(screen.message(&message), client, signals).await??,
                None => is_over = true,
            },
            // The server may still answer the last messages.
            () = sleep(options.linger), if is_sent && !is_over => {
                stop(client, signals).await?;
            }
            () = sleep(END_OF_INPUT), if is_over && !is_sent => break,
            now = &mut settled, if !is_settled => {
                is_settled = true;
                let remark = match client.upgrade_error() {
                    Some(error) => format!("not upgraded: {}", with_causes(&error)),
                    None if now != began_with => format!("upgraded to {}", now.name()),
                    None => continue,
                };
                shown(screen.remark(&remark), client, signals).await?;
            }
            signal = signals.next() => {
                stop(client, signals).await?;
                return Err(Failure::signal(signal));
            }
            interrupted = &mut interrupt, if is_editing => {
                // An error if the input has ended in another way.
                is_editing = false;
                if interrupted.is_ok() {
                    stop(client, signals).await?;
                    return Err(Failure::signal(SIGINT));
                }
            }
        }
    }
    while let Ok(remark) = remarks.try_recv() {
        shown(screen.remark(&remark), client, signals).await?;
    }
    match is_editing && interrupt.try_recv().is_ok() {
        true => Err(Failure::signal(SIGINT)),
        false => Ok(()),
    }
}

/// Waits until something is shown. Nobody may read it, so a signal ends the wait, and the session.
async fn shown<T>(
    showing: impl Future<Output = T>,
    client: &Client,
    signals: &mut Signals,
) -> Result<T, Failure> {
    match signals.unless(showing).await {
        Ok(outcome) => Ok(outcome),
        Err(signal) => {
            stop(client, signals).await?;
            Err(Failure::signal(signal))
        }
    }
}

/// Closes the session, at once if another signal comes.
async fn stop(client: &Client, signals: &mut Signals) -> Result<(), Failure> {
    signals.unless(client.close()).await.map_err(|signal| {
        client.abort();
        Failure::signal(signal)
    })
}

/// Returns what is wrong with the end of a conversation: an error, or input that was not sent or may not have arrived.
fn complaint(
    client: &Client,
    sender: &mut Sender,
    options: &Talk,
    is_typed: bool,
    is_in_doubt: bool,
) -> Option<String> {
    let error = client.disconnect_error().map(|error| with_causes(&error));
    let reason = client.disconnect_reason();
    let is_cut = is_in_doubt || reason.is_some_and(|reason| reason != DisconnectReason::Client);
    let account = sender.account(client.take_unsent().len(), is_cut);
    let tally = &sender.tally;
    let has_arrived = account.unsent == 0 && account.doubtful == 0;
    let is_all_sent = has_arrived && tally.fault.is_none() && tally.is_complete;
    // A user at a terminal has seen which lines were not sent.
    let is_told = is_typed && !tally.is_broken;
    if error.is_none() && (is_told || is_all_sent) {
        return None;
    }
    let mut parts = Vec::new();
    match (error, reason) {
        (Some(error), _) => parts.push(error),
        (None, Some(reason)) if tally.fault.is_none() => parts.push(reason.to_string()),
        _ => {}
    }
    if options.quiet {
        parts.extend(tally.fault.clone());
    }
    let read = account.read;
    for (count, what) in [
        (account.unsent, "were not sent"),
        (account.doubtful, "may not have arrived"),
    ] {
        if count > 0 {
            parts.push(format!("{count} of {read} messages {what}"));
        }
    }
    if !tally.is_complete && !is_told {
        parts.push("the input was not read to its end".to_owned());
    }
    Some(parts.join("; "))
}
