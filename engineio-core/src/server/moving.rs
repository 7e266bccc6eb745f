//! The transitions of an upgrade: to the link that wins, or back to polling.

use std::time::Instant;

use super::framed::Framed;
use super::input::{Event, Output};
use super::link::Link;
use super::machine::Machine;
use super::upgrade::{Candidate, Stage, Upgrading};
use crate::{DisconnectReason, Frame, LinkId, Packet};

impl Upgrading {
    /// Takes in a frame of a candidate.
    pub(super) fn on_frame(
        mut self: Box<Self>,
        now: Instant,
        id: LinkId,
        frame: Frame,
        machine: &mut Machine,
    ) -> Link {
        let Some(candidate) = self.find(id) else {
            return Link::Upgrading(self);
        };
        let packet = machine.coding.decode_frame(frame);
        match (&candidate.stage, packet) {
            (Stage::AwaitProbe, Ok(Packet::Ping(data))) if data == Packet::PROBE => {
                candidate.stage = Stage::Probed { pong: true };
                machine.output(Output::SendFrames(id));
                self.offer_noop(now, machine);
                self.answer_early(machine);
                Link::Upgrading(self)
            }
            // The probe may be missing: some clients take the open connection for the whole upgrade (elephant.io), and the
            // reference lets them.
            (_, Ok(Packet::Upgrade)) => match self.remove(id) {
                Some(candidate) => self.complete(candidate, machine),
                None => Link::Upgrading(self),
            },
            _ => {
                machine.output(Output::CloseLink(id, DisconnectReason::TransportError));
                self.without(id, machine)
            }
        }
    }

    /// Moves the session to the candidate that brought `5`.
    fn complete(mut self, candidate: Candidate, machine: &mut Machine) -> Link {
        self.close_candidates(DisconnectReason::TransportClose, machine);
        machine.stop_upgrade_timers();
        if let Some(poll) = self.polling.poll.take() {
            machine.answer_with_noop(poll.id, poll.ready);
        }
        machine.inbox.push(Event::Upgraded);
        machine.coding.base64 = candidate.base64;
        machine.moves_to(candidate.transport);
        let probe_pong = matches!(candidate.stage, Stage::Probed { pong: true });
        let framed = Framed::new(candidate.id, candidate.transport);
        let mut framed = framed.after_polling(self.polling.post, probe_pong);
        // Even if nothing is queued, so that a driver need not ask for the transport after each change.
        framed.announce(machine);
        Link::Framed(framed)
    }

    /// Gives a candidate up, if it is one: its upgrade failed. After the last failed upgrade the session stays alive by polling, and has
    /// lost nothing, because nothing has left by a link.
    pub(super) fn without(mut self: Box<Self>, id: LinkId, machine: &mut Machine) -> Link {
        self.remove(id);
        if self.candidates.iter().flatten().next().is_some() {
            return Link::Upgrading(self);
        }
        machine.stop_upgrade_timers();
        Link::Polling(self.polling)
    }
}
