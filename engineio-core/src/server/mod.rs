//! The server's side of one session, as a machine without IO and without a clock.

mod backlog;
mod framed;
mod input;
mod link;
mod machine;
mod measures;
mod moving;
mod packets;
mod polling;
mod post;
mod posting;
mod sending;
mod state;
mod taking;
#[cfg(test)]
mod tests;
mod upgrade;

use std::sync::Arc;
use std::time::Instant;

pub use self::input::{Event, ExchangeId, First, Input, Output};
use self::link::Link;
use self::machine::Machine;
use self::state::State;
use crate::codec::Coding;
use crate::timer::Timer;
use crate::{Config, DisconnectReason, LinkId, Refusal, Revision, Sid, Transport, heartbeat};

/// Decides what may happen in one session of a server, and with which effects.
///
/// # The contract with its driver
///
/// A driver repeats these steps:
/// 1. Report one event: pass an [`Input`] to [`handle_input`](Self::handle_input), or a call of [`send`](Self::send),
///    [`close`](Self::close) or [`abort`](Self::abort).
/// 2. Call [`poll_output`](Self::poll_output) until it returns `None`, and carry out each [`Output`] in order.
/// 3. Where an output announced a payload, frames or events, take them with [`take_payload`](Self::take_payload),
///    [`take_frame`](Self::take_frame) or [`take_event`](Self::take_event) as soon as they can be passed on, and not
///    before: a packet that has left the queue is lost if it is not written. Each of these may cause outputs: repeat
///    step 2.
/// 4. Read [`poll_timeout`](Self::poll_timeout), and wait until then or until something happens. When the time has come,
///    give [`Input::Timeout`] in step 1.
///
/// The session is over with [`Output::Finished`]. Methods that take `&self` may be called at any time.
///
/// Time is an argument and never goes backwards. A peer's misbehaviour is an output, never an error of these methods.
/// An input with an id that the session does not know came late and has no effect.
///
/// # Clients that do not read
///
/// A client from which nothing is taken (no poll answered, no frame written) is closed, whatever it sends, within
/// `ping_interval + 5 * ping_timeout + upgrade_timeout`, provided that the application takes its messages or waits for room
/// in the outbox. Without upgrades and a full inbox it is `ping_interval + 2 * ping_timeout`. In revision 3 it is
/// `2 * (ping_interval + ping_timeout)` where that is longer. A pong counts only if the ping was taken, another packet
/// stands in for it once, a full inbox excuses only while it is full, and an upgrade once.
///
/// # Transitions
///
/// Each row has a scenario of its own in `tests/transitions`, those from 47 to 53 in `tests/session_v3`.
///
/// | # | from | input | to | outputs |
/// |---|---|---|---|---|
/// | 1 | Opening | `Accepted` by polling | Polling | open packet and the messages sent before answer the handshake |
/// | 2 | Opening | `Accepted` by WebSocket | WebSocket | open packet and the messages sent before are frames |
/// | 3 | Opening | `close` | Closed | no event: the application never accepted |
/// | 4 | Opening | a request | Opening | refused, unknown sid |
/// | 5 | Polling, no poll | `PollOpened` | Polling (poll) | answered if anything is queued |
/// | 6 | Polling (poll) | `send` | Polling | poll answered |
/// | 7 | Polling (poll) | `PollOpened` | Closed (transport error) | new one refused, old one gets the close packet |
/// | 8 | Polling (poll) | `PollAborted` | Closed (transport error) | – |
/// | 9 | Polling (post) | `PostReceived` | Polling | messages are events, POST accepted |
/// | 10 | Polling (post) | `PostOpened` | Closed (transport error) | both refused, poll gets the close packet |
/// | 11 | Polling (post) | `PostAborted` | Closed (transport error) | – |
/// | 12 | Polling (post) | `PostTooLarge` | Closed (payload too large) | POST refused with 413 |
/// | 13 | Polling (post) | malformed payload | Closed (parse error) | packets before it are events, POST refused |
/// | 14 | Polling (post) | payload beyond the inbox | Polling (post) | POST accepted once its last packet has found room |
/// | 15 | Polling | `LinkOpened` | Upgrading | upgrade timer |
/// | 16 | Upgrading | `2probe` | Upgrading (probed) | `3probe`; poll gets a noop |
/// | 17 | Upgrading (probed) | `PollOpened` | Upgrading (probed) | noop, at most every 100 ms |
/// | 18 | Upgrading (probed) | `5` | WebSocket | poll gets a noop, then frames; `Upgraded` |
/// | 19 | Upgrading | another frame | Polling | WebSocket closed, nothing lost |
/// | 20 | Upgrading | upgrade timer | Polling | WebSocket closed, nothing lost |
/// | 21 | Upgrading | `LinkClosed` | Polling | nothing lost |
/// | 22 | Upgrading by the same transport, WebSocket | `LinkOpened` | same | new one closed |
/// | 23 | Upgrading | `send` | Upgrading | leaves by the poll |
/// | 24 | Upgrading (post) | `5`, then `PostReceived` | WebSocket | its messages are events, before those of frames, however long they wait for room |
/// | 25 | WebSocket | `PollOpened`, `PostOpened` | WebSocket | refused |
/// | 26 | WebSocket | message frame | WebSocket | event |
/// | 27 | WebSocket | frame that is no packet | Closed (parse error) | WebSocket closed |
/// | 28 | WebSocket | `LinkClosed` | Closed (its reason) | – |
/// | 29 | any open | ping timer | same | ping; ping timeout armed |
/// | 30 | any open | pong | same | next ping armed, so that the client hears it in time; an unsolicited one changes nothing |
/// | 31 | any open | ping timeout | Closed (ping timeout) | everything released |
/// | 32 | any open | another packet while a pong is due | same | ping timeout restarts, once a ping |
/// | 33 | any open, revision 4 | `2` | Closed (transport error) | the client must not ping |
/// | 34 | Polling | `1` with a poll waiting | Closed (client) | poll gets a noop, POST accepted |
/// | 35 | Polling | `1` without a poll | Closed (client) | the next poll within a second gets a noop |
/// | 36 | WebSocket | `1` | Closed (client) | WebSocket closed |
/// | 37 | Polling (poll) | `close` | Closed (server) | queued messages, then `1`, in one payload |
/// | 38 | Polling, no poll | `close`, `PollOpened` | Closed (server) | the same when the poll comes |
/// | 39 | Polling, no poll | `close`, close timer | Closed (server) | the queue is dropped |
/// | 40 | WebSocket | `close` | Closed (server) | queued messages, `1`, WebSocket closed |
/// | 41 | Upgrading | `close` | Closed (server) | by the poll; the new WebSocket is closed |
/// | 42 | Closing | messages of the client | Closing | dropped |
/// | 43 | Closing | link breaks | Closed (server) | the first reason stays |
/// | 44 | any open | `abort` | Closed (its reason) | everything released, queue dropped; by the application or for its panic, messages that it has not taken are dropped too |
/// | 45 | Closed | anything | Closed | refused; no second event |
/// | 46 | any open | ping timeout while the inbox is full | same | the ping timeout is paused until there is room, because the client is not read; but see 60 |
/// | 47 | any open, revision 4 | `PostReceived` of bytes | Closed (transport error) | POST refused |
/// | 48 | any open, revision 3 | `2` | same | `3` without data; ping timeout restarts |
/// | 49 | any open, revision 3 | pong | Closed (transport error) | the client must not answer |
/// | 50 | any open, revision 3 | another packet | same | ping timeout goes on |
/// | 51 | Polling (post) | `PostWithoutPayload` | Polling | POST accepted |
/// | 52 | Closing | a heartbeat packet | Closing | sets no deadline but the close timer |
/// | 53 | Closing | a poll that the close packet does not fit into | Closing | the next poll gets it |
/// | 54 | WebSocket | ping timeout, ping not taken | Closed (slow consumer) | everything released: the connection takes nothing |
/// | 55 | any open (post, packets wait) | event taken | same | more packets are decoded, as far as there is room |
/// | 56 | any open (post, packets wait) | event taken, malformed packet next | Closed (parse error) | packets before it are events, POST refused |
/// | 57 | any open (post, packets wait) | event taken, `1` next | Closed (client) | POST accepted |
/// | 58 | any open (post, packets wait) | the session ends | Closed (its reason) | POST refused, unless its last packet is decoded |
/// | 59 | any open, revision 4 | ping timer while a pong is due | same | another ping; ping timeout goes on |
/// | 60 | any open | ping timeout while the inbox is full, nothing was taken out of a full outbox since it was set | Closed (slow consumer, ping timeout) | everything released: the inbox may be full because the client does not read |
/// | 61 | Upgrading | `LinkOpened` by another transport | same (both) | – ; the upgrade timer goes on |
/// | 62 | Upgrading (both) | `2probe` by each | same (both probed) | one `3probe` each |
/// | 63 | Upgrading (both) | `5` by one | that link | the other link closed; then as 18 |
/// | 64 | Upgrading (both) | one closes or breaks a rule | Upgrading (the other) | as 19 and 21 for the last one |
/// | 65 | Upgrading (both) | upgrade timer | Polling | both links closed, nothing lost |
/// | 66 | Upgrading (both) | `close` | Closed (server) | by the poll; both links are closed |
/// | 67 | Upgrading (both) | messages, `5` | that link | each message once and in order |
/// | 68 | any | a request or a link after a deadline | by the timer's row | the timer counts as fired before it, whether or not `Timeout` came; a ping counts from the time it was due, unless `Timeout` came much later |
/// | 69 | Polling, Upgrading | upgrades that come to nothing, while nothing is taken out of a full outbox | Closed (ping timeout) | as 60: an upgrade excuses until its timeout and a ping timeout are over, counted from the first attempt |
/// | 70 | any open, revision 4 | pong to a ping that was not taken | same | changes nothing |
/// | 71 | Upgrading | `5` by a link that sent no probe | that link | as 18 |
/// | 72 | Upgrading (probed, `3probe` not taken) | `5` | that link | `3probe` goes before every other frame |
/// | 73 | any open (post) | 1,024 packets that are not messages, or that a closing session drops, and there are more | same | `ContinuePost`; `PostContinued` decodes as many again, a taken event four |
/// | 74 | Polling, Upgrading (poll) | `PollReleased` | same | poll gets what is queued, or a noop |
/// | 75 | Polling, no poll | `PollReleased` | same | – ; the next poll waits |
/// | 76 | Upgrading (probed, post, packets wait for room) | – | same | POST accepted at once, because the client waits for that before it sends `5`; two POSTs at most |
/// | 77 | any open, packets of an accepted POST wait | event taken | same | as 55 and 56; later POSTs and frames wait |
/// | 78 | any that ends or has ended, packets of an accepted POST wait | event taken | same | its messages come before `Closed` |
/// | 79 | any open, packets of an accepted POST wait | event taken, and 1,024 of them were no messages | Closed (parse error) | no request is left that could continue in turns |
///
/// # Examples
///
/// ```
/// use std::{sync::Arc, time::Instant};
/// use engineio_core::server::{First, Input, Output, Session};
/// use engineio_core::{Config, Message, Revision, Sid};
///
/// let now = Instant::now();
/// let sid = Sid::from_random([0; 15]);
/// let mut session = Session::new(Arc::new(Config::default()), sid, Revision::V4, false);
/// session.send(Message::from("welcome")).unwrap();
///
/// let handshake = session.next_exchange();
/// session.handle_input(now, Input::Accepted(First::Polling(handshake)));
/// assert_eq!(session.poll_output(), Some(Output::AnswerPoll(handshake)));
/// let body = session.take_payload(now, handshake).unwrap().body;
/// assert!(body.starts_with(b"0{\"sid\":\"") && body.ends_with(b"\x1e4welcome"));
/// ```
#[derive(Debug)]
pub struct Session {
    state: State,
    machine: Machine,
    exchanges: u32,
    links: u32,
}

