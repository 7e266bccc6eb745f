//! What every state of a client's session shares: queues, timers, and the outputs that are still to be taken.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::config::Config;
use super::input::{Event, Fault, Output, RequestId, WebSocketId};
use super::opened::Opened;
use crate::codec::{Coding, DecodeError, Frame, Payload, Revision};
use crate::outbox::{self, Batch, Outbox};
use crate::timer::{Timer, Timers, after};
use crate::{DisconnectReason, Message, Packet, Transport};

/// The shortest time between two pings of a client, whatever the server asks for.
const MIN_PING_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) config: Config,
    coding: Coding,
    /// The limits of the outbox; `max_payload` is the server's, from the open packet on.
    limits: crate::Config,
    pub(super) outbox: Outbox,
    pub(super) timers: Timers,
    pub(super) opened: Option<Opened>,
    /// By what the server is reached, or was when the session ended.
    pub(super) transport: Transport,
    /// What was wrong with the server, if that ended the session.
    pub(super) fault: Option<Fault>,
    /// The answer that is due to the last ping, with its data. A pile of pings gets one pong.
    pong: Option<Bytes>,
    inbox: VecDeque<Event>,
    inbox_bytes: usize,
    /// The application let the inbox run full since the last ping, so a silence may be its own fault.
    stalled: bool,
    outputs: VecDeque<Output>,
    /// The driver was told about the events in the inbox.
    events_told: bool,
    /// Somebody should hear that the outbox became shorter, or takes nothing any more.
    room: bool,
    /// The session is over, and the driver is still to be told so, after all else.
    finished: bool,
    /// Messages of the server are no longer passed on.
    pub(super) deaf: bool,
    requests: u32,
    websockets: u32,
}

impl Machine {
    pub(super) fn new(mut config: Config, transport: Transport) -> Self {
        for timeout in [
            &mut config.open_timeout,
            &mut config.upgrade_timeout,
            &mut config.close_timeout,
        ] {
            // "No timeout" is often written as the longest duration, which no clock can add.
            *timeout = (*timeout).min(Opened::MAX_PATIENCE);
        }
        let limits = crate::Config {
            max_payload: usize::MAX,
            max_poll_packets: config.max_post_packets.max(1),
            outbox_limit: config.outbox_limit,
            ..crate::Config::default()
        };
        let coding = Coding {
            revision: config.revision,
            base64: false,
        };
        Self {
            config,
            coding,
            limits,
            outbox: Outbox::default(),
            timers: Timers::default(),
            opened: None,
            transport,
            fault: None,
            pong: None,
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            stalled: false,
            outputs: VecDeque::new(),
            events_told: false,
            room: false,
            finished: false,
            deaf: false,
            requests: 0,
            websockets: 0,
        }
    }

    pub(super) const fn next_request(&mut self) -> RequestId {
        self.requests = self.requests.wrapping_add(1);
        RequestId(self.requests)
    }

    pub(super) const fn next_websocket(&mut self) -> WebSocketId {
        self.websockets = self.websockets.wrapping_add(1);
        WebSocketId(self.websockets)
    }

