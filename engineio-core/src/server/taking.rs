//! The methods with which a driver takes payloads and frames to write, and events for the application.

use std::time::Instant;

use super::state::State;
use super::{Event, ExchangeId, Session};
use crate::{Discarded, DisconnectReason, Frame, LinkId, Message, Packet, Payload, SendOptions};

impl Session {
    /// Takes the payload with which a poll is answered; its kind decides the content type of the response. `None` if
    /// this poll must not be answered now.
    pub fn take_payload(&mut self, now: Instant, poll: ExchangeId) -> Option<Payload> {
        if self.machine.take_noop(poll) {
            return Some(self.machine.coding.encode_payload(&[Packet::Noop]));
        }
        if let State::Closed(closed) = &mut self.state {
            let last = closed.take_last(poll)?;
            return Some(self.machine.coding.encode_payload(&[last]));
        }
        let (link, closing) = self.state.link_mut()?;
        let (payload, last) = link.take_payload(now, poll, closing, &mut self.machine)?;
        self.machine.outputs.notify_senders();
        if last {
            self.fail(now, DisconnectReason::Server);
        }
        Some(payload)
    }

    /// Takes the next frame for a link. `None` if there is none now; [`Output::SendFrames`](super::Output::SendFrames)
    /// announces the next one.
    pub fn take_frame(&mut self, now: Instant, id: LinkId) -> Option<Frame> {
        let (link, closing) = self.state.link_mut()?;
        let (packet, last) = link.take_packet(now, id, closing, &mut self.machine)?;
        self.machine.outputs.notify_senders();
        if last {
            self.fail(now, DisconnectReason::Server);
        }
        Some(self.machine.encode_frame(packet))
    }

    /// Returns the options that came with the message of the last frame that was taken.
    #[must_use]
    pub const fn taken_options(&self) -> SendOptions {
        self.machine.taken
    }

    /// Takes the messages that the session no longer needs, for a driver that must not drop them under its lock. There
    /// may be some after each call that causes outputs. Those that are never taken are dropped with the session.
    pub fn take_discarded(&mut self) -> Discarded {
        std::mem::take(&mut self.machine.discarded)
    }

    /// Returns whether [`take_discarded`](Self::take_discarded) would return any message.
    #[must_use]
    pub const fn has_discarded(&self) -> bool {
        !self.machine.discarded.is_empty()
    }

    /// Adds a message to those that [`take_discarded`](Self::take_discarded) returns, for a driver that is done with it
    /// under its lock.
    pub fn discard(&mut self, message: Message) {
        self.machine.discarded.extend(std::iter::once(message));
    }

    /// Takes the next event for the application. `None` if there is none now; [`Output::Events`](super::Output::Events)
    /// announces the next one.
    ///
    /// The room that the event leaves is filled from a waiting POST, which can end the session; `now` is called only
    /// then.
    pub fn take_event(&mut self, now: impl FnOnce() -> Instant) -> Option<Event> {
        let event = self.machine.inbox.take();
        self.use_room(now);
        event
    }

    /// Takes the next event if it is a message, so that a handler that has just finished one can go on with the next.
    pub fn take_message(&mut self, now: impl FnOnce() -> Instant) -> Option<Message> {
        let message = self.machine.inbox.take_message();
        self.use_room(now);
        message
    }

    /// Uses the room that the inbox has again.
    #[inline]
    fn use_room(&mut self, now: impl FnOnce() -> Instant) {
        if self.machine.may_resume() {
            self.resume(now());
        }
        if self.machine.backlog.is_some() {
            let is_closed = matches!(self.state, State::Closed(_));
            self.machine.take_in_accepted(is_closed);
        }
    }

    fn resume(&mut self, now: Instant) {
        self.machine
            .heartbeat
            .silence
            .resume(now, &mut self.machine.timers);
        self.transition(|state, machine| state.resume_post(now, machine));
    }
}
