//! The transitions of an upgrade: from polling to the links that are tried, on to the one that answers, or back.

use std::time::{Duration, Instant};

use super::input::{Output, ProbeFailure};
use super::link::Link;
use super::machine::Machine;
use super::polling::Polling;
use super::upgrade::{Candidate, Pausing, Probing, Stage, fall_back};
use crate::codec::Frame;
use crate::timer::Timer;
use crate::{DisconnectReason, LinkId, Transport};

/// The time after which WebSocket is tried beside WebTransport (the reference's). A server where UDP does not arrive costs
/// an upgrade no more than this.
const HEAD_START: Duration = Duration::from_millis(200);

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
}