    pub(super) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        if !self.events_told && !self.inbox.is_empty() {
            self.events_told = true;
            return Some(Output::Events);
        }
        if std::mem::take(&mut self.room) {
            return Some(Output::Room);
        }
        std::mem::take(&mut self.finished).then_some(Output::Finished)
    }

    /// Takes an open packet in; the heartbeat is watched from here on.
    pub(super) fn open(&mut self, now: Instant, json: &[u8]) -> Result<(), DisconnectReason> {
        match Opened::from_json(json) {
            Ok(opened) => {
                self.timers.clear();
                self.limits.max_payload = opened.max_payload().unwrap_or(usize::MAX);
                self.opened = Some(opened);
                self.watch(now);
                self.on_ping_due(now);
                self.outbox.ping = false;
                self.event(Event::Opened);
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

    /// The next ping must come before this time has passed.
    pub(super) fn watch(&mut self, now: Instant) {
        self.stalled = !self.inbox_has_room();
        if let Some(opened) = &self.opened {
            self.timers.set(Timer::PingTimeout, now + opened.patience());
        }
    }

    /// In revision 3 the client pings, one interval after the other; the first time one interval after the opening.
    pub(super) fn on_ping_due(&mut self, now: Instant) {
        if let (Revision::V3, Some(opened)) = (self.config.revision, &self.opened) {
            self.outbox.ping = true;
            self.outbox.shrink();
            // An interval of nothing would be a flood.
            let interval = opened.ping_interval().max(MIN_PING_INTERVAL);
            self.timers.set(Timer::Ping, now + interval);
        }
    }

    /// The server was silent for too long. Returns whether that may be because nobody read what it sent.
    pub(super) fn excuse_silence(&mut self, now: Instant) -> bool {
        let excused = self.stalled || !self.inbox_has_room();
        if excused {
            self.watch(now);
            if let Some(opened) = &self.opened {
                // A server that leaves no time at all must not be excused over and over in one moment.
                let end = after(now, opened.patience());
                self.timers.set(Timer::PingTimeout, end);
            }
        }
        excused
    }

    pub(super) fn event(&mut self, event: Event) {
        if !self.deaf {
            self.inbox.push_back(event);
        }
    }

    /// What a packet of the server means once the link that brought it is settled.
    pub(super) fn on_packet(
        &mut self,
        now: Instant,
        packet: Packet,
    ) -> Result<(), DisconnectReason> {
        if self.config.revision == Revision::V3 {
            // Every packet shows that the server lives, the pong to our ping among them.
            self.watch(now);
        }
        match packet {
            Packet::Message(message) => {
                if !self.deaf {
                    self.inbox_bytes += outbox::cost(&message);
                    self.event(Event::Message(message));
                    self.stalled |= !self.inbox_has_room();
                }
            }
            Packet::Ping(data) if self.config.revision == Revision::V4 => {
                self.watch(now);
                self.outbox.shrink();
                self.pong = Some(data);
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

    /// What the packets of a poll response mean, in their order, up to the first that ends the session.
    pub(super) fn on_packets(
        &mut self,
        now: Instant,
        packets: impl Iterator<Item = Result<Packet, DecodeError>>,
    ) -> Result<(), DisconnectReason> {
        for (count, packet) in packets.enumerate() {
            if count >= self.config.max_poll_packets {
                let fault = Fault::TooManyPackets(self.config.max_poll_packets);
                return Err(self.at_fault(fault, DisconnectReason::PayloadTooLarge));
            }
            let packet = self.decoded(packet)?;
            self.on_packet(now, packet)?;
        }
        Ok(())
    }

    pub(super) fn decoded(
        &mut self,
        packet: Result<Packet, DecodeError>,
    ) -> Result<Packet, DisconnectReason> {
        packet.map_err(|error| self.at_fault(Fault::Decode(error), DisconnectReason::ParseError))
    }

    pub(super) fn take_event(&mut self) -> Option<Event> {
        let event = self.inbox.pop_front();
        match &event {
            Some(Event::Message(message)) => self.inbox_bytes -= outbox::cost(message),
            Some(_) => {}
            None => {
                self.events_told = false;
                self.inbox = VecDeque::new();
            }
        }
        event
    }

    pub(super) const fn inbox_has_room(&self) -> bool {
        self.inbox_bytes <= self.config.inbox_limit
    }

    pub(super) fn has_room(&self, cost: usize) -> bool {
        self.outbox.has_room(cost, &self.limits)
    }

    pub(super) const fn outbox_shortened(&mut self) {
        self.room = true;
    }

    /// Whether there is anything to send at all.
    pub(super) fn is_pending(&self) -> bool {
        self.pong.is_some() || self.outbox.is_pending()
    }

    /// The next heartbeat packet that is due, ahead of every message.
    pub(super) fn take_control(&mut self) -> Option<Packet> {
        if std::mem::take(&mut self.outbox.ping) {
            return Some(Packet::ping());
        }
        self.pong.take().map(Packet::Pong)
    }

    /// The packets of the next POST, and whether the close packet is among them. The close packet travels with the
    /// last messages if it fits.
    pub(super) fn take_packets(&mut self, closing: bool) -> (Vec<Packet>, bool) {
        let mut batch = Batch::new(self.coding);
        while let Some(packet) = self.take_control() {
            batch.push_control(packet);
        }
        self.outbox.pop_payload(&self.limits, &mut batch);
        let last = closing
            && !self.outbox.has_messages()
            && batch.push(Packet::Close, &self.limits).is_ok();
        self.outbox_shortened();
        (batch.into_packets().0, last)
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

    pub(super) fn encode_frame(&self, packet: Packet) -> Frame {
        self.coding.encode_frame(packet)
    }

    pub(super) fn encode_payload(&self, packets: &[Packet]) -> Payload {
        self.coding.encode_payload(packets)
    }

    pub(super) fn queue(&mut self, message: Message) {
        // Requests are not compressed.
        self.outbox.push(message, false);
    }

    /// The last thing that the application hears.
    pub(super) fn close(&mut self, reason: DisconnectReason) {
        self.deaf = true;
        self.timers.clear();
        self.outbox.clear();
        self.pong = None;
        self.room = true;
        self.inbox.push_back(Event::Closed(reason));
        self.finished = true;
    }
}
