//! The parts that all states of a client's session share: queues, timers, and the outputs that are still to be taken.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::config::Config;
use super::input::{Event, Fault, Output, ProbeFailure, RequestId};
use super::opened::Opened;
use crate::codec::{Coding, DecodeError, Frame, Payload, Revision};
use crate::heartbeat::SilenceTimer;
use crate::inbox::{Inbox, Outputs};
use crate::outbox::{Batch, Discarded, Limits, Outbox};
use crate::timer::{Timer, Timers};
use crate::{DisconnectReason, LinkId, Message, Packet, SendError, Transport};

/// The shortest time between two pings of a client, whatever the server asks for.
const MIN_PING_INTERVAL: Duration = Duration::from_millis(100);

/// The maximum number of bytes of a ping that its pong repeats: as many as a WebSocket control frame can hold.
const MAX_PONG: usize = 125;

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) config: Config,
    coding: Coding,
    pub(super) outbox: Outbox,
    pub(super) timers: Timers,
    pub(super) opened: Option<Opened>,
    /// The fault of the server, if one ended the session.
    pub(super) fault: Option<Fault>,
    /// The answer that is due to the last ping, with its data. Several pings get one pong.
    pong: Option<Bytes>,
    pub(super) inbox: Inbox<Event>,
    pub(super) outputs: Outputs<Output>,
    /// The messages that were queued when the session ended.
    pub(super) unsent: Vec<Message>,
    /// The number of messages that were queued when the session ended.
    pub(super) dropped: usize,
    /// Messages that were sent, and must still be dropped.
    pub(super) discarded: Discarded,
    /// The number of messages in the POST that is in progress, or was when the session ended.
    pub(super) posted: usize,
    /// The reason for which the last attempt to move to a link failed.
    pub(super) probe_failure: Option<ProbeFailure>,
    pub(super) silence: SilenceTimer,
    requests: u32,
    links: u32,
}

impl Machine {
    pub(super) fn new(mut config: Config) -> Self {
        for timeout in [
            &mut config.open_timeout,
            &mut config.upgrade_timeout,
            &mut config.close_timeout,
        ] {
            // "No timeout" is often written as the longest duration, which no clock can add.
            *timeout = (*timeout).min(Opened::MAX_PATIENCE);
        }
        let coding = Coding {
            revision: config.revision,
            base64: false,
        };
        Self {
            config,
            coding,
            outbox: Outbox::default(),
            timers: Timers::default(),
            opened: None,
            fault: None,
            pong: None,
            inbox: Inbox::new(),
            outputs: Outputs::new(),
            unsent: Vec::new(),
            dropped: 0,
            discarded: Discarded::default(),
            posted: 0,
            probe_failure: None,
            silence: SilenceTimer::default(),
            requests: 0,
            links: 0,
        }
    }

    pub(super) const fn next_request(&mut self) -> RequestId {
        self.requests = self.requests.wrapping_add(1);
        RequestId(self.requests)
    }

    pub(super) const fn next_link(&mut self) -> LinkId {
        LinkId::next(&mut self.links)
    }

    pub(super) fn output(&mut self, output: Output) {
        self.outputs.push(output);
    }

    /// Takes an open packet in; the heartbeat is watched from here on.
    pub(super) fn open(&mut self, now: Instant, json: &[u8]) -> Result<(), DisconnectReason> {
        match Opened::from_json(json) {
            Ok(opened) => {
                self.timers.clear();
                self.opened = Some(opened);
                self.watch(now);
                self.on_ping_due(now);
                self.outbox.ping = false;
                self.inbox.push(Event::Opened);
                Ok(())
            }
            Err(error) => Err(self.at_fault(Fault::Opened(error), DisconnectReason::ParseError)),
        }
    }

    /// Remembers what was wrong with the server.
    pub(super) fn at_fault(&mut self, fault: Fault, reason: DisconnectReason) -> DisconnectReason {
        self.fault = Some(fault);
        reason
    }

