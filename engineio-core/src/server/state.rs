//! The life of a session: opening, open, closing, closed.

use std::time::{Duration, Instant};

use super::input::{ExchangeId, First, Input, Output};
use super::link::{Link, Next};
use super::machine::Machine;
use crate::driver::Budget;
use crate::timer::{Timer, after};
use crate::{DisconnectReason, LinkId, Packet, Refusal, Transport};

/// The time for which a session that its client closed by POST still answers the poll that was sent before that POST but came
/// after it: the two travel on different connections.
const LINGER: Duration = Duration::from_secs(1);

/// It is looked at for each message. `repr(u8)` gives it a tag of its own, which takes fewer instructions to read than one
/// among the unused values of the tag of [`Link`].
#[derive(Debug)]
#[repr(u8)]
pub(super) enum State {
    /// The application has not decided yet. Messages may be queued.
    Opening,
    Open(Link),
    /// Being closed by the server; closed once the client has fetched the queued messages and the close packet.
    Closing(DisconnectReason, Link),
    Closed(Closed),
}

#[derive(Debug)]
pub(super) struct Closed {
    pub(super) reason: DisconnectReason,
    /// The transport of the session when it ended.
    transport: Transport,
    /// The poll that is still to be answered.
    last: Option<ExchangeId>,
    /// The next poll is answered with a noop.
    lingers: bool,
}

impl State {
    pub(super) fn step(self, now: Instant, input: Input, machine: &mut Machine) -> Self {
        match (self, input) {
            (Self::Opening, Input::Accepted(first)) => {
                let link = Link::open(first);
                machine.start(now, link.transport());
                Self::Open(link)
            }
            (Self::Closed(closed), input) => Self::Closed(closed.step(input, machine)),
            (Self::Opening, input) => {
                refuse(input, machine);
                Self::Opening
            }
            (state, input) => {
                state.advance(now, machine, |link, machine| link.step(now, input, machine))
            }
        }
    }

    pub(super) fn on_timer(self, now: Instant, timer: Timer, machine: &mut Machine) -> Self {
        match self {
            Self::Closing(reason, link) if timer == Timer::Close => {
                Self::end(now, link, reason, machine)
            }
            Self::Closed(closed) => {
                machine.outputs.finish();
                Self::Closed(Closed {
                    lingers: false,
                    ..closed
                })
            }
            state => state.advance(now, machine, |link, machine| {
                link.on_timer(now, timer, machine)
            }),
        }
    }

    /// Returns whether the session is open or closing, and reached by this link.
    pub(super) fn is_reached_by(&self, id: LinkId) -> bool {
        matches!(
            self,
            Self::Open(Link::Framed(framed)) | Self::Closing(_, Link::Framed(framed))
                if framed.id == id
        )
    }

    /// Ends the session for what its client did, or for the reason for which it is being closed.
    pub(super) fn fail(
        self,
        now: Instant,
        reason: DisconnectReason,
        machine: &mut Machine,
    ) -> Self {
        self.advance(now, machine, |link, _| Err((link, reason)))
    }

    /// Returns the current transport, or the last one once the session has ended.
    pub(super) const fn transport(&self, machine: &Machine) -> Transport {
        match self {
            Self::Opening => machine.begins_over,
            Self::Open(link) | Self::Closing(_, link) => link.transport(),
            Self::Closed(closed) => closed.transport,
        }
    }

    /// Decodes more of a POST for whose packets an event that was taken has made room.
    pub(super) fn resume_post(self, now: Instant, machine: &mut Machine) -> Self {
        self.advance(now, machine, |link, machine| {
            link.resume_post(now, Budget::for_packets_of_an_event(), machine)
        })
    }

    /// Moves the link of a session that is open or closing. One that breaks while closing ends for the reason for which
    /// it was closed.
    fn advance(
        self,
        now: Instant,
        machine: &mut Machine,
        change: impl FnOnce(Link, &mut Machine) -> Next,
    ) -> Self {
        let (link, closing) = match self {
            Self::Open(link) => (link, None),
            Self::Closing(reason, link) => (link, Some(reason)),
            state => return state,
        };
        match (change(link, machine), closing) {
            (Ok(link), None) => Self::Open(link),
            (Ok(link), Some(reason)) => Self::Closing(reason, link),
            (Err((link, reason)), closing) => {
                Self::end(now, link, closing.unwrap_or(reason), machine)
            }
        }
    }

