//! Received messages that the application has not taken yet, across sessions.

use std::collections::VecDeque;

use engineio_core::DisconnectReason;
use engineio_core::client::{Event, Session};

/// Hands events to the stream or to the handlers. Those of the current session stay in it until they are taken.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// Events of earlier sessions.
    carried_over: VecDeque<Event>,
    /// The cost of `carried_over`.
    bytes: usize,
    /// No new session is opened while `bytes` is above this.
    limit: usize,
    /// Openings and ends in order, where there are handlers for them but none for messages.
    lifecycle: Option<VecDeque<Event>>,
    /// Messages go to a handler and not to the stream.
    to_handler: bool,
}

impl Delivery {
    pub(crate) fn new(limit: usize, to_handler: bool, has_lifecycle: bool) -> Self {
        Self {
            carried_over: VecDeque::new(),
            bytes: 0,
            limit,
            lifecycle: has_lifecycle.then(VecDeque::new),
            to_handler,
        }
    }

    pub(crate) const fn is_to_handler(&self) -> bool {
        self.to_handler
    }

    /// Takes the next event, those of earlier sessions first. The flag tells whether that may let the driver go on, which
    /// is to be woken then.
    pub(crate) fn take_event(&mut self, session: &mut Session) -> (Option<Event>, bool) {
        let is_over = session.closed().is_some();
        if let Some(event) = self.carried_over.pop_front() {
            self.bytes -= cost(&event);
            return (Some(event), is_over);
        }
        // During an upgrade the session wants input in any case, and the room may be for a poll.
        let was_full = !session.wants_input() || session.is_upgrading();
        let event = session.take_event(crate::clock::now);
        let wake = event.is_some() && (is_over || (was_full && session.wants_input()));
        (event, wake)
    }

    /// Records an opening or an end for the handlers of those.
    pub(crate) fn record(&mut self, event: Event) {
        if let Some(lifecycle) = &mut self.lifecycle {
            lifecycle.push_back(event);
        }
    }

    /// Records the end of a session that was open.
    pub(crate) fn record_end(&mut self, reason: DisconnectReason) {
        self.record(Event::Closed(reason));
    }

    /// Takes the next opening or end; `None` for the outer option where handlers take these from the other events.
    pub(crate) fn take_lifecycle(&mut self) -> Option<Option<Event>> {
        self.lifecycle.as_mut().map(VecDeque::pop_front)
    }

    /// Keeps what a session that ended has received, before another one takes its place.
    pub(crate) fn carry_over(&mut self, session: &mut Session) {
        while let Some(event) = session.take_event(crate::clock::now) {
            // A stream has no use for the others.
            if self.to_handler || matches!(event, Event::Message(_)) {
                self.bytes += cost(&event);
                self.carried_over.push_back(event);
            }
        }
    }

    /// Returns whether there is room for what another session brings, beside what nobody has taken yet.
    pub(crate) const fn has_room(&self, session: &Session) -> bool {
        self.bytes <= self.limit && session.wants_input()
    }
}

/// The memory that an event is counted with until it is taken.
fn cost(event: &Event) -> usize {
    let bytes = match event {
        Event::Message(message) => message.len(),
        _ => 0,
    };
    bytes + engineio_core::Config::PACKET_OVERHEAD
}
