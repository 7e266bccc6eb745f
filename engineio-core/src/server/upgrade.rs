//! The way from polling to WebSocket.

use std::time::{Duration, Instant};

use super::input::{Event, Output, WebSocketId};
use super::link::{Link, Polling, WebSocket};
use super::machine::Machine;
use crate::timer::{Timer, after};
use crate::{DisconnectReason, Frame, Packet};

/// How often a poll that comes during an upgrade is answered with a noop (the reference's pace). The first one is
/// answered at once; a client that goes on polling must not spin.
const NOOP_PACE: Duration = Duration::from_millis(100);

/// Reached by polling while the client tries a WebSocket.
///
/// Until the `5` packet, messages leave by polling only; from then on by frames only. The poll that is parked at that
/// moment is answered with a noop. That is the whole argument why nothing is lost, doubled or reordered.
#[derive(Debug)]
pub(super) struct Upgrading {
    pub(super) polling: Polling,
    /// The WebSocket that is tried.
    pub(super) to: WebSocketId,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
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
        to: WebSocketId,
        machine: &mut Machine,
    ) -> Self {
        machine.set_timer(Timer::Upgrade, after(now, machine.config.upgrade_timeout));
        Self {
            polling,
            to,
            stage: Stage::AwaitProbe,
        }
    }

    pub(super) fn on_frame(mut self, now: Instant, frame: Frame, machine: &mut Machine) -> Link {
        let packet = machine.coding.decode_frame(frame);
        match (&self.stage, packet) {
            (Stage::AwaitProbe, Ok(Packet::Ping(data))) if data == Packet::PROBE => {
                self.stage = Stage::Probed { pong: true };
                machine.output(Output::SendFrames(self.to));
                self.offer_noop(now, machine);
                Link::Upgrading(self)
            }
            (Stage::Probed { .. }, Ok(Packet::Upgrade)) => {
                machine.stop_upgrade_timers();
                if let Some(poll) = self.polling.poll.take() {
                    machine.answer_with_noop(poll.id, poll.ready);
                }
                machine.inbox.push(Event::Upgraded);
                Link::WebSocket(WebSocket::new(self.to, self.polling.post))
            }
            _ => {
                machine.output(Output::CloseWebSocket(
                    self.to,
                    DisconnectReason::TransportError,
                ));
                Link::Polling(self.abandoned(machine))
            }
        }
    }

    /// Takes the only packet that leaves by the WebSocket before the upgrade: the answer to the probe.
    pub(super) const fn take_packet(&mut self) -> Option<Packet> {
        match &mut self.stage {
            Stage::Probed { pong } if *pong => {
                *pong = false;
                Some(Packet::probe_pong())
            }
            _ => None,
        }
    }

    /// The session lives on by polling, and has lost nothing: nothing left by the WebSocket.
    pub(super) fn abandoned(self, machine: &mut Machine) -> Polling {
        machine.stop_upgrade_timers();
        self.polling
    }

    /// Ends the parked poll of a client that waits for it before it moves, at the pace of the reference.
    pub(super) fn offer_noop(&mut self, now: Instant, machine: &mut Machine) {
        if let (Stage::Probed { .. }, Some(poll)) = (&self.stage, &mut self.polling.poll)
            && !machine.has_timer(Timer::Noop)
        {
            poll.noop = true;
            machine.set_timer(Timer::Noop, after(now, NOOP_PACE));
        }
    }
}
