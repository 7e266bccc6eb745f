//! What is sent: files, then the input, with an account of what did not leave.

use std::collections::VecDeque;
use std::time::Duration;

use engineio_client::{Handle, Message, SendError, Transport};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::input::{Batch, Entry, Place};
use super::limit;

/// The time without input after which a server that ends the session is taken to have read what was sent before.
const PAUSE: Duration = Duration::from_secs(1);

/// The time between two looks whether another session is open.
const STEP: Duration = Duration::from_millis(10);

/// The remains of a session that has ended.
#[derive(Debug)]
pub(super) struct Unsent {
    /// The messages that it had not sent.
    pub(super) messages: Vec<Message>,
    pub(super) transport: Transport,
    /// The server closed it by the protocol; it did not break.
    pub(super) is_close: bool,
}

/// Sends messages and counts them.
#[derive(Debug)]
pub(super) struct Sender {
    handle: Handle,
    batches: mpsc::Receiver<Batch>,
    /// The end of each session, if another one follows.
    unsent: mpsc::UnboundedReceiver<Unsent>,
    remarks: mpsc::Sender<String>,
    /// The messages to queue next.
    waiting: VecDeque<(Message, Place)>,
    /// The number of messages that were queued since the last flush, in a session that has not ended.
    queued: u64,
    /// The same for those that may have arrived before their session ended.
    doubtful: u64,
    /// The number of messages that a session took with it when it ended, if no other one follows.
    lost: u64,
    /// The number of messages that have left by another transport than polling in this session, which confirms none.
    unconfirmed: u64,
    /// The number of those that have left since the input last paused.
    burst: u64,
    pub(super) tally: Tally,
}

/// The account of a conversation.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Messages that were to be sent.
    pub(super) read: u64,
    /// Those that have left.
    sent: u64,
    /// Those that may not have arrived, and may have.
    doubtful: u64,
    /// The first thing that could not be read or sent.
    pub(super) fault: Option<String>,
    /// Whether the input was read to its end.
    pub(super) is_complete: bool,
    /// It could not be read further.
    pub(super) is_broken: bool,
}

/// The numbers of messages that were read, were not sent, and may have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) read: u64,
    /// The server has certainly not got them.
    pub(super) unsent: u64,
    /// The server may have got them.
    pub(super) doubtful: u64,
}

impl Sender {
    pub(super) fn new(
        handle: Handle,
        batches: mpsc::Receiver<Batch>,
        unsent: mpsc::UnboundedReceiver<Unsent>,
        remarks: mpsc::Sender<String>,
    ) -> Self {
        Self {
            handle,
            batches,
            unsent,
            remarks,
            waiting: VecDeque::new(),
            queued: 0,
            doubtful: 0,
            lost: 0,
            unconfirmed: 0,
            burst: 0,
            tally: Tally::default(),
        }
    }

    /// Returns the account after the end of the last session, of which `unsent` messages were not sent. If `is_cut`, it
    /// was not this side that ended it.
    ///
    /// The answer to a POST confirms its messages. Those on a WebSocket have left, and a server that closes it may have
    /// read none of the last ones. If there was a single one since a pause, the end was the answer to it.
    pub(super) fn account(&mut self, unsent: usize, mut is_cut: bool) -> Account {
        let mut unsent = unsent as u64;
        // Where sessions follow one another, the last one may have ended when nothing was sent any more.
        while let Ok(ended) = self.unsent.try_recv() {
            unsent += ended.messages.len() as u64;
            is_cut = true;
        }
        let lost = std::mem::take(&mut self.lost) + std::mem::take(&mut self.queued);
        self.tally.doubtful += lost.saturating_sub(unsent);
        if is_cut && (self.burst > 1 || !self.tally.is_complete) {
            self.doubt_unconfirmed();
        }
        let Tally {
            read,
            sent,
            doubtful,
            ..
        } = self.tally;
        Account {
            read,
            unsent: read.saturating_sub(sent + doubtful),
            doubtful,
        }
    }

    /// Sends the files and then the input, until that or the session is over.
    pub(super) async fn run(&mut self, files: Batch) {
        let mut next = Some(files);
        while let Some(batch) = next {
            if !self.send(batch).await {
                return;
            }
            next = self.next().await;
        }
        self.tally.is_complete = true;
    }

    /// Returns the next batch, which is empty if there is only something to send again.
    async fn next(&mut self) -> Option<Batch> {
        loop {
            let began = Instant::now();
            tokio::select! {
                biased;
                Some(unsent) = self.unsent.recv() => self.take_back(unsent).await,
                batch = self.batches.recv() => {
                    if batch.is_some() && began.elapsed() >= PAUSE {
                        self.burst = 0;
                    }
                    return batch;
                }
            }
            if !self.waiting.is_empty() {
                return Some(Batch::new());
            }
        }
    }

