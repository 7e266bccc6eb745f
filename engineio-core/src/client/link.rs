//! The link states of a client, which say how it reaches the server, and the transitions between them.
//!
//! A transition consumes its state and gives the next one back, so a forgotten successor does not compile; one that
//! ends the session gives the link back as well, because to end is to release: the poll, the POST and the WebSocket
//! that are under way each get cancelled or closed.

use std::time::Instant;

use super::input::{Event, Input, Output, ProbeFailure, RequestId};
use super::machine::Machine;
use super::polling::{Polling, Post};
use super::upgrade::{Pausing, Probing, fall_back};
use crate::codec::{Frame, Payload};
use crate::timer::Timer;
use crate::{DisconnectReason, LinkId, Packet, Transport};

/// The time for which a refused POST waits for the poll. A server that has just closed the session refuses the POST,
/// while the answer to the poll, with the last messages and the close packet, may still be on its way on another connection.
const LINGER: std::time::Duration = std::time::Duration::from_secs(1);

#[derive(Debug)]
pub(super) enum Link {
    /// Polling alone.
    Polling(Polling),
    /// Polling, while links are tried.
    Probing(Probing),
    /// None: a link works, and the request in flight has to come back first.
    Pausing(Pausing),
    /// Frames, over a WebSocket or another duplex connection.
    Framed(Framed),
}

#[derive(Debug)]
pub(super) struct Framed {
    id: LinkId,
    transport: Transport,
    /// `5` is still to be sent.
    upgrade: bool,
    /// The driver knows that there are frames.
    announced: bool,
}

/// Go on with this link, or end the session and release this link.
pub(super) type Next = Result<Link, (Link, DisconnectReason)>;

impl Link {
    /// Creates the link of a session that was opened over it.
    pub(super) const fn framed(id: LinkId, transport: Transport) -> Self {
        Self::Framed(Framed {
            id,
            transport,
            upgrade: false,
            announced: false,
        })
    }

    pub(super) const fn transport(&self) -> Transport {
        match self {
            Self::Polling(_) | Self::Probing(_) | Self::Pausing(_) => Transport::Polling,
            Self::Framed(framed) => framed.transport,
        }
    }

    pub(super) fn step(self, now: Instant, input: Input, machine: &mut Machine) -> Next {
        match input {
            Input::PollAnswered(id, body) => self.on_poll_answered(now, id, body, machine),
            Input::PollFailed(id, reason) => self.on_poll_failed(id, reason),
            Input::PostAnswered(id) => self.on_post_answered(id, machine),
            Input::PostFailed(id, reason) => self.on_post_failed(now, id, reason, machine),
            Input::LinkOpened(id) => Ok(self.on_link_opened(id, machine)),
            Input::LinkFrame(id, frame) => self.on_frame(now, id, frame, machine),
            Input::LinkClosed(id, reason) => self.on_link_closed(id, reason, machine),
            Input::Timeout => Ok(self),
        }
    }

    pub(super) fn on_timer(mut self, now: Instant, timer: Timer, machine: &mut Machine) -> Next {
        match timer {
            Timer::PingTimeout if machine.excuse_silence(now) => Ok(self),
            Timer::PingTimeout => {
                // A link that has not even taken the pong is not silent: its server does not read.
                let unread = machine.heartbeat_waits() && matches!(self, Self::Framed(_));
                let reason = if unread {
                    DisconnectReason::SlowConsumer
                } else {
                    DisconnectReason::PingTimeout
                };
                Err((self, reason))
            }
            Timer::Upgrade => {
                self.close_candidates(DisconnectReason::TransportClose, machine);
                Ok(self.fall_back(ProbeFailure::Timeout, machine))
            }
            Timer::UpgradeStep => {
                if let Self::Probing(probing) = &mut self {
                    probing.try_next(machine);
                }
                Ok(self)
            }
            Timer::Linger => match self.post_refused() {
                Some(reason) => Err((self, reason)),
                None => Ok(self),
            },
            Timer::Ping => {
                machine.on_ping_due(now);
                Ok(self)
            }
            // Those of other states.
            Timer::Open | Timer::Close
            // The poll begins with the flush that follows.
            | Timer::Poll => Ok(self),
        }
    }

