//! The parts that all states of a session share: queues, timers, heartbeat, and the outputs that are still to be taken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backlog::Backlog;
use super::input::{Event, ExchangeId, Output};
use crate::codec::Coding;
use crate::heartbeat::{self, Beat, Heartbeat};
use crate::inbox::{Inbox, Outputs};
use crate::outbox::{Batch, Discarded, Limits, Outbox};
use crate::timer::{Timer, Timers};
use crate::{
    Config, DisconnectReason, Frame, Handshake, Message, Packet, Payload, Revision, SendOptions,
    Sid, Transport,
};

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) config: Arc<Config>,
    /// The id of the session until the open packet is taken. The driver keeps it, and sessions are many.
    sid: Option<Box<Sid>>,
    /// The transport over which the session begins.
    pub(super) begins_over: Transport,
    pub(super) coding: Coding,
    pub(super) outbox: Outbox,
    /// The options of the last message that was taken as a frame.
    pub(super) taken: SendOptions,
    pub(super) timers: Timers,
    pub(super) heartbeat: Heartbeat,
    /// The time between the last ping that was answered and its pong.
    pub(super) round_trip: Option<Duration>,
    pub(super) inbox: Inbox<Event>,
    /// The bytes of the inbox beyond which nothing is read.
    inbox_limit: usize,
    pub(super) outputs: Outputs<Output>,
    /// The poll that the upgrade has ended with a noop, which is still to be taken. A session is upgraded once.
    noop: Option<ExchangeId>,
    /// What is left of POSTs that were answered before all their packets had found room.
    pub(super) backlog: Option<Box<Backlog>>,
    /// The deadline of a graceful close, once one has begun.
    pub(super) close_deadline: Option<Instant>,
    /// Messages that were sent or discarded, and must still be dropped.
    pub(super) discarded: Discarded,
}

impl Machine {
    pub(super) fn new(config: Arc<Config>, sid: Sid, coding: Coding) -> Self {
        Self {
            inbox_limit: config.inbox_limit_over(Transport::Polling),
            config,
            sid: Some(Box::new(sid)),
            begins_over: Transport::Polling,
            coding,
            outbox: Outbox::default(),
            taken: SendOptions::new(),
            timers: Timers::default(),
            heartbeat: Heartbeat::new(),
            round_trip: None,
            inbox: Inbox::new(),
            outputs: Outputs::new(),
            noop: None,
            backlog: None,
            close_deadline: None,
            discarded: Discarded::default(),
        }
    }

    pub(super) fn start(&mut self, now: Instant, transport: Transport) {
        self.outbox.open = Some(transport);
        self.moves_to(transport);
        self.heartbeat
            .start(now, self.coding.revision, &self.config, &mut self.timers);
    }

    /// Adapts the limit to the memory that the transport takes itself.
    pub(super) fn moves_to(&mut self, transport: Transport) {
        self.inbox_limit = self.config.inbox_limit_over(transport);
    }

    pub(super) fn output(&mut self, output: Output) {
        self.outputs.push(output);
    }

    pub(super) fn receive(&mut self, now: Instant, message: Message) {
        self.inbox.push_message(message);
        if !self.inbox_has_room() {
            self.heartbeat.silence.pause(now, &self.timers);
        }
    }

    /// Returns whether something waits for the room that the inbox has again.
    pub(super) fn may_resume(&self) -> bool {
        self.heartbeat.silence.is_paused() && self.inbox_has_room()
    }

