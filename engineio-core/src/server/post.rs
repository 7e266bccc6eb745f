//! A POST, whose body is decoded packet by packet.
//!
//! A message of one byte costs the inbox many times as much as it took in the body. So packets are decoded only as far
//! as the inbox has room; the rest stays in the body until the application has taken some out. Packets that are not
//! messages take no room: of these, one call decodes a limited number, and the driver asks for more after other tasks
//! have run.

use std::time::Instant;

use super::input::{ExchangeId, Output};
use super::link::{Link, Next};
use super::machine::Machine;
use crate::codec::Packets;
use crate::driver::Budget;
use crate::heartbeat::Beat;
use crate::{DisconnectReason, Frame, Packet, Payload, Refusal};

/// A POST without an answer.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) id: ExchangeId,
    /// The packets that are still to be decoded; `None` while the body is still to come. In a box, because it is rare and
    /// sessions are many.
    rest: Option<Box<Packets>>,
}

impl Post {
    const fn new(id: ExchangeId) -> Self {
        Self { id, rest: None }
    }

    fn is_coming(&self, id: ExchangeId) -> bool {
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

/// The part of a POST that one call has decoded.
pub(super) enum Progress {
    /// All of it.
    Done,
    /// The packets for which the inbox has room.
    Full,
    /// The packets that one turn allows.
    Turn,
}

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

/// Takes packets in while there is room and the turn lasts, up to the first that ends the session.
pub(super) fn take_in(
    now: Instant,
    packets: &mut Packets,
    budget: &mut Budget,
    machine: &mut Machine,
) -> Result<Progress, DisconnectReason> {
    while machine.inbox_has_room() {
        if budget.is_spent() {
            return Ok(Progress::Turn);
        }
        let packet = match packets.next() {
            Some(Ok(packet)) => packet,
            Some(Err(_)) => return Err(DisconnectReason::ParseError),
            None => return Ok(Progress::Done),
        };
        // Messages are bounded by the room in the inbox, unless a closing session drops them.
        if !matches!(packet, Packet::Message(_)) || machine.inbox.discards_input() {
            budget.charge_packet();
        }
        on_packet(now, packet, machine)?;
    }
    Ok(Progress::Full)
}

/// Takes in what a frame of the session's WebSocket brings.
pub(super) fn on_frame(
    now: Instant,
    frame: Frame,
    machine: &mut Machine,
) -> Result<(), DisconnectReason> {
    match machine.coding.decode_frame(frame) {
        Ok(packet) => on_packet(now, packet, machine),
        Err(_) => Err(DisconnectReason::ParseError),
    }
}

/// Takes in a packet of the client once the link that brought it is settled.
pub(super) fn on_packet(
    now: Instant,
    packet: Packet,
    machine: &mut Machine,
) -> Result<(), DisconnectReason> {
    let beat = match packet {
        Packet::Message(message) => {
            machine.on_other_packet(now);
            machine.receive(now, message);
            Beat::Fine
        }
        Packet::Close => return Err(DisconnectReason::Client),
        Packet::Ping(_) => machine.on_ping(now),
        Packet::Pong(_) => machine.on_pong(now),
        // Out of place but harmless, and ignored by the reference too.
        Packet::Open(_) | Packet::Upgrade | Packet::Noop => {
            machine.on_other_packet(now);
            Beat::Fine
        }
    };
    match beat {
        Beat::Fine => Ok(()),
        Beat::Answer => {
            machine.outbox.pong = true;
            Ok(())
        }
        Beat::WrongDirection => Err(DisconnectReason::TransportError),
    }
}