    fn on_poll_answered(
        mut self,
        now: Instant,
        id: RequestId,
        body: Payload,
        machine: &mut Machine,
    ) -> Next {
        let Some(polling) = self.polling_mut() else {
            return Ok(self);
        };
        if polling.poll.take_if(|poll| *poll == id).is_none() {
            return Ok(self);
        }
        let outcome = if body.body.is_empty() {
            // python-engineio's server answers so at times; its client takes it for no packets.
            Ok(false)
        } else {
            machine.on_packets(now, machine.decode_payload(body))
        };
        if let Some(polling) = self.polling_mut() {
            polling.on_poll(now, outcome.unwrap_or(true), machine);
        }
        let reason = match outcome {
            // The server has closed the session, and refused the POST because of that.
            Err(DisconnectReason::Server) => Some(DisconnectReason::Server),
            // The first refusal says more about the end than what follows from it.
            outcome => self.post_refused().or_else(|| outcome.err()),
        };
        match reason {
            None => Ok(self),
            Some(reason) => Err((self, reason)),
        }
    }

    /// Returns why the session ends as soon as the poll is back, if a POST was refused.
    pub(super) fn post_refused(&mut self) -> Option<DisconnectReason> {
        self.polling_mut()?.post_refused
    }

    fn on_poll_failed(mut self, id: RequestId, reason: DisconnectReason) -> Next {
        let polling = self.polling_mut();
        match polling.and_then(|polling| polling.poll.take_if(|poll| *poll == id)) {
            Some(_) => {
                let reason = self.post_refused().unwrap_or(reason);
                Err((self, reason))
            }
            None => Ok(self),
        }
    }

    fn on_post_answered(mut self, id: RequestId, machine: &mut Machine) -> Next {
        let Some(post) = self.take_post(id) else {
            return Ok(self);
        };
        if std::mem::take(&mut machine.posted) > 0 {
            // For those who wait until everything is sent.
            machine.outputs.notify_senders();
        }
        match post.last {
            true => Err((self, DisconnectReason::Client)),
            false => Ok(self),
        }
    }

    fn on_post_failed(
        mut self,
        now: Instant,
        id: RequestId,
        reason: DisconnectReason,
        machine: &mut Machine,
    ) -> Next {
        if self.take_post(id).is_none() {
            return Ok(self);
        }
        match self.polling_mut() {
            Some(polling) if reason == DisconnectReason::Refused && polling.poll.is_some() => {
                polling.post_refused = Some(reason);
                machine.timers.set(Timer::Linger, now + LINGER);
                Ok(self)
            }
            _ => Err((self, reason)),
        }
    }

    fn take_post(&mut self, id: RequestId) -> Option<Post> {
        self.polling_mut()?.post.take_if(|post| post.id == id)
    }

    fn on_link_opened(mut self, id: LinkId, machine: &mut Machine) -> Self {
        if let Self::Probing(probing) = &mut self {
            probing.on_link_opened(id, machine);
        }
        self
    }

    fn on_link_closed(self, id: LinkId, reason: DisconnectReason, machine: &mut Machine) -> Next {
        match self {
            Self::Framed(framed) if framed.id == id => Err((Self::Framed(framed), reason)),
            Self::Probing(probing) => {
                Ok(probing.without(id, ProbeFailure::Closed(reason), machine))
            }
            Self::Pausing(pausing) if pausing.to == id => {
                let failure = ProbeFailure::Closed(reason);
                Ok(Self::Pausing(pausing).fall_back(failure, machine))
            }
            link => Ok(link),
        }
    }

    fn on_frame(self, now: Instant, id: LinkId, frame: Frame, machine: &mut Machine) -> Next {
        match self {
            Self::Framed(framed) if framed.id == id => {
                let outcome = machine
                    .decode_frame(frame)
                    .and_then(|packet| machine.on_packet(now, packet));
                match outcome {
                    Ok(()) => Ok(Self::Framed(framed)),
                    Err(reason) => Err((Self::Framed(framed), reason)),
                }
            }
            Self::Probing(probing) => Ok(probing.on_frame(id, &frame, machine)),
            Self::Pausing(pausing) if pausing.to == id => {
                let reason = DisconnectReason::TransportError;
                machine.output(Output::CloseLink(id, reason));
                Ok(Self::Pausing(pausing).fall_back(ProbeFailure::WrongAnswer, machine))
            }
            link => Ok(link),
        }
    }

    /// Closes the links that are being tried, before the upgrade is given up.
    fn close_candidates(&mut self, reason: DisconnectReason, machine: &mut Machine) {
        match self {
            Self::Probing(probing) => probing.close_candidates(reason, machine),
            Self::Pausing(pausing) => machine.output(Output::CloseLink(pausing.to, reason)),
            Self::Polling(_) | Self::Framed(_) => {}
        }
    }