    pub(super) fn inbox_has_room(&self) -> bool {
        self.inbox.has_room(self.inbox_limit)
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            bytes: self.config.outbox_limit,
            payload: self.config.max_payload,
            packets: self.config.max_poll_packets,
        }
    }

    pub(super) fn outbox_has_room(&self, cost: usize) -> bool {
        self.outbox.has_room(cost, self.limits())
    }

    /// Notes that a message left the outbox, and tells the application if it was the last one. One event is enough for
    /// an application that has not looked at the one before.
    pub(super) fn message_taken(&mut self) {
        if self.config.drain_events
            && !self.outbox.has_messages()
            && self.inbox.last() != Some(&Event::Drained)
        {
            self.inbox.push(Event::Drained);
        }
    }

    pub(super) fn ping(&mut self, now: Instant) {
        self.outbox.ping = true;
        self.shrink();
        self.heartbeat
            .on_ping_due(now, &self.config, &mut self.timers);
    }

    /// Returns whether the silence of a client is excused whose ping timeout is over.
    pub(super) fn excuse_silence(&mut self, now: Instant) -> bool {
        let wait = match self.coding.revision {
            Revision::V3 => heartbeat::patience(&self.config),
            _ => self.config.ping_timeout,
        };
        self.heartbeat.silence.excuses(now, wait, &mut self.timers)
    }

    /// Gives the memory of a burst back, once a heartbeat.
    fn shrink(&mut self) {
        self.outbox.shrink();
        self.inbox.shrink();
    }

    pub(super) fn stop_heartbeat(&mut self) {
        self.heartbeat.stop(&mut self.timers);
    }

    pub(super) fn on_pong(&mut self, now: Instant) -> Beat {
        if let Some(round_trip) = self.heartbeat.round_trip(now) {
            self.round_trip = Some(round_trip);
        }
        self.heartbeat.on_pong(now, &self.config, &mut self.timers)
    }

    pub(super) fn on_ping(&mut self, now: Instant) -> Beat {
        self.shrink();
        self.heartbeat
            .on_ping(now, self.outbox.pong, &self.config, &mut self.timers)
    }

    pub(super) fn on_other_packet(&mut self, now: Instant) {
        self.heartbeat.on_other(now, &self.config, &mut self.timers);
    }

    pub(super) fn stop_upgrade_timers(&mut self) {
        self.timers.stop(Timer::Upgrade);
        self.timers.stop(Timer::UpgradeStep);
    }

    /// Takes the next control packet that is due, ahead of every message.
    #[inline]
    pub(super) fn next_control(&mut self, now: Instant) -> Option<Packet> {
        // Whoever asks takes what there is, this or else a message.
        self.heartbeat.silence.on_taken();
        if self.outbox.has_control() {
            self.take_control(now)
        } else {
            None
        }
    }

    fn take_control(&mut self, now: Instant) -> Option<Packet> {
        if let Some(transport) = self.outbox.open.take()
            && let Some(sid) = self.sid.take()
        {
            let handshake = Handshake::new(*sid, transport, &self.config);
            return Some(Packet::Open(handshake.to_json()));
        }
        if std::mem::take(&mut self.outbox.ping) {
            self.heartbeat.on_ping_taken(now);
            return Some(Packet::ping());
        }
        std::mem::take(&mut self.outbox.pong).then(Packet::pong)
    }

    /// Takes everything that is due for one poll: control packets, messages as far as they fit, and the close packet of a
    /// closing session once nothing is left before it. Returns whether the close packet is among them.
    pub(super) fn take_batch(&mut self, now: Instant, closing: bool) -> (Payload, bool) {
        if !closing && let Some(payload) = self.take_text() {
            return (payload, false);
        }
        let mut batch = Batch::new(self.coding);
        while let Some(packet) = self.next_control(now) {
            batch.push_control(packet);
        }
        let queued = self.outbox.has_messages();
        self.outbox.pop_payload(self.limits(), &mut batch);
        if queued {
            self.message_taken();
        }
        // A close packet for which there is no room comes with the next poll.
        let last = closing
            && !self.outbox.has_messages()
            && batch.push(Packet::Close, self.limits()).is_ok();
        let (mut packets, compress) = batch.into_packets();
        if packets.is_empty() {
            packets.push(Packet::Noop);
        }
        let payload = Payload {
            compress,
            ..self.coding.encode_payload(&packets)
        };
        self.discarded.add_all(packets);
        (payload, last)
    }

    /// Takes the payload that is by far the most frequent: a text that waits alone is one as it is.
    fn take_text(&mut self) -> Option<Payload> {
        if self.outbox.has_control() || !self.coding.separates_packets() {
            return None;
        }
        let (text, compress) = self.outbox.pop_only_text()?;
        self.heartbeat.silence.on_taken();
        self.message_taken();
        Some(Payload {
            compress,
            ..Payload::text(text.into_wire())
        })
    }

    /// Ends the poll with a noop, which the driver takes like any other payload.
    pub(super) fn answer_with_noop(&mut self, id: ExchangeId, announced: bool) {
        self.noop = Some(id);
        if !announced {
            self.output(Output::AnswerPoll(id));
        }
    }

    pub(super) fn take_noop(&mut self, id: ExchangeId) -> bool {
        self.noop.take_if(|noop| *noop == id).is_some()
    }

    /// Returns how many elements the allocated memory has room for: outbox, inbox, outputs.
    #[cfg(test)]
    pub(super) fn capacities(&self) -> [usize; 3] {
        [
            self.outbox.capacity(),
            self.inbox.capacity(),
            self.outputs.capacity(),
        ]
    }

    /// Empties the outbox. The driver drops the messages.
    pub(super) fn discard_outbox(&mut self) {
        let messages = self.outbox.take_messages();
        self.discarded.extend(messages.into_iter());
    }

    /// Encodes a packet as a frame. The driver drops the data of the message, if the frame has a copy of it.
    pub(super) fn encode_frame(&mut self, packet: Packet) -> Frame {
        if self.coding.copies_binary()
            && let Packet::Message(message @ Message::Binary(_)) = &packet
        {
            self.discarded.extend(std::iter::once(message.clone()));
        }
        self.coding.encode_frame(packet)
    }

    /// Clears the queues and timers, and queues the last event of the application.
    pub(super) fn close(&mut self, reason: DisconnectReason) {
        self.heartbeat.silence.stop(&mut self.timers);
        self.timers.clear();
        self.discard_outbox();
        self.outputs.notify_senders();
        self.inbox.close(Event::Closed(reason));
    }
}
