//! What happens between the opening of a second transport and the `5` packet.

use std::time::{Duration, Instant};

use super::{Link, Polling, Stage, Upgrading, WebSocket};
use crate::server::input::Output;
use crate::server::machine::Machine;
use crate::timer::Timer;
use crate::{DisconnectReason, Frame, Packet};

/// How often a poll that comes during an upgrade is answered with a noop (the reference's pace). The first one is
/// answered at once; a client that goes on polling must not spin.
const NOOP_PACE: Duration = Duration::from_millis(100);

impl Upgrading {
    pub(super) fn on_frame(mut self, now: Instant, frame: Frame, machine: &mut Machine) -> Link {
        let packet = machine.decode_frame(frame);
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
                machine.upgraded();
                Link::WebSocket(WebSocket {
                    id: self.to,
                    post: self.polling.post,
                    told: false,
                })
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
            machine.set_timer(Timer::Noop, now + NOOP_PACE);
        }
    }
}