    /// Goes on by polling, if a link was being tried.
    fn fall_back(self, failure: ProbeFailure, machine: &mut Machine) -> Self {
        match self {
            Self::Probing(Probing { polling, .. }) | Self::Pausing(Pausing { polling, .. }) => {
                Self::Polling(fall_back(polling, failure, machine))
            }
            link => link,
        }
    }

    /// Gives an upgrade up that is not complete: the session is closing, by the transport that it has.
    pub(super) fn abandon_upgrade(mut self, machine: &mut Machine) -> Self {
        let reason = DisconnectReason::Client;
        self.close_candidates(reason, machine);
        self.fall_back(ProbeFailure::Closed(reason), machine)
    }

    pub(super) const fn polling_mut(&mut self) -> Option<&mut Polling> {
        match self {
            Self::Polling(polling) => Some(polling),
            Self::Probing(probing) => Some(&mut probing.polling),
            Self::Pausing(pausing) => Some(&mut pausing.polling),
            Self::Framed(_) => None,
        }
    }

    /// Tells the driver what can be asked and sent now, and completes an upgrade that waits for nothing any more;
    /// called after every change.
    pub(super) fn flush(self, closing: bool, machine: &mut Machine) -> Self {
        match self {
            Self::Polling(mut polling) => {
                polling.flush(closing, machine);
                Self::Polling(polling)
            }
            Self::Probing(mut probing) => {
                probing.polling.flush(closing, machine);
                Self::Probing(probing)
            }
            // The poll and the POST are back. `Packet::Upgrade` (`5`) is the first frame.
            Self::Pausing(pausing) if pausing.polling.is_idle() => {
                machine.timers.stop(Timer::Upgrade);
                machine.inbox.push(Event::Upgraded);
                let framed = Framed {
                    id: pausing.to,
                    transport: pausing.transport,
                    upgrade: true,
                    announced: false,
                };
                Self::Framed(framed.flush(closing, machine))
            }
            Self::Pausing(pausing) => Self::Pausing(pausing),
            Self::Framed(framed) => Self::Framed(framed.flush(closing, machine)),
        }
    }

    /// Takes the packets of a POST, or `None` if that POST is not in progress or already has its body.
    pub(super) fn take_packets(
        &mut self,
        id: RequestId,
        closing: bool,
        machine: &mut Machine,
    ) -> Option<Vec<Packet>> {
        let post = self.polling_mut()?.post.as_mut();
        let post = post.filter(|post| post.id == id && !post.taken)?;
        let (packets, last) = machine.take_packets(closing);
        post.taken = true;
        post.last = last;
        Some(packets)
    }

    /// Takes the next packet for a WebSocket. Returns whether it is the close packet.
    pub(super) fn take_packet(
        &mut self,
        id: LinkId,
        closing: bool,
        machine: &mut Machine,
    ) -> Option<(Packet, bool)> {
        match self {
            Self::Framed(framed) if framed.id == id => {
                if std::mem::take(&mut framed.upgrade) {
                    return Some((Packet::Upgrade, false));
                }
                if let Some(packet) = machine.take_control() {
                    return Some((packet, false));
                }
                if let Some((message, _)) = machine.outbox.pop() {
                    machine.outputs.notify_senders();
                    return Some((Packet::Message(message), false));
                }
                framed.announced = false;
                closing.then_some((Packet::Close, true))
            }
            Self::Probing(probing) => probing.take_packet(id).map(|packet| (packet, false)),
            _ => None,
        }
    }

    /// Releases what the link holds.
    pub(super) fn release(mut self, reason: DisconnectReason, machine: &mut Machine) {
        if let Some(polling) = self.polling_mut() {
            let post = polling.post.take().map(|post| post.id);
            for id in polling.poll.take().into_iter().chain(post) {
                machine.output(Output::Cancel(id));
            }
        }
        self.close_candidates(reason, machine);
        if let Self::Framed(framed) = &self {
            machine.output(Output::CloseLink(framed.id, reason));
        }
    }
}

impl Framed {
    fn flush(mut self, closing: bool, machine: &mut Machine) -> Self {
        if !self.announced && (self.upgrade || closing || machine.is_pending()) {
            self.announced = true;
            machine.output(Output::SendFrames(self.id));
        }
        self
    }
}
