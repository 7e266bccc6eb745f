//! The requests of the polling transport: one GET and one POST at a time.

use std::time::{Duration, Instant};

use super::input::{Output, RequestId};
use super::machine::Machine;
use crate::DisconnectReason;
use crate::timer::Timer;

/// The time for which the next poll waits once two in a row brought no message. python-engineio's server answers every
/// poll at once while an upgrade is in progress, and goes on doing so if the WebSocket breaks before its probe.
const EMPTY_POLL_DELAY: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
pub(super) struct Polling {
    /// The GET that is in progress.
    pub(super) poll: Option<RequestId>,
    /// The POST that is in progress.
    pub(super) post: Option<Post>,
    /// A POST was refused: the session ends for this reason as soon as the poll is back.
    pub(super) post_refused: Option<DisconnectReason>,
    /// The number of polls in a row that brought no message.
    empty_polls: u8,
}

#[derive(Debug)]
pub(super) struct Post {
    pub(super) id: RequestId,
    /// Its body has left the outbox.
    pub(super) taken: bool,
    /// It carries the close packet.
    pub(super) last: bool,
}

impl Polling {
    /// Takes in whether a poll brought a message, on which depends when the next one begins.
    pub(super) fn on_poll(&mut self, now: Instant, has_messages: bool, machine: &mut Machine) {
        self.empty_polls = match has_messages {
            true => 0,
            false => self.empty_polls.saturating_add(1),
        };
        if self.empty_polls >= 2 {
            machine.timers.set(Timer::Poll, now + EMPTY_POLL_DELAY);
        }
    }

    pub(super) fn flush(&mut self, closing: bool, machine: &mut Machine) {
        if self.post_refused.is_some() {
            return;
        }
        // A closing session has no use for what another poll would bring, but a server that waits to be read may not take
        // what is queued. A full inbox is how a slow application slows the server down.
        let wants_poll = if closing {
            let is_posting = |post: &Post| post.taken && !post.last;
            machine.outbox.has_messages() || self.post.as_ref().is_some_and(is_posting)
        } else {
            machine.inbox_has_room()
        };
        if self.poll.is_none() && wants_poll && !machine.timers.is_set(Timer::Poll) {
            let id = machine.next_request();
            self.poll = Some(id);
            machine.output(Output::Poll(id));
        }
        if self.post.is_none() && (closing || machine.is_pending()) {
            let id = machine.next_request();
            self.post = Some(Post {
                id,
                taken: false,
                last: false,
            });
            machine.output(Output::Post(id));
        }
    }

    pub(super) const fn is_idle(&self) -> bool {
        self.poll.is_none() && self.post.is_none()
    }
}
