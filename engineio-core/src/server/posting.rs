//! The transitions of a link that a POST causes.

use std::time::Instant;

use super::input::{ExchangeId, Output};
use super::link::{Link, Next};
use super::machine::Machine;
use super::packets::{Progress, take_in};
use super::post::Post;
use crate::codec::Packets;
use crate::driver::Budget;
use crate::{DisconnectReason, Payload, Refusal};

impl Link {
    pub(super) fn on_post(mut self, id: ExchangeId, machine: &mut Machine) -> Next {
        let Some(polling) = self.polling_mut() else {
            machine.output(Output::AnswerPost(id, Err(Refusal::BadRequest)));
            return Ok(self);
        };
        if polling.post.is_some() {
            machine.output(Output::AnswerPost(id, Err(Refusal::BadRequest)));
            return Err((self, DisconnectReason::TransportError));
        }
        polling.post = Some(Post::new(id));
        Ok(self)
    }

    pub(super) fn on_post_failed(mut self, id: ExchangeId, reason: DisconnectReason) -> Next {
        match self.post_slot().take_if(|post| post.id == id) {
            Some(_) => Err((self, reason)),
            None => Ok(self),
        }
    }

    /// Returns whether the body of this POST is still to come.
    pub(super) fn is_coming(&mut self, id: ExchangeId) -> bool {
        let post = self.post_slot();
        post.as_ref().is_some_and(|post| post.is_coming(id))
    }

    pub(super) fn on_payload(
        mut self,
        now: Instant,
        id: ExchangeId,
        payload: Payload,
        machine: &mut Machine,
    ) -> Next {
        if !self.is_coming(id) {
            return Ok(self);
        }
        if payload.binary && !machine.coding.has_binary_payloads() {
            // The reference's "invalid content": what revision 4 sends by POST is text.
            return self.end_post(DisconnectReason::TransportError, machine);
        }
        let mut packets = machine.coding.decode_payload(payload);
        let progress = match machine.backlog {
            Some(_) => Ok(Progress::Full),
            None => take_in(now, &mut packets, &mut Budget::for_packets(), machine),
        };
        self.settle_post(progress, || Box::new(packets), machine)
    }

    /// Decodes more of a POST whose packets wait for room or for the next turn, as far as the budget allows.
    pub(super) fn resume_post(
        mut self,
        now: Instant,
        mut budget: Budget,
        machine: &mut Machine,
    ) -> Next {
        if machine.backlog.is_some() {
            match machine.take_in_backlog(now) {
                Ok(true) if self.post_slot().is_none() => {
                    self.resume_frames(machine);
                    return Ok(self);
                }
                Ok(true) => {}
                Ok(false) => return Ok(self),
                Err(reason) => return self.end_post(reason, machine),
            }
        }
        let post = self.post_slot().as_mut();
        let Some(mut packets) = post.and_then(|post| post.rest.take()) else {
            return Ok(self);
        };
        let progress = take_in(now, &mut packets, &mut budget, machine);
        self.settle_post(progress, || packets, machine)
    }

    fn settle_post(
        mut self,
        progress: Result<Progress, DisconnectReason>,
        rest: impl FnOnce() -> Box<Packets>,
        machine: &mut Machine,
    ) -> Next {
        match progress {
            Ok(Progress::Done) => self.accept_post(machine),
            Ok(progress) => {
                if let Some(post) = self.post_slot() {
                    post.rest = Some(rest());
                    if matches!(progress, Progress::Turn) {
                        machine.output(Output::ContinuePost(post.id));
                    }
                }
                if let Self::Upgrading(upgrading) = &mut self {
                    upgrading.answer_early(machine);
                }
            }
            Err(reason) => return self.end_post(reason, machine),
        }
        Ok(self)
    }

    pub(super) fn accept_post(&mut self, machine: &mut Machine) {
        if let Some(post) = self.post_slot().take() {
            machine.output(Output::AnswerPost(post.id, Ok(())));
        }
        self.resume_frames(machine);
    }

    /// Wakes a driver that held frames back for a POST.
    fn resume_frames(&mut self, machine: &mut Machine) {
        if let Self::Framed(framed) = self {
            framed.announce(machine);
        }
    }

    /// Answers the POST whose packets end the session.
    fn end_post(mut self, reason: DisconnectReason, machine: &mut Machine) -> Next {
        if let Some(post) = self.post_slot().take() {
            let answer = match reason {
                DisconnectReason::Client => Ok(()),
                _ => Err(Refusal::BadRequest),
            };
            machine.output(Output::AnswerPost(post.id, answer));
        }
        Err((self, reason))
    }

    pub(super) const fn post_slot(&mut self) -> &mut Option<Post> {
        match self {
            Self::Polling(polling) => &mut polling.post,
            Self::Upgrading(upgrading) => &mut upgrading.polling.post,
            Self::Framed(framed) => &mut framed.post,
        }
    }
}