    /// Begins a graceful close: the queued messages first, then the close packet.
    pub(super) fn close(
        self,
        now: Instant,
        reason: DisconnectReason,
        machine: &mut Machine,
    ) -> Self {
        match self {
            Self::Open(link) => {
                machine.inbox.discard_input();
                // Waiting senders will never get room now. Wake them at once rather than at the next take.
                machine.outputs.notify_senders();
                machine.stop_heartbeat();
                let end = after(now, machine.config.close_timeout);
                machine.close_deadline = Some(end);
                machine.timers.set(Timer::Close, end);
                Self::Closing(reason, link)
            }
            Self::Opening => Self::never_opened(reason, machine),
            state => state,
        }
    }

    /// Ends the session at once.
    pub(super) fn abort(
        self,
        now: Instant,
        reason: DisconnectReason,
        machine: &mut Machine,
    ) -> Self {
        match self {
            Self::Open(link) | Self::Closing(_, link) => Self::end(now, link, reason, machine),
            Self::Opening => Self::never_opened(reason, machine),
            Self::Closed(closed) => Self::Closed(closed),
        }
    }

    pub(super) fn end(
        now: Instant,
        link: Link,
        reason: DisconnectReason,
        machine: &mut Machine,
    ) -> Self {
        let transport = link.transport();
        let by_polling = transport == Transport::Polling;
        let client_closed = reason == DisconnectReason::Client;
        let last = link.release(reason, machine);
        machine.close(reason);
        let lingers = by_polling && client_closed && last.is_none();
        if lingers {
            machine.timers.set(Timer::Linger, after(now, LINGER));
        } else {
            machine.outputs.finish();
        }
        Self::Closed(Closed {
            reason,
            transport,
            last,
            lingers,
        })
    }

    /// Ends a session that the application has not accepted, and which therefore gets no event.
    fn never_opened(reason: DisconnectReason, machine: &mut Machine) -> Self {
        machine.discard_outbox();
        machine.outputs.notify_senders();
        machine.outputs.finish();
        Self::Closed(Closed {
            reason,
            transport: machine.begins_over,
            last: None,
            lingers: false,
        })
    }

    /// Returns the link, and whether the session is closing.
    pub(super) const fn link_mut(&mut self) -> Option<(&mut Link, bool)> {
        match self {
            Self::Open(link) => Some((link, false)),
            Self::Closing(_, link) => Some((link, true)),
            Self::Opening | Self::Closed(_) => None,
        }
    }

    pub(super) fn flush(&mut self, machine: &mut Machine) {
        if let Some((link, closing)) = self.link_mut() {
            link.flush(closing, machine);
        }
    }
}

impl Closed {
    fn step(mut self, input: Input, machine: &mut Machine) -> Self {
        match input {
            Input::PollOpened(id) if self.lingers => {
                self.lingers = false;
                self.last = Some(id);
                machine.timers.clear();
                machine.output(Output::AnswerPoll(id));
                machine.outputs.finish();
            }
            Input::PollAborted(id) => {
                self.last.take_if(|last| *last == id);
            }
            input => refuse(input, machine),
        }
        self
    }

    /// Takes the packet that answers the last poll: a client that has closed the session knows that it is closed.
    pub(super) fn take_last(&mut self, id: ExchangeId) -> Option<Packet> {
        self.last.take_if(|last| *last == id)?;
        Some(match self.reason {
            DisconnectReason::Client => Packet::Noop,
            _ => Packet::Close,
        })
    }
}

/// Refuses an input for a session that is not open yet or has ended.
fn refuse(input: Input, machine: &mut Machine) {
    match input {
        Input::PollOpened(id) | Input::Accepted(First::Polling(id)) => {
            machine.output(Output::RefusePoll(id, Refusal::UnknownSid));
        }
        Input::PostOpened(id) => {
            machine.output(Output::AnswerPost(id, Err(Refusal::UnknownSid)));
        }
        Input::LinkOpened { id, .. } | Input::Accepted(First::Link(id, _)) => {
            machine.output(Output::CloseLink(id, DisconnectReason::TransportError));
        }
        _ => {}
    }
}
