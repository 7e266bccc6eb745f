//! The links that are tried during an upgrade, and the wait for the requests in flight.

use super::input::{Event, Output, ProbeFailure};
use super::machine::Machine;
use super::polling::Polling;
use crate::timer::Timer;
use crate::{DisconnectReason, LinkId, Packet, Transport};

/// Polling, while links are tried: WebTransport first, and WebSocket as soon as that has failed or takes too long. The
/// first one that answers the probe wins, and the other is closed.
#[derive(Debug)]
pub(super) struct Probing {
    pub(super) polling: Polling,
    /// The links that are tried. There is at least one.
    pub(super) candidates: [Option<Candidate>; 2],
    /// The transport that is tried next.
    pub(super) next: Option<Transport>,
}

#[derive(Debug)]
pub(super) struct Candidate {
    id: LinkId,
    pub(super) transport: Transport,
    pub(super) stage: Stage,
}

#[derive(Debug)]
pub(super) enum Stage {
    Connecting,
    Asked {
        /// `2probe` is still to be sent.
        probe: bool,
    },
}

/// The server has answered the probe.
///
/// No poll and no POST begins here. Those in progress are completed: the poll ends, because the server answers it with
/// a noop at the latest, and so does the POST. Then `5` is the first frame. Until then nothing has left by the
/// link, so that a failure leads back to polling; from then on nothing leaves by polling. That is the whole
/// argument why nothing is lost, doubled or reordered.
#[derive(Debug)]
pub(super) struct Pausing {
    pub(super) polling: Polling,
    pub(super) to: LinkId,
    pub(super) transport: Transport,
}

impl Probing {
    /// Tries the transport that had to wait.
    pub(super) fn try_next(&mut self, machine: &mut Machine) {
        if let Some(slot) = self.candidates.iter_mut().find(|slot| slot.is_none())
            && let Some(transport) = self.next.take()
        {
            machine.timers.stop(Timer::UpgradeStep);
            *slot = Some(Candidate::open(transport, machine));
        }
    }

    pub(super) fn find(&mut self, id: LinkId) -> Option<&mut Candidate> {
        let mut candidates = self.candidates.iter_mut().flatten();
        candidates.find(|candidate| candidate.id == id)
    }

    pub(super) fn on_link_opened(&mut self, id: LinkId, machine: &mut Machine) {
        if let Some(candidate) = self.find(id)
            && matches!(candidate.stage, Stage::Connecting)
        {
            candidate.stage = Stage::Asked { probe: true };
            machine.output(Output::SendFrames(id));
        }
    }

    pub(super) fn remove(&mut self, id: LinkId) -> bool {
        let mut slots = self.candidates.iter_mut();
        slots.any(|slot| slot.take_if(|candidate| candidate.id == id).is_some())
    }

    pub(super) fn close_candidates(&mut self, reason: DisconnectReason, machine: &mut Machine) {
        for slot in &mut self.candidates {
            if let Some(candidate) = slot.take() {
                machine.output(Output::CloseLink(candidate.id, reason));
            }
        }
    }

    /// Takes the only packet that leaves by a candidate.
    pub(super) fn take_packet(&mut self, id: LinkId) -> Option<Packet> {
        match &mut self.find(id)?.stage {
            Stage::Asked { probe } if *probe => {
                *probe = false;
                Some(Packet::Ping(bytes::Bytes::from_static(Packet::PROBE)))
            }
            _ => None,
        }
    }
}

impl Candidate {
    pub(super) fn open(transport: Transport, machine: &mut Machine) -> Self {
        let id = machine.next_link();
        machine.output(Output::OpenLink(id, transport));
        Self {
            id,
            transport,
            stage: Stage::Connecting,
        }
    }
}

/// Goes on by polling; nothing is lost, because nothing but the probe left by a link.
pub(super) fn fall_back(polling: Polling, failure: ProbeFailure, machine: &mut Machine) -> Polling {
    machine.timers.stop(Timer::Upgrade);
    machine.timers.stop(Timer::UpgradeStep);
    machine.probe_failure = Some(failure);
    machine.inbox.push(Event::UpgradeFailed(failure));
    polling
}
