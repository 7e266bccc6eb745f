//! The links that are tried during an upgrade.

use std::time::{Duration, Instant};

use super::input::Output;
use super::machine::Machine;
use super::polling::Polling;
use super::post::Post;
use crate::timer::{Timer, after};
use crate::{DisconnectReason, LinkId, Packet, Transport};

/// The shortest time between two polls of an upgrade that are answered with a noop (the reference's pace). The first one is
/// answered at once; a client that goes on polling must not spin.
const NOOP_PACE: Duration = Duration::from_millis(100);

/// Reached by polling while the client tries links, one by each transport.
///
/// Until the `5` packet, messages leave by polling only; from then on by frames only. The poll that is parked at that
/// moment is answered with a noop. Together, these rules are why nothing is lost, doubled or reordered. The first
/// candidate to bring `5` wins and the others are closed. One that fails is closed and leaves the others alone.
#[derive(Debug)]
pub(super) struct Upgrading {
    pub(super) polling: Polling,
    /// The links that are tried. There is at least one.
    pub(super) candidates: [Option<Candidate>; 2],
}

#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) id: LinkId,
    pub(super) transport: Transport,
    /// Its frames carry binary data as text.
    pub(super) base64: bool,
    pub(super) stage: Stage,
}

#[derive(Debug)]
pub(super) enum Stage {
    AwaitProbe,
    Probed {
        /// The pong is still to be sent.
        pong: bool,
    },
}

impl Upgrading {
    pub(super) fn start(
        now: Instant,
        polling: Polling,
        candidate: Candidate,
        machine: &mut Machine,
    ) -> Self {
        let end = after(now, machine.config.upgrade_timeout);
        machine.timers.set(Timer::Upgrade, end);
        // Then the client has a whole timeout to listen again.
        let heard = after(end, machine.config.ping_timeout);
        machine.heartbeat.silence.on_upgrade(heard);
        Self {
            polling,
            candidates: [Some(candidate), None],
        }
    }

    /// Adds a candidate by another transport, or refuses a second one by the same. The upgrade timer goes on.
    pub(super) fn add(&mut self, candidate: Candidate, machine: &mut Machine) {
        let mut tried = self.candidates.iter().flatten();
        let is_tried = tried.any(|other| other.transport == candidate.transport);
        match self.candidates.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) if !is_tried => *slot = Some(candidate),
            _ => candidate.refuse(machine),
        }
    }

    pub(super) fn find(&mut self, id: LinkId) -> Option<&mut Candidate> {
        let mut candidates = self.candidates.iter_mut().flatten();
        candidates.find(|candidate| candidate.id == id)
    }

    pub(super) fn remove(&mut self, id: LinkId) -> Option<Candidate> {
        let mut slots = self.candidates.iter_mut();
        slots.find_map(|slot| slot.take_if(|candidate| candidate.id == id))
    }

    /// Gives all candidates up, because the time is over.
    pub(super) fn give_up(mut self, machine: &mut Machine) -> Polling {
        self.close_candidates(DisconnectReason::TransportClose, machine);
        machine.stop_upgrade_timers();
        self.polling
    }

    pub(super) fn close_candidates(&mut self, reason: DisconnectReason, machine: &mut Machine) {
        for slot in &mut self.candidates {
            if let Some(candidate) = slot.take() {
                machine.output(Output::CloseLink(candidate.id, reason));
            }
        }
    }

    /// Takes the only packet that leaves by a candidate before the upgrade: the answer to its probe.
    pub(super) fn take_packet(&mut self, id: LinkId) -> Option<Packet> {
        match &mut self.find(id)?.stage {
            Stage::Probed { pong } if *pong => {
                *pong = false;
                Some(Packet::probe_pong())
            }
            _ => None,
        }
    }

    /// Returns whether the client knows, or will soon know, that it may move.
    fn is_probed(&self) -> bool {
        let mut candidates = self.candidates.iter().flatten();
        candidates.any(|candidate| matches!(candidate.stage, Stage::Probed { .. }))
    }

    /// Answers the POST of a client that waits for it before it moves.
    pub(super) fn answer_early(&mut self, machine: &mut Machine) {
        if self.is_probed() {
            Post::answer_early(&mut self.polling.post, machine);
        }
    }

    /// Ends the parked poll of a client that waits for it before it moves, at the pace of the reference.
    pub(super) fn offer_noop(&mut self, now: Instant, machine: &mut Machine) {
        if self.is_probed()
            && let Some(poll) = &mut self.polling.poll
            && !machine.timers.is_set(Timer::UpgradeStep)
        {
            poll.noop = true;
            machine
                .timers
                .set(Timer::UpgradeStep, after(now, NOOP_PACE));
        }
    }
}

impl Candidate {
    pub(super) const fn new(id: LinkId, transport: Transport, base64: bool) -> Self {
        Self {
            id,
            transport,
            base64,
            stage: Stage::AwaitProbe,
        }
    }

    /// Closes a link that comes beside another one.
    pub(super) fn refuse(self, machine: &mut Machine) {
        machine.output(Output::CloseLink(self.id, DisconnectReason::TransportError));
    }
}