    /// Sends a batch and waits until it has left. Returns whether the session and the input go on.
    async fn send(&mut self, batch: Batch) -> bool {
        let mut goes_on = true;
        for entry in batch {
            match entry {
                Entry::Message(message, place) => {
                    self.tally.read += 1;
                    self.waiting.push_back((message, place));
                    goes_on &= self.queue().await;
                }
                Entry::Refused(why) => {
                    self.tally.read += 1;
                    self.complain(format!("not sent: {why}")).await;
                }
                Entry::Broken(why) => {
                    goes_on = false;
                    self.tally.is_broken = true;
                    self.complain(why).await;
                }
                Entry::Remark(remark) => self.remark(remark).await,
            }
        }
        self.flush().await && goes_on
    }

    /// Returns why a message cannot be sent that is too large for the server. Waits until the upgrade has succeeded or
    /// failed if that decides.
    async fn too_large(&self, message: &Message, place: &Place) -> Option<String> {
        let limit = limit(&self.handle);
        let mut length = message.len();
        if !message.is_binary() {
            // The type of the packet.
            length += 1;
        } else if 1 + base64(length) > limit && self.handle.settled().await == Transport::Polling {
            length = 1 + base64(length);
        }
        (length > limit)
            .then(|| format!("not sent: {place}{length} bytes, and the server accepts {limit}"))
    }

    /// Queues what waits. Returns `false` if the session is over and no other one follows.
    async fn queue(&mut self) -> bool {
        while let Some((message, place)) = self.waiting.front() {
            if let Some(fault) = self.too_large(message, place).await {
                self.complain(fault).await;
                self.waiting.pop_front();
                continue;
            }
            let outcome = tokio::select! {
                biased;
                // It was read earlier than what waits.
                Some(unsent) = self.unsent.recv() => {
                    self.take_back(unsent).await;
                    continue;
                }
                outcome = self.handle.send(message.clone()) => outcome,
            };
            match outcome {
                Ok(()) => self.queued += 1,
                Err(SendError::Closed(_)) => {
                    self.waiting.clear();
                    return false;
                }
                Err(error) => {
                    let fault = format!("not sent: {place}{error}");
                    self.complain(fault).await;
                }
            }
            self.waiting.pop_front();
        }
        true
    }

    /// Waits until what was queued has left, in this session or in one that follows. Returns `false` if none does.
    async fn flush(&mut self) -> bool {
        while self.queue().await {
            let before = self.handle.transport();
            let outcome = tokio::select! {
                biased;
                Some(unsent) = self.unsent.recv() => {
                    self.take_back(unsent).await;
                    continue;
                }
                outcome = self.handle.flush() => outcome,
            };
            if outcome.is_ok() {
                let sent = self.queued + self.doubtful;
                self.tally.sent += sent;
                if [before, self.handle.transport()] != [Transport::Polling; 2] {
                    self.unconfirmed += sent;
                    self.burst += sent;
                }
                (self.queued, self.doubtful) = (0, 0);
                return true;
            }
            let goes_on = self.hear_ends().await;
            let doubtful = std::mem::take(&mut self.doubtful);
            self.tally.doubtful += doubtful;
            self.remark_doubt(doubtful).await;
            if !goes_on && self.waiting.is_empty() {
                self.lost += std::mem::take(&mut self.queued);
                return true;
            }
        }
        false
    }

    /// Takes back the unsent messages of the sessions whose end a flush has noticed, of one or of several: a flush fails
    /// before they are given back. Once a session is open, those of all earlier ones have been given back. Returns `false` if
    /// no session follows.
    async fn hear_ends(&mut self) -> bool {
        loop {
            if self.handle.is_open() && self.unsent.is_empty() {
                return true;
            }
            tokio::select! {
                biased;
                unsent = self.unsent.recv() => match unsent {
                    Some(unsent) => self.take_back(unsent).await,
                    None => return false,
                },
                () = self.handle.wait() => return false,
                () = sleep(STEP) => {}
            }
        }
    }

    /// Lets the messages that a session has not sent wait again, before all others.
    async fn take_back(&mut self, ended: Unsent) {
        let count = ended.messages.len() as u64;
        let left = self.queued.saturating_sub(count);
        self.queued = 0;
        // A flush says later what became of those that have just left, but only for polling can it say that they arrived.
        // A close is the answer to a single message.
        let is_answered = ended.is_close && self.burst + left <= 1;
        if is_answered || ended.transport == Transport::Polling {
            self.doubtful += left;
        } else {
            let doubtful = self.doubt_unconfirmed() + left;
            self.tally.doubtful += left;
            self.remark_doubt(doubtful).await;
        }
        (self.unconfirmed, self.burst) = (0, 0);
        for message in ended.messages.into_iter().rev() {
            self.waiting.push_front((message, Place::Typed));
        }
        if count > 0 {
            let what = messages(count);
            self.remark(format!("{what} left to send in another session"))
                .await;
        }
    }

