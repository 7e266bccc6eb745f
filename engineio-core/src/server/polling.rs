//! A session that is reached by polling.

use super::input::{ExchangeId, Output};
use super::machine::Machine;
use super::post::Post;

/// Reached by polling alone.
#[derive(Debug, Default)]
pub(super) struct Polling {
    /// The GET that waits.
    pub(super) poll: Option<Poll>,
    /// The POST that is being read, or whose packets wait for room in the inbox.
    pub(super) post: Option<Post>,
}

#[derive(Debug)]
pub(super) struct Poll {
    pub(super) id: ExchangeId,
    /// The driver knows that the payload is ready.
    pub(super) ready: bool,
    /// To be answered even if there is nothing to send.
    pub(super) noop: bool,
}

impl Poll {
    pub(super) const fn new(id: ExchangeId) -> Self {
        Self {
            id,
            ready: false,
            noop: false,
        }
    }
}

impl Polling {
    /// Returns whether a poll waits for something to send.
    pub(super) fn is_ready(&self) -> bool {
        self.poll.as_ref().is_some_and(|poll| !poll.ready)
    }

    /// Takes this poll, if it waits.
    pub(super) fn take(&mut self, id: ExchangeId) -> Option<Poll> {
        self.poll.take_if(|poll| poll.id == id)
    }

    /// Takes this poll, if the driver knows that its payload is ready.
    pub(super) fn take_ready(&mut self, id: ExchangeId) -> Option<Poll> {
        self.poll.take_if(|poll| poll.id == id && poll.ready)
    }

    pub(super) fn flush(&mut self, closing: bool, machine: &mut Machine) {
        if let Some(poll) = &mut self.poll
            && !poll.ready
            && (poll.noop || closing || machine.outbox.is_pending())
        {
            poll.ready = true;
            machine.output(Output::AnswerPoll(poll.id));
        }
    }

    /// Answers the poll that waits. Returns it: it gets the last packet.
    pub(super) fn release(self, machine: &mut Machine) -> Option<ExchangeId> {
        let poll = self.poll?;
        if !poll.ready {
            machine.output(Output::AnswerPoll(poll.id));
        }
        Some(poll.id)
    }
}
