//! The queue of received messages and other events, and the outputs that announce it to the driver.

use std::collections::VecDeque;

use crate::{Message, outbox};

/// An event of a session, one kind of which carries a message.
pub(crate) trait Event: From<Message> {
    /// Returns the message, if the event is one.
    fn message(&self) -> Option<&Message>;

    /// Returns the message by value, or `None` if the event is another one.
    fn into_message(self) -> Option<Message>;
}

/// Events that the application has not taken yet, bounded in bytes by the configured `inbox_limit`. Only messages are
/// counted; the other kinds are few.
///
/// The codecs see to it that a message keeps no more memory alive than is counted for it here
/// ([`detach`](crate::codec::detach)).
#[derive(Debug)]
pub(crate) struct Inbox<E> {
    events: VecDeque<E>,
    /// The cost of the messages among `events`.
    bytes: usize,
    /// The driver knows about the events.
    announced: bool,
    /// The session is closing or closed, and drops what the peer still sends.
    discards_input: bool,
}

impl<E: Event> Inbox<E> {
    pub(crate) const fn new() -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            announced: false,
            discards_input: false,
        }
    }

    pub(crate) fn push_message(&mut self, message: Message) {
        if !self.discards_input {
            self.bytes += outbox::cost(&message);
            self.events.push_back(message.into());
        }
    }

    pub(crate) fn push(&mut self, event: E) {
        if !self.discards_input {
            self.events.push_back(event);
        }
    }

    /// Adds a message that was accepted before the peer's input was discarded. It comes before the last event, if that `has_last`.
    pub(crate) fn push_accepted(&mut self, message: Message, has_last: bool) {
        let last = self.events.pop_back_if(|_| has_last);
        self.bytes += outbox::cost(&message);
        self.events.push_back(message.into());
        self.events.extend(last);
    }

    /// Takes the next event.
    pub(crate) fn take(&mut self) -> Option<E> {
        let event = self.events.pop_front();
        match &event {
            Some(event) => self.bytes -= event.message().map_or(0, outbox::cost),
            None => self.announced = false,
        }
        event
    }

    /// Takes the next event if it is a message.
    pub(crate) fn take_message(&mut self) -> Option<Message> {
        let event = self
            .events
            .pop_front_if(|event| event.message().is_some())?;
        let message = event.into_message()?;
        self.bytes -= outbox::cost(&message);
        Some(message)
    }

    /// Returns whether the messages are within the limit. One message may exceed it, so that none is too large for ever.
    pub(crate) const fn has_room(&self, limit: usize) -> bool {
        self.bytes <= limit
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(crate) fn last(&self) -> Option<&E> {
        self.events.back()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Drops the messages that the application has not taken. Other events stay.
    pub(crate) fn discard_messages(&mut self) {
        self.events.retain(|event| event.message().is_none());
        self.bytes = 0;
    }

    /// Drops what the peer sends from here on.
    pub(crate) const fn discard_input(&mut self) {
        self.discards_input = true;
    }

    /// Returns whether messages of the peer are dropped.
    pub(crate) const fn discards_input(&self) -> bool {
        self.discards_input
    }

    /// Queues the last event that the application gets.
    pub(crate) fn close(&mut self, last: E) {
        self.discards_input = true;
        self.events.push_back(last);
    }

    /// Frees the memory of a burst. Called once a heartbeat, so that a busy queue keeps its capacity.
    pub(crate) fn shrink(&mut self) {
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
    }

    /// Returns how many events the allocated memory has room for.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.events.capacity()
    }

    /// Returns whether the driver is to be notified now: there are events, and it does not know.
    fn announce(&mut self) -> bool {
        !self.events.is_empty() && !std::mem::replace(&mut self.announced, true)
    }
}

/// An output that both machines have, and that comes after the others.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Notice {
    Events,
    Room,
    Finished,
}

/// The outputs that the driver is still to carry out.
#[derive(Debug)]
pub(crate) struct Outputs<O> {
    /// The first one of the queue. Most changes bring one at most, so that an idle session needs no memory for more.
    first: Option<O>,
    /// The others, of which a change brings a handful at most. None without a first one.
    more: Vec<O>,
    /// The outbox has drained or closed.
    room: bool,
    /// The session is over.
    finished: bool,
}

impl<O: From<Notice>> Outputs<O> {
    pub(crate) const fn new() -> Self {
        Self {
            first: None,
            more: Vec::new(),
            room: false,
            finished: false,
        }
    }

    pub(crate) fn push(&mut self, output: O) {
        if self.first.is_none() {
            self.first = Some(output);
        } else {
            self.more.push(output);
        }
    }

    /// Lets senders that wait for room try again, once everything before is done.
    pub(crate) const fn notify_senders(&mut self) {
        self.room = true;
    }

    /// Ends the outputs.
    pub(crate) const fn finish(&mut self) {
        self.finished = true;
    }

    /// Takes the next output: those in the queue first, then what they amount to for the application.
    pub(crate) fn take<E: Event>(&mut self, inbox: &mut Inbox<E>) -> Option<O> {
        if self.first.is_some() {
            return self.take_queued();
        }
        if inbox.announce() {
            return Some(Notice::Events.into());
        }
        if std::mem::take(&mut self.room) {
            return Some(Notice::Room.into());
        }
        std::mem::take(&mut self.finished).then(|| Notice::Finished.into())
    }

    /// Takes the first output of the queue, whose memory is freed with the last one. Not inlined, because most messages
    /// bring none.
    #[inline(never)]
    fn take_queued(&mut self) -> Option<O> {
        let next = if self.more.is_empty() {
            self.more = Vec::new();
            None
        } else {
            Some(self.more.remove(0))
        };
        std::mem::replace(&mut self.first, next)
    }

    /// Returns how many outputs the allocated memory has room for.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.more.capacity()
    }
}