    /// Counts the messages of a WebSocket as doubtful, and returns their number.
    fn doubt_unconfirmed(&mut self) -> u64 {
        let doubtful = std::mem::take(&mut self.unconfirmed);
        self.tally.sent -= doubtful;
        self.tally.doubtful += doubtful;
        doubtful
    }

    async fn remark_doubt(&self, doubtful: u64) {
        if doubtful > 0 {
            let what = messages(doubtful);
            self.remark(format!("{what} may not have arrived")).await;
        }
    }

    async fn complain(&mut self, fault: String) {
        self.remark(fault.clone()).await;
        self.tally.fault.get_or_insert(fault);
    }

    async fn remark(&self, remark: String) {
        // Nobody shows it any more.
        let _ = self.remarks.send(remark).await;
    }
}

/// Returns the length of this many bytes in base64, as polling carries them.
const fn base64(length: usize) -> usize {
    length.div_ceil(3) * 4
}

fn messages(count: u64) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} message{plural}")
}

#[cfg(test)]
mod tests {
    use engineio_client::Client;
    use engineio_tower::{EngineIoService, Server};
    use tokio::net::TcpListener;

    use super::*;

    /// Returns a sender in a session by this transport, the session, and the other end of its input.
    async fn sender(transport: Transport) -> (Sender, Client, mpsc::Sender<Batch>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let service = EngineIoService::new(Server::builder().build());
        tokio::spawn(async move { engineio_tower::serve(listener, service).await });
        let builder = Client::builder(&url).transports([transport]);
        let client = builder.connect().await.unwrap();
        let (input, batches) = mpsc::channel(1);
        let (_, returned) = mpsc::unbounded_channel();
        let (remarks, _) = mpsc::channel(64);
        let sender = Sender::new(client.handle(), batches, returned, remarks);
        (sender, client, input)
    }

    /// Returns the account of messages that a flush was waiting for when their session ended, of which some were unsent, by
    /// this transport. The flush then finds nothing lost, in the next session.
    async fn after_an_end(transport: Transport, queued: u64, unsent: usize) -> Account {
        let (mut sender, _client, _input) = sender(transport).await;
        let (give_back, returned) = mpsc::unbounded_channel();
        sender.unsent = returned;
        (sender.tally.read, sender.queued) = (queued, queued);
        let unsent = vec!["again".into(); unsent];
        let ended = Unsent {
            messages: unsent,
            transport,
            is_close: false,
        };
        give_back.send(ended).unwrap();
        assert!(sender.flush().await);
        sender.tally.is_complete = true;
        sender.account(0, false)
    }

    #[tokio::test]
    async fn what_has_left_by_websocket_is_confirmed_by_no_flush_in_the_next_session() {
        for (transport, read, unsent, doubtful) in [
            (Transport::WebSocket, 400, 0, 400),
            (Transport::WebSocket, 400, 100, 300),
            (Transport::WebSocket, 400, 400, 0),
            (Transport::WebSocket, 1, 0, 1),
            // Each request was answered.
            (Transport::Polling, 400, 0, 0),
            (Transport::Polling, 400, 100, 0),
        ] {
            let expected = Account {
                read,
                unsent: 0,
                doubtful,
            };
            let accounted = after_an_end(transport, read, unsent).await;
            assert_eq!(accounted, expected, "{transport} {read} {unsent}");
        }
    }

    #[tokio::test]
    async fn a_single_message_of_a_session_that_another_one_follows_is_in_doubt_unless_that_was_closed()
     {
        for (transport, is_close, doubtful) in [
            (Transport::WebSocket, false, 1),
            (Transport::WebSocket, true, 0),
            (Transport::Polling, false, 0),
        ] {
            let (mut sender, _client, _input) = sender(transport).await;
            sender.waiting.push_back(("alone".into(), Place::Line(1)));
            sender.tally.read = 1;
            assert!(sender.flush().await);
            let ended = Unsent {
                messages: Vec::new(),
                transport,
                is_close,
            };
            sender.take_back(ended).await;
            sender.tally.is_complete = true;
            let account = sender.account(0, false);
            assert_eq!((account.unsent, account.doubtful), (0, doubtful));
        }
    }
}
