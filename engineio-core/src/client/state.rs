//! The life of a client's session: opening, open, closing, closed.

use std::time::Instant;

use super::input::{Fault, Input, Output, RequestId};
use super::link::{Link, Next};
use super::machine::Machine;
use super::polling::{Polling, Post};
use super::upgrade::Probing;
use crate::codec::{Frame, Payload};
use crate::timer::Timer;
use crate::{DisconnectReason, LinkId, Packet, Transport};

#[derive(Debug)]
pub(super) enum State {
    /// The open packet has not come yet. Messages may be queued.
    Opening(Opening),
    Open(Link),
    /// Being closed by the application; closed once the server has the queued messages and the close packet.
    Closing(Link),
    /// Over, except for the answer to a POST, which tells whether the server has its messages.
    Ending(Ending),
    /// Closed for this reason; the last transport stays known.
    Closed(DisconnectReason, Transport),
}

/// The request or link that is to bring the open packet.
#[derive(Debug)]
pub(super) enum Opening {
    Polling(RequestId),
    Link(LinkId, Transport),
}

#[derive(Debug)]
pub(super) struct Ending {
    post: RequestId,
    reason: DisconnectReason,
}

impl Opening {
    const fn transport(&self) -> Transport {
        match self {
            Self::Polling(_) => Transport::Polling,
            Self::Link(_, transport) => *transport,
        }
    }

    fn release(&self, reason: DisconnectReason, machine: &mut Machine) {
        machine.output(match self {
            Self::Polling(id) => Output::Cancel(*id),
            Self::Link(id, _) => Output::CloseLink(*id, reason),
        });
    }
}

impl State {
    /// Stands in while a transition has taken the state out.
    pub(super) const TAKEN: Self = Self::Closed(DisconnectReason::Client, Transport::Polling);

    /// Returns the current transport, or the last one once the session has ended.
    pub(super) const fn transport(&self) -> Transport {
        match self {
            Self::Opening(opening) => opening.transport(),
            Self::Open(link) | Self::Closing(link) => link.transport(),
            Self::Ending(_) => Transport::Polling,
            Self::Closed(_, transport) => *transport,
        }
    }

    pub(super) fn open(now: Instant, transport: Transport, machine: &mut Machine) -> Self {
        let timeout = machine.config.open_timeout;
        machine.timers.set(Timer::Open, now + timeout);
        Self::Opening(match transport {
            Transport::Polling => {
                let id = machine.next_request();
                machine.output(Output::Poll(id));
                Opening::Polling(id)
            }
            Transport::WebSocket | Transport::WebTransport => {
                let id = machine.next_link();
                machine.output(Output::OpenLink(id, transport));
                Opening::Link(id, transport)
            }
        })
    }

    pub(super) fn step(self, now: Instant, input: Input, machine: &mut Machine) -> Self {
        match self {
            Self::Opening(opening) => opening.step(now, input, machine),
            Self::Open(link) => Self::open_or_end(now, link.step(now, input, machine), machine),
            Self::Closing(link) => {
                Self::closing_or_end(now, link.step(now, input, machine), machine)
            }
            Self::Ending(ending) => ending.step(&input, machine),
            closed @ Self::Closed(..) => closed,
        }
    }

    pub(super) fn on_timer(self, now: Instant, timer: Timer, machine: &mut Machine) -> Self {
        match self {
            Self::Opening(opening) => {
                let reason = DisconnectReason::TransportError;
                let reason = machine.at_fault(Fault::OpenTimeout, reason);
                opening.end(reason, machine)
            }
            Self::Open(link) => Self::open_or_end(now, link.on_timer(now, timer, machine), machine),
            Self::Closing(link) if timer == Timer::Close => {
                Self::end(link, DisconnectReason::Client, machine)
            }
            Self::Closing(link) => {
                Self::closing_or_end(now, link.on_timer(now, timer, machine), machine)
            }
            // The one timer of this state.
            Self::Ending(ending) => ending.give_up(machine),
            closed @ Self::Closed(..) => closed,
        }
    }

    fn open_or_end(now: Instant, next: Next, machine: &mut Machine) -> Self {
        match next {
            Ok(link) => Self::Open(link),
            Err((link, DisconnectReason::Server)) => {
                Self::settle(now, link, DisconnectReason::Server, machine)
            }
            Err((link, reason)) => Self::end(link, reason, machine),
        }
    }

    /// Returns the reason with which a session ends when its connection breaks: that of the close if it was closing.
    fn closing_or_end(now: Instant, next: Next, machine: &mut Machine) -> Self {
        match next {
            Ok(link) => Self::Closing(link),
            Err((link, _)) => Self::settle(now, link, DisconnectReason::Client, machine),
        }
    }

