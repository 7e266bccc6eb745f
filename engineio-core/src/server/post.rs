//! A POST, whose body is decoded packet by packet.
//!
//! A message of one byte costs the inbox many times as much as it took in the body. So packets are decoded only as far
//! as the inbox has room; the rest stays in the body until the application has taken some out. Packets that are not
//! messages take no room: of these, one call decodes a limited number, and the driver asks for more after other tasks
//! have run.

use super::input::{ExchangeId, Output};
use super::machine::Machine;
use crate::Refusal;
use crate::codec::Packets;

/// A POST without an answer.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) id: ExchangeId,
    /// The packets that are still to be decoded; `None` while the body is still to come. In a box, because it is rare and
    /// sessions are many.
    pub(super) rest: Option<Box<Packets>>,
}

impl Post {
    pub(super) const fn new(id: ExchangeId) -> Self {
        Self { id, rest: None }
    }

    pub(super) fn is_coming(&self, id: ExchangeId) -> bool {
        self.id == id && self.rest.is_none()
    }

    /// Answers the POST of a client that is about to move, if it waits for room.
    ///
    /// Such a client waits for the answer and does not poll. So the application, which may wait for room in the outbox,
    /// would never make room.
    pub(super) fn answer_early(slot: &mut Option<Self>, machine: &mut Machine) {
        let may_answer = match &machine.backlog {
            Some(backlog) => !backlog.is_full(),
            None => !machine.inbox_has_room(),
        };
        if may_answer
            && let Some(post) = slot.as_mut()
            && let Some(rest) = post.rest.take()
        {
            machine.output(Output::AnswerPost(post.id, Ok(())));
            machine.backlog.get_or_insert_default().push(*rest);
            *slot = None;
        }
    }

    /// Returns the answer if the session ends now. The decoded packets count, even if there was no room for more.
    pub(super) fn last_answer(&self) -> Result<(), Refusal> {
        match &self.rest {
            Some(rest) if rest.is_finished() => Ok(()),
            _ => Err(Refusal::BadRequest),
        }
    }
}
