//! Events that the application has not taken yet, across sessions.

use std::collections::VecDeque;

use engineio_core::Message;
use engineio_core::client::{Event as SessionEvent, Session};

use crate::Error;
use crate::clock::SessionClock;
use crate::disconnect::Disconnect;

/// An event for the application.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A session was opened.
    Opened,
    Message(Message),
    /// The upgrade has succeeded or failed.
    Upgrade(Result<(), Error>),
    /// A session that was open is over.
    Closed(Disconnect),
}

/// The consumers of events.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Consumers {
    /// A handler, and not the stream, takes the messages.
    pub(crate) has_message_handler: bool,
    /// Some handler takes other events.
    pub(crate) has_lifecycle_handler: bool,
    /// A handler takes the ends, with the messages that were not sent.
    pub(crate) has_end_handler: bool,
}

/// Hands events to the stream or to the handlers. Messages of the current session stay in it until they are taken.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// Messages of earlier sessions, and the other events if they go to the same consumer.
    queue: VecDeque<Event>,
    /// The cost of `queue`.
    bytes: usize,
    /// No new session is opened while `bytes` is above this.
    limit: usize,
    /// Openings, upgrades and ends in order, where handlers take them but the stream takes the messages.
    lifecycle: VecDeque<Event>,
    consumers: Consumers,
}

impl Delivery {
    pub(crate) const fn new(limit: usize, consumers: Consumers) -> Self {
        Self {
            queue: VecDeque::new(),
            bytes: 0,
            limit,
            lifecycle: VecDeque::new(),
            consumers,
        }
    }

    pub(crate) const fn is_to_handler(&self) -> bool {
        self.consumers.has_message_handler
    }

    /// Returns whether the messages that were not sent go to a handler.
    pub(crate) const fn takes_unsent(&self) -> bool {
        self.consumers.has_end_handler
    }

    /// Takes the next event, those of earlier sessions first, and those of the session only if it `is_open` for the
    /// application. The flag says whether the driver must be woken because it may be able to go on.
    pub(crate) fn take_event(
        &mut self,
        session: &mut Session,
        is_open: bool,
        clock: &SessionClock,
    ) -> (Option<Event>, bool) {
        let is_over = session.closed().is_some();
        if let Some(event) = self.queue.pop_front() {
            self.bytes -= cost(&event);
            return (Some(event), is_over);
        }
        if !is_open {
            return (None, false);
        }
        // During an upgrade the session wants input in any case, and the room may be for a poll.
        let was_full = !session.wants_input() || session.is_upgrading();
        let message = next_message(session, clock);
        let wake = message.is_some() && (is_over || (was_full && session.wants_input()));
        (message.map(Event::Message), wake)
    }

    /// Records an opening, an upgrade or an end for the handlers of those.
    pub(crate) fn record(&mut self, event: Event) {
        if self.consumers.has_message_handler {
            self.push(event);
        } else if self.consumers.has_lifecycle_handler {
            self.lifecycle.push_back(event);
        }
    }

    /// Takes the next opening, upgrade or end; `None` for the outer option where handlers take these from the other events.
    pub(crate) fn take_lifecycle(&mut self) -> Option<Option<Event>> {
        (!self.consumers.has_message_handler).then(|| self.lifecycle.pop_front())
    }

    /// Keeps the messages of a session that ended and is about to be replaced.
    pub(crate) fn carry_over(&mut self, session: &mut Session, clock: &SessionClock) {
        while let Some(message) = next_message(session, clock) {
            self.push(Event::Message(message));
        }
    }

    /// Returns the unsent messages of the ends that no handler has got, and from now on those to come go to none either:
    /// the handlers are no longer called.
    pub(crate) fn take_back_unsent(&mut self) -> Vec<Message> {
        self.consumers.has_end_handler = false;
        let mut unsent = Vec::new();
        for event in self.queue.iter_mut().chain(&mut self.lifecycle) {
            if let Event::Closed(end) = event {
                unsent.append(&mut end.unsent);
            }
        }
        unsent
    }

    fn push(&mut self, event: Event) {
        self.bytes += cost(&event);
        self.queue.push_back(event);
    }

    /// Returns whether there is room for the messages of another session, in addition to those that are still unread.
    pub(crate) const fn has_room(&self) -> bool {
        self.bytes <= self.limit
    }
}

/// Takes the next message of a session. Its other events say nothing that the driver has not recorded.
fn next_message(session: &mut Session, clock: &SessionClock) -> Option<Message> {
    loop {
        if let SessionEvent::Message(message) = session.take_event(|| clock.now())? {
            return Some(message);
        }
    }
}

/// Returns the memory that an event is counted with until it is taken.
fn cost(event: &Event) -> usize {
    let bytes = match event {
        Event::Message(message) => message.len(),
        _ => 0,
    };
    bytes + engineio_core::Config::PACKET_OVERHEAD
}
