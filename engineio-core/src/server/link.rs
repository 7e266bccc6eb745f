//! The link states, which say how a session is reached, and the transitions between them.
//!
//! Every state owns only its own data. A transition consumes its state and gives the next one back, so a forgotten
//! successor does not compile; one that ends the session gives the link back as well, because to end is to release: the
//! parked poll, the open POST and the WebSocket each get an answer.

use std::time::Instant;

use super::framed::Framed;
use super::input::{ExchangeId, First, Input, Output};
use super::machine::Machine;
use super::polling::{Poll, Polling};
use super::upgrade::{Candidate, Upgrading};
use crate::driver::Budget;
use crate::timer::Timer;
use crate::{DisconnectReason, LinkId, Packet, Payload, Refusal, Transport};

#[derive(Debug)]
pub(super) enum Link {
    Polling(Polling),
    /// In a box, because it is over soon and sessions are many.
    Upgrading(Box<Upgrading>),
    Framed(Framed),
}

/// Go on with this link, or end the session and release this link.
pub(super) type Next = Result<Link, (Link, DisconnectReason)>;

impl Link {
    pub(super) fn open(first: First) -> Self {
        match first {
            First::Polling(id) => Self::Polling(Polling {
                poll: Some(Poll::new(id)),
                post: None,
            }),
            First::Link(id, transport) => Self::Framed(Framed::new(id, transport)),
        }
    }

    pub(super) const fn transport(&self) -> Transport {
        match self {
            Self::Polling(_) | Self::Upgrading(_) => Transport::Polling,
            Self::Framed(framed) => framed.transport,
        }
    }

    pub(super) fn step(mut self, now: Instant, input: Input, machine: &mut Machine) -> Next {
        match input {
            Input::PollOpened(id) => self.on_poll(now, id, machine),
            Input::PostOpened(id) => self.on_post(id, machine),
            Input::PollAborted(id) => match self.polling_mut().and_then(|polling| polling.take(id))
            {
                Some(_) => Err((self, DisconnectReason::TransportError)),
                None => Ok(self),
            },
            Input::PollReleased => {
                let polling = self.polling_mut();
                if let Some(poll) = polling.and_then(|polling| polling.poll.as_mut()) {
                    poll.noop = true;
                }
                Ok(self)
            }
            Input::PostReceived(id, payload) => self.on_payload(now, id, payload, machine),
            Input::PostWithoutPayload(id) => {
                if self.is_coming(id) {
                    self.accept_post(machine);
                }
                Ok(self)
            }
            // The POST that is under way, since a session has one at a time.
            Input::PostContinued(_) => self.resume_post(now, Budget::for_packets(), machine),
            Input::PostAborted(id) => self.on_post_failed(id, DisconnectReason::TransportError),
            Input::PostTooLarge(id) => {
                let next = self.on_post_failed(id, DisconnectReason::PayloadTooLarge);
                if next.is_err() {
                    machine.output(Output::AnswerPost(id, Err(Refusal::PayloadTooLarge)));
                }
                next
            }
            Input::LinkOpened {
                id,
                transport,
                base64,
            } => Ok(self.on_link_opened(now, Candidate::new(id, transport, base64), machine)),
            Input::LinkFrame(id, frame) => match self {
                Self::Upgrading(upgrading) => Ok(upgrading.on_frame(now, id, frame, machine)),
                link => Ok(link),
            },
            Input::LinkClosed(id, reason) => match self {
                Self::Framed(mut framed) if framed.id == id => {
                    framed.gone = true;
                    Err((Self::Framed(framed), reason))
                }
                Self::Upgrading(upgrading) => Ok(upgrading.without(id, machine)),
                link => Ok(link),
            },
            Input::Accepted(_) | Input::Timeout => Ok(self),
        }
    }

    pub(super) fn on_timer(mut self, now: Instant, timer: Timer, machine: &mut Machine) -> Next {
        match timer {
            Timer::Ping => {
                machine.ping(now);
                Ok(self)
            }
            Timer::PingTimeout if machine.excuse_silence(now) => Ok(self),
            Timer::PingTimeout => {
                // A link that has not even taken the ping or pong is not silent: it does not read.
                let heartbeat_waits = machine.outbox.ping || machine.outbox.pong;
                let unread = heartbeat_waits && matches!(self, Self::Framed(_));
                let reason = if unread {
                    DisconnectReason::SlowConsumer
                } else {
                    DisconnectReason::PingTimeout
                };
                Err((self, reason))
            }
            Timer::Upgrade => match self {
                Self::Upgrading(upgrading) => Ok(Self::Polling(upgrading.give_up(machine))),
                link => Ok(link),
            },
            Timer::UpgradeStep => {
                if let Self::Upgrading(upgrading) = &mut self {
                    upgrading.offer_noop(now, machine);
                }
                Ok(self)
            }
            // The client's timer, and those of other states.
            Timer::Open | Timer::Close | Timer::Linger | Timer::Poll => Ok(self),
        }
    }