    /// Begins a new wait for the server, which has shown a sign of life.
    ///
    /// Nothing counts as one while a heartbeat packet of the client or a message for a full outbox waits to be taken since
    /// the last wait began: a server may send and read nothing.
    fn watch(&mut self, now: Instant) {
        if !self.heartbeat_waits() && !self.silence.is_untaken() {
            self.silence.start(now, self.patience(), &mut self.timers);
        }
    }

    /// Returns whether the server has not taken the last ping or pong yet.
    pub(super) const fn heartbeat_waits(&self) -> bool {
        self.pong.is_some() || self.outbox.ping
    }

    fn patience(&self) -> Duration {
        self.opened.as_ref().map_or(Duration::MAX, Opened::patience)
    }

    /// Sends a ping, which is the client's part in revision 3: the first one interval after the opening, then one each
    /// interval.
    pub(super) fn on_ping_due(&mut self, now: Instant) {
        if let (Revision::V3, Some(opened)) = (self.config.revision, &self.opened) {
            // An interval of nothing would be a flood.
            let interval = opened.ping_interval().max(MIN_PING_INTERVAL);
            self.outbox.ping = true;
            self.shrink();
            self.timers.set(Timer::Ping, now + interval);
        }
    }

    /// Returns whether the silence of a server is excused whose ping timeout is over.
    pub(super) fn excuse_silence(&mut self, now: Instant) -> bool {
        let wait = self.patience();
        self.silence.excuses(now, wait, &mut self.timers)
    }

    fn receive(&mut self, now: Instant, message: Message) {
        self.inbox.push_message(message);
        if !self.inbox_has_room() {
            self.silence.pause(now, &self.timers);
        }
    }

    /// Lets the timeout go on once the inbox has room again.
    pub(super) fn use_room(&mut self, now: impl FnOnce() -> Instant) {
        if self.silence.is_paused() && self.inbox_has_room() {
            self.silence.resume(now(), &mut self.timers);
        }
    }

    /// Takes in a packet of the server once the link that brought it is settled.
    pub(super) fn on_packet(
        &mut self,
        now: Instant,
        packet: Packet,
    ) -> Result<(), DisconnectReason> {
        // Every packet shows that the server lives, as for python-engineio's client; the reference's waits for a ping.
        self.watch(now);
        match packet {
            Packet::Message(message) => {
                self.receive(now, message);
            }
            // The server's ping is answered with a pong.
            Packet::Ping(data) if self.config.revision == Revision::V4 => {
                self.shrink();
                // The reference answers without data. A server's data must not become a large POST or frame.
                let is_short = data.len() <= MAX_PONG;
                self.pong = Some(if is_short { data } else { Bytes::new() });
            }
            Packet::Close => return Err(DisconnectReason::Server),
            // Out of place but harmless, and ignored by the reference too.
            Packet::Open(_)
            | Packet::Ping(_)
            | Packet::Pong(_)
            | Packet::Upgrade
            | Packet::Noop => {}
        }
        Ok(())
    }

    /// Takes in the packets of a poll response in their order, up to the first that ends the session. Returns whether any
    /// of them was a message.
    pub(super) fn on_packets(
        &mut self,
        now: Instant,
        packets: impl Iterator<Item = Result<Packet, DecodeError>>,
    ) -> Result<bool, DisconnectReason> {
        let mut has_messages = false;
        for (count, packet) in packets.enumerate() {
            if count >= self.config.max_poll_packets {
                let fault = Fault::TooManyPackets(self.config.max_poll_packets);
                return Err(self.at_fault(fault, DisconnectReason::PayloadTooLarge));
            }
            let packet = self.decoded(packet)?;
            has_messages |= matches!(packet, Packet::Message(_));
            self.on_packet(now, packet)?;
        }
        Ok(has_messages)
    }

    pub(super) fn decoded(
        &mut self,
        packet: Result<Packet, DecodeError>,
    ) -> Result<Packet, DisconnectReason> {
        packet.map_err(|error| self.at_fault(Fault::Decode(error), DisconnectReason::ParseError))
    }