    /// Ends the session as soon as the server has answered a POST with messages, if one is in progress.
    fn settle(
        now: Instant,
        mut link: Link,
        reason: DisconnectReason,
        machine: &mut Machine,
    ) -> Self {
        let polling = link.polling_mut().filter(|_| machine.posted > 0);
        let Some(Post { id: post, .. }) = polling.and_then(|polling| polling.post.take()) else {
            return Self::end(link, reason, machine);
        };
        link.release(reason, machine);
        let timeout = now + machine.config.close_timeout;
        let until = machine.timers.at(Timer::Close).unwrap_or(timeout);
        machine.stop_timers();
        machine.timers.set(Timer::Close, until);
        // Waiting senders will never get room now.
        machine.outputs.notify_senders();
        Self::Ending(Ending { post, reason })
    }

    /// Begins a graceful close: the queued messages first, then the close packet.
    pub(super) fn close(self, now: Instant, machine: &mut Machine) -> Self {
        match self {
            Self::Open(mut link) => {
                if let Some(reason) = link.post_refused() {
                    // A server that has refused a POST takes no close packet either.
                    return Self::end(link, reason, machine);
                }
                machine.inbox.discard_input();
                // Waiting senders will never get room now. Wake them at once rather than at the next take.
                machine.outputs.notify_senders();
                machine.stop_timers();
                let timeout = machine.config.close_timeout;
                machine.timers.set(Timer::Close, now + timeout);
                Self::Closing(link.abandon_upgrade(machine))
            }
            Self::Opening(_) => self.abort(DisconnectReason::Client, machine),
            state => state,
        }
    }

    /// Ends the session at once.
    pub(super) fn abort(self, reason: DisconnectReason, machine: &mut Machine) -> Self {
        match self {
            Self::Opening(opening) => opening.end(reason, machine),
            Self::Open(link) | Self::Closing(link) => Self::end(link, reason, machine),
            Self::Ending(ending) => ending.give_up(machine),
            closed @ Self::Closed(..) => closed,
        }
    }

    fn end(link: Link, reason: DisconnectReason, machine: &mut Machine) -> Self {
        let transport = link.transport();
        link.release(reason, machine);
        machine.close(reason);
        Self::Closed(reason, transport)
    }

    pub(super) fn flush(self, machine: &mut Machine) -> Self {
        match self {
            Self::Open(link) => Self::Open(link.flush(false, machine)),
            Self::Closing(link) => Self::Closing(link.flush(true, machine)),
            state => state,
        }
    }
}

impl Ending {
    fn step(mut self, input: &Input, machine: &mut Machine) -> State {
        match *input {
            Input::PostAnswered(id) if id == self.post => machine.posted = 0,
            Input::PostFailed(id, reason) if id == self.post => {
                // After a panic of the application's code there is no next session.
                if reason == DisconnectReason::HandlerPanic {
                    self.reason = reason;
                }
            }
            _ => return State::Ending(self),
        }
        self.ended(machine)
    }

    /// Waits no longer.
    fn give_up(self, machine: &mut Machine) -> State {
        machine.output(Output::Cancel(self.post));
        self.ended(machine)
    }

    fn ended(self, machine: &mut Machine) -> State {
        machine.close(self.reason);
        State::Closed(self.reason, Transport::Polling)
    }
}

impl Opening {
    /// Gives the attempt to open a session up.
    fn end(&self, reason: DisconnectReason, machine: &mut Machine) -> State {
        self.release(reason, machine);
        self.ended(reason, machine)
    }

    /// Ends a session whose request or WebSocket is gone already.
    fn ended(&self, reason: DisconnectReason, machine: &mut Machine) -> State {
        machine.close(reason);
        State::Closed(reason, self.transport())
    }

    fn step(self, now: Instant, input: Input, machine: &mut Machine) -> State {
        match (&self, input) {
            (Self::Polling(id), Input::PollAnswered(answered, body)) if answered == *id => {
                self.on_poll_answered(now, body, machine)
            }
            (Self::Link(id, transport), Input::LinkFrame(from, frame)) if from == *id => {
                match on_first_frame(now, frame, machine) {
                    Ok(()) => State::Open(Link::framed(*id, *transport)),
                    Err(reason) => self.end(reason, machine),
                }
            }
            (Self::Polling(id), Input::PollFailed(failed, reason)) if failed == *id => {
                self.ended(reason, machine)
            }
            (Self::Link(id, _), Input::LinkClosed(closed, reason)) if closed == *id => {
                self.ended(reason, machine)
            }
            _ => State::Opening(self),
        }
    }

    fn on_poll_answered(&self, now: Instant, body: Payload, machine: &mut Machine) -> State {
        let mut packets = machine.decode_payload(body);
        // A payload has at least one packet, if only a broken one.
        let outcome = match packets.next() {
            Some(packet) => machine
                .decoded(packet)
                .and_then(|packet| on_first_packet(now, packet, machine)),
            None => Err(machine.at_fault(Fault::NotOpen, DisconnectReason::ParseError)),
        };
        if let Err(reason) = outcome.and_then(|()| machine.on_packets(now, packets)) {
            return self.ended(reason, machine);
        }
        State::Open(Probing::start(now, Polling::default(), machine))
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
