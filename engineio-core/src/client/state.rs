//! The life of a client's session: opening, open, closing, closed.

use std::time::Instant;

use super::input::{Fault, Input, Output, RequestId, WebSocketId};
use super::link::{Link, Next, Polling};
use super::machine::Machine;
use crate::codec::{Frame, Payload};
use crate::timer::Timer;
use crate::{DisconnectReason, Packet, Transport};

#[derive(Debug)]
pub(super) enum State {
    /// The open packet has not come yet. Messages may be queued.
    Opening(Opening),
    Open(Link),
    /// Closed by the application, once the server has what is queued and the close packet.
    Closing(Link),
    Closed(DisconnectReason),
}

/// By what the open packet comes.
#[derive(Debug)]
pub(super) enum Opening {
    Polling(RequestId),
    WebSocket(WebSocketId),
}

impl Opening {
    fn release(self, reason: DisconnectReason, machine: &mut Machine) {
        machine.output(match self {
            Self::Polling(id) => Output::Cancel(id),
            Self::WebSocket(id) => Output::CloseWebSocket(id, reason),
        });
    }
}

impl State {
    pub(super) fn open(now: Instant, transport: Transport, machine: &mut Machine) -> Self {
        let timeout = machine.config.open_timeout;
        machine.timers.set(Timer::Upgrade, now + timeout);
        Self::Opening(match transport {
            Transport::Polling => {
                let id = machine.next_request();
                machine.output(Output::Poll(id));
                Opening::Polling(id)
            }
            Transport::WebSocket => {
                let id = machine.next_websocket();
                machine.output(Output::OpenWebSocket(id));
                Opening::WebSocket(id)
            }
        })
    }

    pub(super) fn step(self, now: Instant, input: Input, machine: &mut Machine) -> Self {
        match self {
            Self::Opening(opening) => opening.step(now, input, machine),
            Self::Open(link) => Self::open_or_end(link.step(now, input, machine), machine),
            Self::Closing(link) => Self::closing_or_end(link.step(now, input, machine), machine),
            Self::Closed(reason) => Self::Closed(reason),
        }
    }

    pub(super) fn on_timer(self, now: Instant, timer: Timer, machine: &mut Machine) -> Self {
        match self {
            Self::Opening(opening) => {
                let reason = DisconnectReason::TransportError;
                let reason = machine.at_fault(Fault::OpenTimeout, reason);
                opening.release(reason, machine);
                Self::end(reason, machine)
            }
            Self::Open(link) => Self::open_or_end(link.on_timer(now, timer, machine), machine),
            Self::Closing(link) if timer == Timer::Close => {
                link.release(DisconnectReason::Client, machine);
                Self::end(DisconnectReason::Client, machine)
            }
            Self::Closing(link) => {
                Self::closing_or_end(link.on_timer(now, timer, machine), machine)
            }
            Self::Closed(reason) => Self::Closed(reason),
        }
    }

    fn open_or_end(next: Next, machine: &mut Machine) -> Self {
        match next {
            Ok(link) => Self::Open(link),
            Err((link, reason)) => {
                link.release(reason, machine);
                Self::end(reason, machine)
            }
        }
    }

    /// A closing session that breaks ends for the reason for which it was closed.
    fn closing_or_end(next: Next, machine: &mut Machine) -> Self {
        match next {
            Ok(link) => Self::Closing(link),
            Err((link, _)) => {
                link.release(DisconnectReason::Client, machine);
                Self::end(DisconnectReason::Client, machine)
            }
        }
    }

    /// Begins an orderly close: what is queued first, then the close packet.
    pub(super) fn close(self, now: Instant, machine: &mut Machine) -> Self {
        match self {
            Self::Open(link) => {
                machine.deaf = true;
                // Who waits for room waits in vain, and is to hear it now, not when the server takes something.
                machine.outbox_shortened();
                machine.timers.clear();
                let timeout = machine.config.close_timeout;
                machine.timers.set(Timer::Close, now + timeout);
                Self::Closing(link.stay(machine))
            }
            Self::Opening(_) => self.abort(DisconnectReason::Client, machine),
            state => state,
        }
    }

    /// Ends the session at once.
    pub(super) fn abort(self, reason: DisconnectReason, machine: &mut Machine) -> Self {
        match self {
            Self::Opening(opening) => opening.release(reason, machine),
            Self::Open(link) | Self::Closing(link) => link.release(reason, machine),
            Self::Closed(reason) => return Self::Closed(reason),
        }
        Self::end(reason, machine)
    }

    pub(super) fn end(reason: DisconnectReason, machine: &mut Machine) -> Self {
        machine.close(reason);
        Self::Closed(reason)
    }

    pub(super) fn flush(self, machine: &mut Machine) -> Self {
        match self {
            Self::Open(link) => Self::Open(link.flush(false, machine)),
            Self::Closing(link) => Self::Closing(link.flush(true, machine)),
            state => state,
        }
    }
}

impl Opening {
    fn step(self, now: Instant, input: Input, machine: &mut Machine) -> State {
        match (self, input) {
            (Self::Polling(id), Input::PollAnswered(answered, body)) if answered == id => {
                Self::on_poll_answered(now, body, machine)
            }
            (Self::WebSocket(id), Input::WebSocketFrame(from, frame)) if from == id => {
                match on_first_frame(now, frame, machine) {
                    Ok(()) => State::Open(Link::websocket(id)),
                    Err(reason) => {
                        Self::WebSocket(id).release(reason, machine);
                        State::end(reason, machine)
                    }
                }
            }
            (Self::Polling(id), Input::PollFailed(failed, reason)) if failed == id => {
                State::end(reason, machine)
            }
            (Self::WebSocket(id), Input::WebSocketClosed(closed, reason)) if closed == id => {
                State::end(reason, machine)
            }
            (opening, _) => State::Opening(opening),
        }
    }

    fn on_poll_answered(now: Instant, body: Payload, machine: &mut Machine) -> State {
        let mut packets = machine.decode_payload(body);
        // A payload has at least one packet, if only a broken one.
        let outcome = match packets.next() {
            Some(packet) => machine
                .decoded(packet)
                .and_then(|packet| on_first_packet(now, packet, machine)),
            None => Err(machine.at_fault(Fault::NotOpen, DisconnectReason::ParseError)),
        };
        if let Err(reason) = outcome.and_then(|()| machine.on_packets(now, packets)) {
            return State::end(reason, machine);
        }
        let link = Link::Polling(Polling::default());
        let opened = machine.opened.as_ref();
        let offered = opened.is_some_and(|opened| opened.offers_websocket());
        State::Open(if offered && machine.config.upgrade {
            link.probe(now, machine)
        } else {
            link
        })
    }
}

fn on_first_frame(
    now: Instant,
    frame: Frame,
    machine: &mut Machine,
) -> Result<(), DisconnectReason> {
    let packet = machine.decode_frame(frame)?;
    on_first_packet(now, packet, machine)
}

fn on_first_packet(
    now: Instant,
    packet: Packet,
    machine: &mut Machine,
) -> Result<(), DisconnectReason> {
    match packet {
        Packet::Open(json) => machine.open(now, &json),
        _ => Err(machine.at_fault(Fault::NotOpen, DisconnectReason::ParseError)),
    }
}