    /// Frees the memory of a burst, once a heartbeat.
    fn shrink(&mut self) {
        self.outbox.shrink();
        self.inbox.shrink();
    }

    pub(super) const fn inbox_has_room(&self) -> bool {
        self.inbox.has_room(self.config.inbox_limit)
    }

    /// Returns the limits of a POST, which are the server's from the open packet on.
    fn limits(&self) -> Limits {
        let opened = self.opened.as_ref();
        Limits {
            bytes: self.config.outbox_limit,
            payload: opened.and_then(Opened::max_payload).unwrap_or(usize::MAX),
            packets: self.config.max_post_packets.max(1),
        }
    }

    pub(super) fn outbox_has_room(&self, cost: usize) -> bool {
        self.outbox.has_room(cost, self.limits())
    }

    /// Returns whether there is anything to send at all.
    pub(super) fn is_pending(&self) -> bool {
        self.pong.is_some() || self.outbox.is_pending()
    }

    /// Takes the next heartbeat packet that is due, which goes ahead of every message.
    pub(super) fn take_control(&mut self) -> Option<Packet> {
        self.silence.on_taken();
        if std::mem::take(&mut self.outbox.ping) {
            return Some(Packet::ping());
        }
        self.pong.take().map(Packet::Pong)
    }

    /// Takes the packets of the next POST, and returns whether the close packet is among them. The close packet travels
    /// with the last messages if it fits.
    pub(super) fn take_packets(&mut self, closing: bool) -> (Vec<Packet>, bool) {
        let mut batch = Batch::new(self.coding);
        while let Some(packet) = self.take_control() {
            batch.push_control(packet);
        }
        self.outbox.pop_payload(self.limits(), &mut batch);
        let last = closing
            && !self.outbox.has_messages()
            && batch.push(Packet::Close, self.limits()).is_ok();
        self.outputs.notify_senders();
        let (packets, _) = batch.into_packets();
        let messages = packets.iter();
        self.posted = messages
            .filter(|packet| matches!(packet, Packet::Message(_)))
            .count();
        (packets, last)
    }

    pub(super) fn decode_frame(&mut self, frame: Frame) -> Result<Packet, DisconnectReason> {
        let packet = self.coding.decode_frame(frame);
        self.decoded(packet)
    }

    pub(super) fn decode_payload(
        &self,
        payload: Payload,
    ) -> impl Iterator<Item = Result<Packet, DecodeError>> + use<> {
        self.coding.decode_payload(payload)
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

    /// Encodes packets as the body of a POST. The driver drops them.
    pub(super) fn encode_payload(&mut self, packets: Vec<Packet>) -> Payload {
        let payload = self.coding.encode_payload(&packets);
        self.discarded.add_all(packets);
        payload
    }

    /// Queues a message that leaves over this transport, or over another one after an upgrade, even if the outbox is full
    /// if it may go `beyond` its limit.
    pub(super) fn queue(
        &mut self,
        message: Message,
        transport: Transport,
        beyond: bool,
    ) -> Result<(), SendError> {
        let may_split = transport == Transport::Polling && self.coding.separates_packets();
        let refuse_separator = may_split && !self.config.allow_separator;
        let mut limits = self.limits();
        if beyond {
            limits.bytes = usize::MAX;
        }
        let messages = std::slice::from_ref(&message);
        if let Err(error) = self.outbox.admit(messages, refuse_separator, limits) {
            if let SendError::Full(()) = error {
                self.silence.on_refused();
            }
            return Err(error.with(message));
        }
        // Requests are not compressed.
        self.outbox.push(message, false);
        Ok(())
    }

    pub(super) fn stop_timers(&mut self) {
        self.silence.stop(&mut self.timers);
        self.timers.clear();
    }

    /// Clears the queues and timers, and queues the last event of the application.
    pub(super) fn close(&mut self, reason: DisconnectReason) {
        self.stop_timers();
        self.unsent = self.outbox.take_messages();
        self.dropped = self.unsent.len();
        self.pong = None;
        self.outputs.notify_senders();
        self.inbox.close(Event::Closed(reason));
        self.outputs.finish();
    }
}