    /// Parks a poll (GET). A second GET while one waits (concurrent or overlapping requests) is refused with 400, and
    /// ends the session (row 7).
    fn on_poll(mut self, now: Instant, id: ExchangeId, machine: &mut Machine) -> Next {
        let Some(polling) = self.polling_mut() else {
            machine.output(Output::RefusePoll(id, Refusal::BadRequest));
            return Ok(self);
        };
        if polling.poll.is_some() {
            machine.output(Output::RefusePoll(id, Refusal::BadRequest));
            return Err((self, DisconnectReason::TransportError));
        }
        polling.poll = Some(Poll::new(id));
        if let Self::Upgrading(upgrading) = &mut self {
            upgrading.offer_noop(now, machine);
        }
        Ok(self)
    }

    fn on_link_opened(self, now: Instant, candidate: Candidate, machine: &mut Machine) -> Self {
        match self {
            Self::Polling(polling) => {
                let upgrading = Upgrading::start(now, polling, candidate, machine);
                Self::Upgrading(Box::new(upgrading))
            }
            Self::Upgrading(mut upgrading) => {
                upgrading.add(candidate, machine);
                Self::Upgrading(upgrading)
            }
            link => {
                candidate.refuse(machine);
                link
            }
        }
    }

    pub(super) const fn polling_mut(&mut self) -> Option<&mut Polling> {
        match self {
            Self::Polling(polling) => Some(polling),
            Self::Upgrading(upgrading) => Some(&mut upgrading.polling),
            Self::Framed(_) => None,
        }
    }

    pub(super) fn wants_frames(&self, machine: &Machine) -> bool {
        match self {
            // These bring no messages, and an upgrade must not fail because the application is slow: once the client
            // has sent its `5`, it will not poll again.
            Self::Upgrading(_) => true,
            // They would overtake a POST that the client began before it moved.
            Self::Framed(Framed { post: Some(_), .. }) => false,
            Self::Framed(_) if machine.backlog.is_some() => false,
            Self::Polling(_) | Self::Framed(_) => machine.inbox_has_room(),
        }
    }

    /// Returns whether something that is sent now leaves at once.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Polling(polling) => polling.is_ready(),
            Self::Upgrading(upgrading) => upgrading.polling.is_ready(),
            Self::Framed(_) => true,
        }
    }

    /// Tells the driver what can be sent and answered now; called after every change.
    pub(super) fn flush(&mut self, closing: bool, machine: &mut Machine) {
        match self {
            Self::Framed(framed) => framed.flush(closing, machine),
            Self::Polling(polling) => polling.flush(closing, machine),
            Self::Upgrading(upgrading) => upgrading.polling.flush(closing, machine),
        }
    }

    /// Takes the payload with which the poll is answered, or `None` if that poll is not to be answered.
    ///
    /// Returns whether the close packet is among them.
    pub(super) fn take_payload(
        &mut self,
        now: Instant,
        id: ExchangeId,
        closing: bool,
        machine: &mut Machine,
    ) -> Option<(Payload, bool)> {
        self.polling_mut()?.take_ready(id)?;
        Some(machine.take_batch(now, closing))
    }

    /// Takes the next packet for a link. Returns whether it is the close packet.
    pub(super) fn take_packet(
        &mut self,
        now: Instant,
        id: LinkId,
        closing: bool,
        machine: &mut Machine,
    ) -> Option<(Packet, bool)> {
        match self {
            Self::Framed(framed) if framed.id == id => framed.take_packet(now, closing, machine),
            Self::Upgrading(upgrading) => Some((upgrading.take_packet(id)?, false)),
            _ => None,
        }
    }

    /// Releases what the link holds. Returns the poll that gets the last packet.
    pub(super) fn release(
        mut self,
        reason: DisconnectReason,
        machine: &mut Machine,
    ) -> Option<ExchangeId> {
        if let Some(post) = self.post_slot().take() {
            machine.output(Output::AnswerPost(post.id, post.last_answer()));
        }
        match self {
            Self::Framed(framed) => {
                if !framed.gone {
                    machine.output(Output::CloseLink(framed.id, reason));
                }
                None
            }
            Self::Polling(polling) => polling.release(machine),
            Self::Upgrading(mut upgrading) => {
                upgrading.close_candidates(reason, machine);
                upgrading.polling.release(machine)
            }
        }
    }
}
