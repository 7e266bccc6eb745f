//! A session that is reached by frames.

use std::time::Instant;

use super::input::Output;
use super::machine::Machine;
use super::post::Post;
use crate::{LinkId, Packet, SendOptions, Transport};

/// Reached by frames: a WebSocket or another duplex connection.
#[derive(Debug)]
pub(super) struct Framed {
    pub(super) id: LinkId,
    pub(super) transport: Transport,
    /// The answer to the probe is still to be sent, ahead of everything else.
    pub(super) probe_pong: bool,
    /// A POST that was in progress when the upgrade was completed; its messages are still accepted.
    pub(super) post: Option<Post>,
    /// The driver knows that there are frames.
    pub(super) announced: bool,
    /// Its connection has ended, so it needs no closing.
    pub(super) gone: bool,
}

impl Framed {
    pub(super) const fn new(id: LinkId, transport: Transport) -> Self {
        Self {
            id,
            transport,
            probe_pong: false,
            post: None,
            announced: false,
            gone: false,
        }
    }

    /// Takes over what an upgrade leaves to be done.
    pub(super) fn after_polling(self, post: Option<Post>, probe_pong: bool) -> Self {
        Self {
            post,
            probe_pong,
            ..self
        }
    }

    pub(super) fn flush(&mut self, closing: bool, machine: &mut Machine) {
        if !self.announced && (closing || machine.outbox.is_pending()) {
            self.announce(machine);
        }
    }

    pub(super) fn announce(&mut self, machine: &mut Machine) {
        if !self.announced {
            self.announced = true;
            machine.output(Output::SendFrames(self.id));
        }
    }

    /// Takes the next packet. Returns whether it is the close packet.
    pub(super) fn take_packet(
        &mut self,
        now: Instant,
        closing: bool,
        machine: &mut Machine,
    ) -> Option<(Packet, bool)> {
        if std::mem::take(&mut self.probe_pong) {
            return Some((Packet::probe_pong(), false));
        }
        if let Some(packet) = machine.next_control(now) {
            return Some((packet, false));
        }
        if let Some((message, compress)) = machine.outbox.pop() {
            machine.taken = SendOptions { compress };
            machine.message_taken();
            return Some((Packet::Message(message), false));
        }
        self.announced = false;
        closing.then_some((Packet::Close, true))
    }
}
