//! The client's side of one session, as a machine without IO and without a clock.

mod config;
mod input;
mod link;
mod machine;
mod moving;
mod opened;
mod polling;
mod state;
mod upgrade;

use std::time::Instant;

pub use self::config::Config;
pub use self::input::{Event, Fault, Input, Output, ProbeFailure, RequestId};
use self::link::Link;
use self::machine::Machine;
pub use self::opened::{InvalidOpened, Opened};
use self::state::State;
use crate::timer::Timer;
use crate::{Discarded, DisconnectReason, Frame, LinkId, Message, Payload, SendError, Transport};

/// One session of a client: the counterpart of [`server::Session`](crate::server::Session). It speaks
/// [`Config::revision`].
///
/// # The contract with its driver
///
/// Methods are of three kinds.
/// - *Reports*: [`handle_input`](Self::handle_input), [`send`](Self::send), [`close`](Self::close),
///   [`abort`](Self::abort). After each of them, and after [`new`](Self::new), drain [`poll_output`](Self::poll_output)
///   until it returns `None`, and read [`poll_timeout`](Self::poll_timeout) again.
/// - *Takers*: [`take_payload`](Self::take_payload), [`take_frame`](Self::take_frame),
///   [`take_event`](Self::take_event). An [`Output`] announces that there is something to take; the driver takes it
///   when it can pass it on. These methods may cause outputs too.
/// - *Queries*, which take `&self`.
///
/// Time is an argument and never goes backwards. A server's misbehaviour is an output, never an error of these methods.
/// An input with an id that the session no longer knows came late and has no effect.
///
/// The driver limits the time of a POST and of opening a WebSocket. A poll needs no separate limit: the heartbeat
/// limits it, and [`Config::open_timeout`] does before the heartbeat has begun.
///
/// # Servers that do not read
///
/// If a server takes neither a heartbeat packet nor anything behind it, the session ends within `2 * (pingInterval +
/// pingTimeout)` of that packet, whatever the server sends, provided that the application takes its messages or waits
/// for room in the outbox. While the inbox is not full, it ends in half that time.
///
/// # Transitions
///
/// Each row has a scenario of its own in `tests/client_*.rs`. What a row says about a WebSocket is true of a WebTransport
/// link as well.
///
/// | # | from | input | to | outputs |
/// |---|---|---|---|---|
/// | 1 | Opening (polling) | open packet | Polling | `Opened`; a poll begins |
/// | 2 | Opening (polling) | open packet that offers WebSocket | Probing | `Opened`; a poll and a WebSocket begin |
/// | 2a | Opening (polling) | open packet that offers WebTransport too, which the client may use | Probing | `Opened`; a poll and a WebTransport link begin; a WebSocket after 200 ms |
/// | 3 | Opening (polling) | open packet and messages | as 1 or 2 | `Opened`, then the messages |
/// | 4 | Opening (WebSocket) | open packet | WebSocket | `Opened`; the messages sent before are frames |
/// | 5 | Opening | anything but an open packet | Closed (parse error) | WebSocket closed |
/// | 6 | Opening | request or WebSocket fails | Closed (its reason) | – |
/// | 7 | Opening | open timer | Closed (transport error) | poll cancelled or WebSocket closed |
/// | 8 | Opening | `close` | Closed (client) | poll cancelled or WebSocket closed |
/// | 9 | Polling | `PollAnswered` | Polling | messages are events, the next poll begins |
/// | 10 | Polling | `PollFailed` | Closed (its reason) | POST cancelled |
/// | 11 | Polling | malformed payload | Closed (parse error) | packets before it are events |
/// | 12 | Polling | payload of too many packets | Closed (payload too large) | – |
/// | 13 | Polling | `PollAnswered`, inbox full | Polling (no poll) | the next poll begins once there is room |
/// | 14 | Polling, no POST | `send` | Polling (POST) | a POST begins |
/// | 15 | Polling (POST) | `send` | same | leaves with the next POST, within `maxPayload` |
/// | 16 | Polling (POST) | `PostAnswered` | Polling | the next POST, if anything is queued |
/// | 17 | Polling (POST) | `PostFailed` | Closed (its reason) | poll cancelled |
/// | 17a | Polling (poll, POST) | `PostFailed`, refused | the same, for a second | the poll may bring the last messages and `1`; then Closed (refused) |
/// | 18 | Probing | `LinkOpened` | Probing (asked) | `2probe` |
/// | 19 | Probing | `send`, `PollAnswered` | Probing | by polling, as before |
/// | 20 | Probing (asked) | `3probe` | Pausing | no poll or POST begins any more |
/// | 20a | Probing (two links) | `3probe` on one of them | Pausing | the other is closed |
/// | 21 | Pausing | poll and POST are back | WebSocket | `Upgraded`; `5`, then the queued messages |
/// | 22 | Pausing | `send` | Pausing | leaves after `5` |
/// | 23 | Probing, Pausing | `LinkClosed` | Polling | `UpgradeFailed`; nothing lost |
/// | 23a | Probing | a link fails, by row 23 or 24, and another one is tried or waits to be | Probing | the one that waits is opened at once |
/// | 24 | Probing, Pausing | another frame | Polling | `UpgradeFailed`; WebSocket closed |
/// | 25 | Probing, Pausing | upgrade timer | Polling | `UpgradeFailed`; links closed |
/// | 26 | Pausing | poll or POST fails | Closed (its reason) | WebSocket closed |
/// | 27 | WebSocket | message frame | WebSocket | event |
/// | 28 | WebSocket | frame that is no packet | Closed (parse error) | WebSocket closed |
/// | 29 | WebSocket | `LinkClosed` | Closed (its reason) | – |
/// | 30 | any open | ping | same | pong with its data |
/// | 30b | any open | any packet | same | ping timeout restarts; but see 31a |
/// | 30a | any open, revision 3 | ping timer | same | ping; the ping timeout restarts with every packet of the server |
/// | 31 | any open | ping timeout | Closed (ping timeout) | everything released |
/// | 31a | Framed | ping timeout, a ping or pong not taken since it was set | Closed (slow consumer) | the server sends and does not read; its packets do not restart the timeout |
/// | 32 | any open, inbox full | ping timeout | same | it is paused until there is room, because the server is not read |
/// | 32a | any open, inbox full | ping timeout, nothing was taken out of a full outbox since it was set | Closed (ping timeout) | everything released |
/// | 33 | Polling | `1` | Closed (server) | packets after it are dropped |
/// | 33a | Polling (POST with messages) | `1` | Ending | the answer to the POST, or the close timer, leads to Closed (server) |
/// | 34 | WebSocket | `1` | Closed (server) | WebSocket closed |
/// | 35 | Polling | `close` | Closing | queued messages, then `1`, in POSTs |
/// | 36 | Closing (POST with `1`) | `PostAnswered` | Closed (client) | poll cancelled |
/// | 37 | Probing, Pausing | `close` | Closing (polling) | links closed, the rest by POSTs |
/// | 38 | WebSocket | `close` | Closed (client) | queued messages, `1`, WebSocket closed |
/// | 39 | Closing | messages of the server | Closing | dropped; the next poll begins if messages are still to be taken |
/// | 40 | Closing | link breaks, close timer | Closed (client) | the first reason stays; a POST with messages is waited for as in 33a |
/// | 41 | any | `abort` | Closed (its reason) | everything released, queue dropped |
/// | 42 | Closed | anything | Closed | nothing; no second event |
///
/// # Examples
///
/// ```
/// use std::time::Instant;
/// use engineio_core::client::{Config, Event, Input, Output, Session};
/// use engineio_core::{Message, Payload, Transport};
///
/// let now = Instant::now();
/// let mut session = Session::new(now, Config::default(), Transport::Polling);
/// let Some(Output::Poll(handshake)) = session.poll_output() else { panic!() };
///
/// let body = r#"0{"sid":"abc","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
/// session.handle_input(now, Input::PollAnswered(handshake, Payload::text(body)));
/// assert_eq!(session.take_event(|| now), Some(Event::Opened));
///
/// session.send(Message::from("hello")).unwrap();
/// let outputs: Vec<_> = std::iter::from_fn(|| session.poll_output()).collect();
/// let Some(&Output::Post(post)) = outputs.get(1) else { panic!() };
/// assert_eq!(session.take_payload(post).unwrap(), Payload::text("4hello"));
/// ```
#[derive(Debug)]
pub struct Session {
    state: State,
    machine: Machine,
}

