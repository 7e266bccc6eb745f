//! The upgrade from polling to a link.

use std::time::{Duration, Instant};

use super::input::{Event, Output, ProbeFailure};
use super::link::Link;
use super::machine::Machine;
use super::polling::Polling;
use crate::codec::Frame;
use crate::timer::Timer;
use crate::{DisconnectReason, LinkId, Packet, Transport};

/// The time after which WebSocket is tried beside WebTransport (the reference's). A server where UDP does not arrive costs
/// an upgrade no more than this.
const HEAD_START: Duration = Duration::from_millis(200);

/// Polling, while links are tried: WebTransport first, and WebSocket as soon as that has failed or takes too long. The
/// first one that answers the probe wins, and the other is closed.
#[derive(Debug)]
pub(super) struct Probing {
    pub(super) polling: Polling,
    /// The links that are tried. There is at least one.
    candidates: [Option<Candidate>; 2],
    /// The transport that is tried next.
    next: Option<Transport>,
}

#[derive(Debug)]
struct Candidate {
    id: LinkId,
    transport: Transport,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
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
    /// Begins to try the transports that the server offers; polling alone goes on if there is none.
    pub(super) fn start(now: Instant, polling: Polling, machine: &mut Machine) -> Link {
        let can = |transport| {
            let offered = machine.opened.as_ref();
            machine.config.upgrades.contains(transport)
                && offered.is_some_and(|opened| opened.offers(transport))
        };
        let mut offered = [Transport::WebTransport, Transport::WebSocket]
            .into_iter()
            .filter(|transport| can(*transport));
        let (Some(first), next) = (offered.next(), offered.next()) else {
            return Link::Polling(polling);
        };
        let end = now + machine.config.upgrade_timeout;
        machine.timers.set(Timer::Upgrade, end);
        if next.is_some() {
            machine.timers.set(Timer::UpgradeStep, now + HEAD_START);
        }
        Link::Probing(Self {
            polling,
            candidates: [Some(Candidate::open(first, machine)), None],
            next,
        })
    }

    /// Tries the transport that had to wait.
    pub(super) fn try_next(&mut self, machine: &mut Machine) {
        if let Some(slot) = self.candidates.iter_mut().find(|slot| slot.is_none())
            && let Some(transport) = self.next.take()
        {
            machine.timers.stop(Timer::UpgradeStep);
            *slot = Some(Candidate::open(transport, machine));
        }
    }

    fn find(&mut self, id: LinkId) -> Option<&mut Candidate> {
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

    /// Takes in a frame of a candidate.
    pub(super) fn on_frame(mut self, id: LinkId, frame: &Frame, machine: &mut Machine) -> Link {
        let Some(candidate) = self.find(id) else {
            return Link::Probing(self);
        };
        let asked = matches!(candidate.stage, Stage::Asked { probe: false });
        let transport = candidate.transport;
        // The same in both revisions.
        if asked && *frame == Frame::text("3probe") {
            self.remove(id);
            self.close_candidates(DisconnectReason::TransportClose, machine);
            machine.timers.stop(Timer::UpgradeStep);
            return Link::Pausing(Pausing {
                polling: self.polling,
                to: id,
                transport,
            });
        }
        machine.output(Output::CloseLink(id, DisconnectReason::TransportError));
        self.without(id, ProbeFailure::WrongAnswer, machine)
    }

    fn remove(&mut self, id: LinkId) -> bool {
        let mut slots = self.candidates.iter_mut();
        slots.any(|slot| slot.take_if(|candidate| candidate.id == id).is_some())
    }

    /// Gives a candidate up that has failed, if it is one.
    pub(super) fn without(
        mut self,
        id: LinkId,
        failure: ProbeFailure,
        machine: &mut Machine,
    ) -> Link {
        if !self.remove(id) {
            return Link::Probing(self);
        }
        if self.candidates.iter().all(Option::is_none) {
            self.try_next(machine);
        }
        match self.candidates.iter().all(Option::is_none) {
            true => Link::Polling(fall_back(self.polling, failure, machine)),
            false => Link::Probing(self),
        }
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
    fn open(transport: Transport, machine: &mut Machine) -> Self {
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
