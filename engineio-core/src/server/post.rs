//! A POST, whose body is decoded packet by packet.
//!
//! A message of one byte costs the inbox many times as much as it took in the body. So no more packets are decoded than
//! the inbox has room for; the rest stays in the body until the application has taken some out.

use std::time::Instant;

use super::input::ExchangeId;
use super::machine::Machine;
use crate::codec::Packets;
use crate::heartbeat::Beat;
use crate::{DisconnectReason, Frame, Packet, Refusal};

/// A POST without an answer.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) id: ExchangeId,
    /// What is left of its body, which waits for room; `None` while the body is still to come. In a box, because it is
    /// rare and sessions are many.
    pub(super) rest: Option<Box<Packets>>,
}

impl Post {
    pub(super) const fn new(id: ExchangeId) -> Self {
        Self { id, rest: None }
    }

    pub(super) fn is_coming(&self, id: ExchangeId) -> bool {
        self.id == id && self.rest.is_none()
    }

    /// The answer if the session ends now. What was decoded counts, even if there was no room for more.
    pub(super) fn last_answer(&self) -> Result<(), Refusal> {
        match &self.rest {
            Some(rest) if rest.is_finished() => Ok(()),
            _ => Err(Refusal::BadRequest),
        }
    }
}

/// How far the packets of a POST were taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// There is no room for more.
    Full,
    /// All are taken in.
    Done,
}

/// Takes packets in for as long as there is room, up to the first that ends the session.
pub(super) fn take_in(
    now: Instant,
    packets: &mut Packets,
    machine: &mut Machine,
) -> Result<Progress, DisconnectReason> {
    while machine.inbox_has_room() {
        match packets.next() {
            Some(Ok(packet)) => on_packet(now, packet, machine)?,
            Some(Err(_)) => return Err(DisconnectReason::ParseError),
            None => return Ok(Progress::Done),
        }
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

/// What a packet of the client means once the link that brought it is settled.
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
