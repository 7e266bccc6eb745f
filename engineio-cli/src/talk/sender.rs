//! What is sent: files, then the input, with an account of what did not leave.

use engineio_client::{Handle, Message, SendError};
use tokio::sync::mpsc;

use super::input::{Batch, Entry, Place};
use super::limit;

/// Sends messages and counts them.
#[derive(Debug)]
pub(super) struct Sender {
    handle: Handle,
    batches: mpsc::Receiver<Batch>,
    pub(super) tally: Tally,
}

/// The account of a conversation.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Messages that were to be sent.
    pub(super) read: u64,
    /// Those that have left.
    pub(super) sent: u64,
    /// The first thing that could not be read or sent.
    pub(super) fault: Option<String>,
    /// Whether the input was read to its end.
    pub(super) is_complete: bool,
}

impl Sender {
    pub(super) fn new(handle: Handle, batches: mpsc::Receiver<Batch>) -> Self {
        Self {
            handle,
            batches,
            tally: Tally::default(),
        }
    }

    /// Sends the files and then the input, until that or the session is over.
    pub(super) async fn run(&mut self, files: Batch, remarks: mpsc::Sender<String>) {
        let mut next = Some(files);
        while let Some(batch) = next {
            if !self.send(batch, &remarks).await {
                return;
            }
            next = self.batches.recv().await;
        }
        self.tally.is_complete = true;
    }

    /// Sends a batch and waits until it has left. Returns whether the session and the input go on.
    async fn send(&mut self, batch: Batch, remarks: &mpsc::Sender<String>) -> bool {
        let (mut queued, mut goes_on) = (0, true);
        for entry in batch {
            let fault = match entry {
                Entry::Message(message, place) => match self.queue(message, &place).await {
                    Queued::Yes => {
                        queued += 1;
                        continue;
                    }
                    Queued::Over => {
                        goes_on = false;
                        continue;
                    }
                    Queued::Refused(why) => why,
                },
                Entry::Refused(why) => {
                    self.tally.read += 1;
                    format!("not sent: {why}")
                }
                Entry::Broken(why) => {
                    goes_on = false;
                    why
                }
                Entry::Remark(remark) => {
                    let _ = remarks.send(remark).await;
                    continue;
                }
            };
            let _ = remarks.send(fault.clone()).await;
            self.tally.fault.get_or_insert(fault);
        }
        // An error means that some of them are lost, or that nobody knows.
        if self.handle.flush().await.is_ok() {
            self.tally.sent += queued;
        }
        goes_on
    }

    async fn queue(&mut self, message: Message, place: &Place) -> Queued {
        self.tally.read += 1;
        let limit = limit(&self.handle);
        // A text has one byte more than its characters: the type of the packet.
        let length = message.len() + usize::from(!message.is_binary());
        if length > limit {
            return Queued::Refused(format!(
                "not sent: {place}{length} bytes, and the server accepts {limit}"
            ));
        }
        match self.handle.send(message).await {
            Ok(()) => Queued::Yes,
            Err(SendError::Closed(_)) => Queued::Over,
            Err(error) => Queued::Refused(format!("not sent: {place}{error}")),
        }
    }
}

impl Tally {
    /// Returns the number of messages of which it is not certain that they have left.
    pub(super) const fn missing(&self) -> u64 {
        self.read - self.sent
    }
}

/// The outcome for one message.
enum Queued {
    Yes,
    Refused(String),
    /// The session is over.
    Over,
}