impl Session {
    /// Creates a session that waits for the application's decision. Messages may already be sent; they follow the open
    /// packet.
    ///
    /// The `sid` is for the open packet; the driver keeps it to find the session by it.
    ///
    /// `base64` says whether the client requested binary data as text over the transport of the handshake (the `b64`
    /// query parameter). Set it for a handshake with a JSONP index too, because no payload of such a session may be
    /// binary.
    #[must_use]
    pub fn new(config: Arc<Config>, sid: Sid, revision: Revision, base64: bool) -> Self {
        Self {
            state: State::Opening,
            machine: Machine::new(config, sid, Coding { revision, base64 }),
            exchanges: 0,
            links: 0,
        }
    }

    /// Returns an id for the next HTTP request of the session.
    pub const fn next_exchange(&mut self) -> ExchangeId {
        self.exchanges = self.exchanges.wrapping_add(1);
        ExchangeId(self.exchanges)
    }

    /// Returns an id for the next link of the session.
    pub const fn next_link(&mut self) -> LinkId {
        LinkId::next(&mut self.links)
    }

    /// Handles an input.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Timeout => self.on_timeout(now),
            Input::PollAborted(id) if self.machine.take_noop(id) => {}
            // By far the most frequent input, and one that leaves the state as it is.
            Input::LinkFrame(id, frame) if self.state.is_reached_by(id) => {
                match packets::on_frame(now, frame, &mut self.machine) {
                    // Nothing else that a frame brings is to be sent.
                    Ok(()) if self.machine.outbox.pong => self.state.flush(&mut self.machine),
                    Ok(()) => {}
                    Err(reason) => self.fail(now, reason),
                }
            }
            input => {
                // The driver may look at its timers late, as one that watches thousands of sessions together does.
                if let Input::PollOpened(_) | Input::PostOpened(_) | Input::LinkOpened { .. } =
                    input
                {
                    self.on_timeout(now);
                }
                self.transition(|state, machine| state.step(now, input, machine));
            }
        }
    }

    fn on_timeout(&mut self, now: Instant) {
        while let Some((due, timer)) = self.machine.timers.take_due(now) {
            let now = match timer {
                Timer::Ping => heartbeat::ping_time(due, now, &self.machine.config),
                _ => now,
            };
            self.transition(|state, machine| state.on_timer(now, timer, machine));
        }
    }

    /// Returns whether a message that is sent now leaves at once: a WebSocket or a waiting poll is there, and nothing is queued
    /// before it.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match &self.state {
            State::Open(link) => !self.machine.outbox.has_messages() && link.is_ready(),
            _ => false,
        }
    }

    /// Closes the session gracefully: the client gets the queued messages, then the close packet. New messages are
    /// refused from now on.
    ///
    /// The session is closed once the client has taken the close packet, or after [`Config::close_timeout`].
    pub fn close(&mut self, now: Instant, reason: DisconnectReason) {
        self.transition(|state, machine| state.close(now, reason, machine));
    }

    /// Ends the session at once and drops the queued messages.
    ///
    /// If the application wants it ([`DisconnectReason::Server`]), or its handler panicked, the messages of the client that the
    /// application has not taken are dropped too.
    pub fn abort(&mut self, now: Instant, reason: DisconnectReason) {
        let drops_inbox = match reason {
            DisconnectReason::HandlerPanic => true,
            DisconnectReason::Server => self.closed().is_none(),
            _ => false,
        };
        if drops_inbox {
            self.machine.inbox.discard_messages();
            self.machine.backlog = None;
        }
        self.transition(|state, machine| state.abort(now, reason, machine));
    }

    /// Returns the next output, which the driver must carry out.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.machine.outputs.take(&mut self.machine.inbox)
    }

    /// Returns the time at which [`Input::Timeout`] is due. `None` only before the session is accepted and after it is closed.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.machine.timers.next().map(|(at, _)| at)
    }

    /// Returns the timer with the next deadline, for a log.
    #[must_use]
    pub fn timeout_reason(&self) -> Option<Timer> {
        self.machine.timers.next().map(|(_, timer)| timer)
    }

    /// Returns the revision that the client speaks.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.machine.coding.revision
    }

    /// Returns the current transport, or the last one once the session has ended. An upgrade counts once it is complete.
    /// Before the client is accepted, this is the transport given to [`begins_over`](Self::begins_over).
    #[must_use]
    pub const fn transport(&self) -> Transport {
        self.state.transport(&self.machine)
    }

    /// Returns whether the session was accepted and is neither closing nor closed.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Returns the reason why the session is closed, or `None` while it is not.
    #[must_use]
    pub const fn closed(&self) -> Option<DisconnectReason> {
        match &self.state {
            State::Closed(closed) => Some(closed.reason),
            _ => None,
        }
    }

    /// Returns whether the handshake of a link by this transport is accepted now. Call this before the link is
    /// accepted; for a WebSocket, before the 101 is sent.
    ///
    /// The handshake of a second link is accepted too, and the link is then closed (row 22), as in the reference:
    /// clients report a refused handshake as an error, and it aborts the official protocol suite.
    ///
    /// # Errors
    ///
    /// Returns [`Refusal::UnknownSid`] if the session is closed, and [`Refusal::BadRequest`] if upgrades to this
    /// transport are switched off, or the session is not accepted yet or is closing.
    pub fn may_upgrade(&self, to: Transport) -> Result<(), Refusal> {
        match &self.state {
            State::Open(_) if self.machine.config.offers_upgrade(to) => Ok(()),
            State::Closed(_) => Err(Refusal::UnknownSid),
            _ => Err(Refusal::BadRequest),
        }
    }

    /// Returns whether the client tries to move from polling to a link.
    #[must_use]
    pub const fn is_upgrading(&self) -> bool {
        matches!(
            self.state,
            State::Open(Link::Upgrading(_)) | State::Closing(_, Link::Upgrading(_))
        )
    }

    /// Returns whether events wait for the application.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.machine.inbox.is_empty()
    }

    /// Returns whether the driver should read frames: `false` while the inbox is full, except during an upgrade, and
    /// `false` after an upgrade until a POST that was in progress has arrived, because its messages were sent before
    /// those of the frames. The body of a POST is always read.
    ///
    /// The result may change after an event was taken and after [`Output::SendFrames`].
    #[must_use]
    pub fn wants_input(&self) -> bool {
        match &self.state {
            State::Open(link) | State::Closing(_, link) => link.wants_frames(&self.machine),
            State::Opening | State::Closed(_) => self.machine.inbox_has_room(),
        }
    }

    /// Ends the session for this reason, or for the one for which it is being closed.
    fn fail(&mut self, now: Instant, reason: DisconnectReason) {
        self.transition(|state, machine| state.fail(now, reason, machine));
    }

    /// Replaces the state, and tells the driver at once what follows from the change. Nothing else takes the state out.
    fn transition(&mut self, change: impl FnOnce(State, &mut Machine) -> State) {
        let state = std::mem::replace(&mut self.state, State::Opening);
        self.state = change(state, &mut self.machine);
        self.state.flush(&mut self.machine);
    }
}