impl Session {
    /// Creates a session that will be opened over this transport. The first output begins the handshake.
    ///
    /// Messages may already be sent; they wait for the open packet.
    #[must_use]
    pub fn new(now: Instant, config: Config, transport: Transport) -> Self {
        let mut machine = Machine::new(config);
        Self {
            state: State::open(now, transport, &mut machine),
            machine,
        }
    }

    /// Handles an input.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Timeout => {
                while let Some((_, timer)) = self.machine.timers.take_due(now) {
                    self.transition(|state, machine| state.on_timer(now, timer, machine));
                }
            }
            input => self.transition(|state, machine| state.step(now, input, machine)),
        }
    }

    /// Queues a message for the server.
    ///
    /// # Errors
    ///
    /// Returns the message as [`SendError::Full`] if the outbox has no room for it, as [`SendError::Closed`] if the session
    /// is closing or closed, or as [`SendError::Separator`] if it is a text with U+001E that may leave by polling.
    pub fn send(&mut self, message: Message) -> Result<(), SendError> {
        self.queue(message, false)
    }

    /// Queues a message even if the outbox is full: for a sender whose turn it is while others always take the room first.
    ///
    /// # Errors
    ///
    /// Fails as [`send`](Self::send) does, but never as [`SendError::Full`].
    pub fn send_beyond_limit(&mut self, message: Message) -> Result<(), SendError> {
        self.queue(message, true)
    }

    fn queue(&mut self, message: Message, beyond: bool) -> Result<(), SendError> {
        if !matches!(self.state, State::Opening(_) | State::Open(_)) {
            return Err(SendError::Closed(message));
        }
        let transport = self.state.transport();
        self.machine.queue(message, transport, beyond)?;
        self.transition(|state, _| state);
        Ok(())
    }

    /// Closes the session gracefully: the server gets the queued messages, then the close packet. New messages are
    /// refused from now on, and messages from the server are dropped.
    ///
    /// The session is closed once the server has taken the close packet, or after [`Config::close_timeout`]; at once if
    /// it was not open yet.
    pub fn close(&mut self, now: Instant) {
        self.transition(|state, machine| state.close(now, machine));
    }

    /// Ends the session at once and drops the queued messages.
    pub fn abort(&mut self, reason: DisconnectReason) {
        self.transition(|state, machine| state.abort(reason, machine));
    }

    /// Returns the next output, which the driver must carry out.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.machine.outputs.take(&mut self.machine.inbox)
    }

    /// Returns the time at which [`Input::Timeout`] is due. `None` only after the session is closed.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.machine.timers.next().map(|(at, _)| at)
    }

    /// Returns the timer with the next deadline, for a log.
    #[must_use]
    pub fn timeout_reason(&self) -> Option<Timer> {
        self.machine.timers.next().map(|(_, timer)| timer)
    }

    /// Takes the body of a POST, at the moment at which it is written. `None` if the POST no longer exists.
    pub fn take_payload(&mut self, post: RequestId) -> Option<Payload> {
        let closing = matches!(self.state, State::Closing(_));
        let (State::Open(link) | State::Closing(link)) = &mut self.state else {
            return None;
        };
        let packets = link.take_packets(post, closing, &mut self.machine)?;
        Some(self.machine.encode_payload(packets))
    }

    /// Takes the next frame for a link. `None` if there is none now; [`Output::SendFrames`] announces the next one.
    pub fn take_frame(&mut self, link_id: LinkId) -> Option<Frame> {
        let closing = matches!(self.state, State::Closing(_));
        let (State::Open(link) | State::Closing(link)) = &mut self.state else {
            return None;
        };
        let (packet, last) = link.take_packet(link_id, closing, &mut self.machine)?;
        if last {
            self.abort(DisconnectReason::Client);
        }
        Some(self.machine.encode_frame(packet))
    }

    /// Takes the messages that were sent, for a driver that must not drop them under its lock. There may be some after
    /// each payload or frame that was taken. Those that are never taken are dropped with the session.
    pub fn take_discarded(&mut self) -> Discarded {
        std::mem::take(&mut self.machine.discarded)
    }

    /// Takes the next event for the application. `None` if there is none now; [`Output::Events`] announces the next
    /// one.
    ///
    /// `now` is called only if the inbox was full: the server's silence counts again from then on.
    pub fn take_event(&mut self, now: impl FnOnce() -> Instant) -> Option<Event> {
        let event = self.machine.inbox.take();
        if event.is_some() {
            self.machine.use_room(now);
            self.transition(|state, _| state);
        }
        event
    }

    /// Returns the contents of the open packet, or `None` before it came.
    #[must_use]
    pub const fn opened(&self) -> Option<&Opened> {
        self.machine.opened.as_ref()
    }

    /// Returns the current transport, or the last one once the session has ended. An upgrade counts once it is complete.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        self.state.transport()
    }

    /// Returns whether an upgrade from polling to a link is in progress.
    #[must_use]
    pub const fn is_upgrading(&self) -> bool {
        matches!(self.state, State::Open(Link::Probing(_) | Link::Pausing(_)))
    }

    /// Returns whether the server has accepted the session, which is neither closing nor closed.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Returns the reason why the session is closed, or `None` while it is not.
    #[must_use]
    pub const fn closed(&self) -> Option<DisconnectReason> {
        match &self.state {
            State::Closed(reason, _) => Some(*reason),
            _ => None,
        }
    }

    /// Returns the fault in the server's data that ended the session, if one did.
    #[must_use]
    pub const fn fault(&self) -> Option<&Fault> {
        self.machine.fault.as_ref()
    }

    /// Returns whether the driver should read frames: `false` while the inbox is full, except during an upgrade, when
    /// links carry no messages yet: an upgrade must not fail because the application is slow.
    #[must_use]
    pub const fn wants_input(&self) -> bool {
        self.is_upgrading() || self.machine.inbox_has_room()
    }

    /// Returns whether a message whose data has `len` bytes would be queued.
    #[must_use]
    pub fn has_room_for(&self, len: usize) -> bool {
        self.machine
            .outbox_has_room(len.saturating_add(crate::Config::PACKET_OVERHEAD))
    }

    /// Returns the number of messages queued for the server.
    #[must_use]
    pub fn queued_messages(&self) -> usize {
        self.machine.outbox.len()
    }

    /// Returns the number of bytes queued for the server, including packet overhead.
    #[must_use]
    pub const fn queued_bytes(&self) -> usize {
        self.machine.outbox.bytes()
    }

    /// Returns the number of received bytes that wait for the application, including packet overhead. Beyond
    /// [`Config::inbox_limit`] nothing is read, except during an upgrade.
    #[must_use]
    pub const fn inbox_bytes(&self) -> usize {
        self.machine.inbox.bytes()
    }

    /// Returns the number of messages that were still queued when the session ended, 0 before that.
    /// [`take_unsent`](Self::take_unsent) returns them.
    #[must_use]
    pub const fn dropped_messages(&self) -> usize {
        self.machine.dropped
    }

    /// Returns the number of messages in the POST that is in progress. After the session has ended, these are the
    /// messages that the server may or may not have received: those of a POST that it has not answered.
    #[must_use]
    pub const fn messages_in_flight(&self) -> usize {
        self.machine.posted
    }

    /// Takes the messages that were still queued when the session ended, in their order. Returns an empty list before
    /// that, and the second time.
    #[must_use]
    pub fn take_unsent(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.machine.unsent)
    }

    /// Returns the reason why the upgrade failed, or `None` if none has failed.
    #[must_use]
    pub const fn probe_failure(&self) -> Option<ProbeFailure> {
        self.machine.probe_failure
    }

    /// Replaces the state, and tells the driver at once what follows from the change. Nothing else takes the state out.
    fn transition(&mut self, change: impl FnOnce(State, &mut Machine) -> State) {
        let state = std::mem::replace(&mut self.state, State::TAKEN);
        self.state = change(state, &mut self.machine).flush(&mut self.machine);
    }
}
