//! The packets of a client on their way into the inbox: of a frame, of a POST, and of the backlog of POSTs.

use std::time::Instant;

use super::machine::Machine;
use crate::codec::Packets;
use crate::driver::Budget;
use crate::heartbeat::Beat;
use crate::{DisconnectReason, Frame, Packet};

/// The part of a POST that one call has decoded.
pub(super) enum Progress {
    /// All of it.
    Done,
    /// The packets for which the inbox has room.
    Full,
    /// The packets that one turn allows.
    Turn,
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

impl Machine {
    /// Takes in packets of the backlog while there is room. Returns whether it is empty.
    pub(super) fn take_in_backlog(&mut self, now: Instant) -> Result<bool, DisconnectReason> {
        if self.inbox.discards_input() {
            self.take_in_accepted(false);
        }
        let Some(mut backlog) = self.backlog.take() else {
            return Ok(true);
        };
        while let Some(packets) = backlog.bodies.front_mut() {
            let outcome = match take_in(now, packets, &mut backlog.budget, self) {
                Ok(Progress::Done) => {
                    backlog.bodies.pop_front();
                    continue;
                }
                Ok(Progress::Full) => Ok(false),
                Ok(Progress::Turn) => Err(DisconnectReason::ParseError),
                Err(reason) => Err(reason),
            };
            if outcome.is_err() {
                // The session ends here, and the messages of the other bodies still count.
                backlog.bodies.pop_front();
            }
            self.backlog = Some(backlog);
            return outcome;
        }
        Ok(true)
    }

    /// Takes in messages of the backlog while there is room, if the session takes in nothing else any more. Once it
    /// `is_closed`, they come before the last event.
    pub(super) fn take_in_accepted(&mut self, is_closed: bool) {
        let Some(mut backlog) = self.backlog.take_if(|_| self.inbox.discards_input()) else {
            return;
        };
        while self.inbox_has_room() {
            let Some(packets) = backlog.bodies.front_mut() else {
                return;
            };
            match packets.next() {
                Some(Ok(Packet::Message(message))) => self.inbox.push_accepted(message, is_closed),
                Some(Ok(_)) if !backlog.budget.is_spent() => backlog.budget.charge_packet(),
                _ => drop(backlog.bodies.pop_front()),
            }
        }
        self.backlog = Some(backlog);
    }
}
