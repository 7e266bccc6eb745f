//! A driver for tests: it owns one session and a clock, does at once what the session asks for, and keeps a log of
//! what client and application get to see. It checks the contract of the session after every step.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use engineio_core::server::{Event, ExchangeId, First, Input, Output, Session};
use engineio_core::{
    Config, DisconnectReason, Frame, LinkId, Message, Payload, Refusal, Revision, SendError, Sid,
    Transport,
};

/// The events that the client or the application saw, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The body of a poll's answer.
    Payload(ExchangeId, String),
    PollRefused(ExchangeId, Refusal),
    PostOk(ExchangeId),
    PostRefused(ExchangeId, Refusal),
    Text(LinkId, String),
    Binary(LinkId, Bytes),
    WebSocketClosed(LinkId, DisconnectReason),
    Message(Message),
    Upgraded,
    Closed(DisconnectReason),
    Finished,
}

pub(crate) struct Rig {
    pub(crate) session: Session,
    pub(crate) now: Instant,
    /// The application takes no events.
    pub(crate) app_is_busy: bool,
    /// Neither poll answers nor frames can be written.
    pub(crate) client_is_slow: bool,
    /// The number of notices that the outbox became shorter.
    pub(crate) rooms: usize,
    log: Vec<Seen>,
    /// The POST of which more is to be decoded.
    post_to_continue: Option<ExchangeId>,
    polls_to_answer: Vec<ExchangeId>,
    streams_to_feed: Vec<LinkId>,
    /// The session announced events that were not all taken yet.
    events_wait: bool,
    /// Every exchange that was answered or refused; each may be so once.
    settled: HashSet<ExchangeId>,
    accepted: bool,
    closed: bool,
    finished: bool,
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) fn message(text: &str) -> Seen {
    Seen::Message(Message::from(text))
}

pub(crate) fn payload(poll: ExchangeId, body: &str) -> Seen {
    Seen::Payload(poll, body.to_owned())
}

pub(crate) fn text(websocket: LinkId, frame: &str) -> Seen {
    Seen::Text(websocket, frame.to_owned())
}

impl Rig {
    /// A session on which the application has not decided yet.
    pub(crate) fn opening(config: Config) -> Self {
        let sid = Sid::from_random([0; 15]);
        Self {
            session: Session::new(Arc::new(config), sid, Revision::V4, false),
            now: Instant::now(),
            app_is_busy: false,
            client_is_slow: false,
            rooms: 0,
            log: Vec::new(),
            post_to_continue: None,
            polls_to_answer: Vec::new(),
            streams_to_feed: Vec::new(),
            events_wait: false,
            settled: HashSet::new(),
            accepted: false,
            closed: false,
            finished: false,
        }
    }

    /// A session that was opened by polling and whose client has its open packet.
    pub(crate) fn polling() -> Self {
        Self::polling_with(Config::default())
    }

    pub(crate) fn polling_with(config: Config) -> Self {
        let mut rig = Self::opening(config);
        rig.accept_polling();
        rig.log.clear();
        rig
    }

    /// A session that was opened by WebSocket and whose client has its open packet.
    pub(crate) fn websocket() -> (Self, LinkId) {
        Self::websocket_with(Config::default())
    }

    pub(crate) fn websocket_with(config: Config) -> (Self, LinkId) {
        Self::link_with(config, Transport::WebSocket)
    }

    pub(crate) fn link_with(config: Config, transport: Transport) -> (Self, LinkId) {
        let mut rig = Self::opening(config);
        let link = rig.accept_link(transport);
        rig.log.clear();
        (rig, link)
    }

    /// A polling session whose client has had its `3probe`.
    pub(crate) fn probed() -> (Self, LinkId) {
        let mut rig = Self::polling();
        let websocket = rig.open_websocket();
        rig.frame(websocket, "2probe");
        rig.log.clear();
        (rig, websocket)
    }

    pub(crate) fn accept_polling(&mut self) -> ExchangeId {
        let id = self.session.next_exchange();
        self.accepted = self.session.closed().is_none();
        self.input(Input::Accepted(First::Polling(id)));
        id
    }

    pub(crate) fn accept_websocket(&mut self) -> LinkId {
        self.accept_link(Transport::WebSocket)
    }

    fn accept_link(&mut self, transport: Transport) -> LinkId {
        let id = self.session.next_link();
        self.accepted = self.session.closed().is_none();
        self.input(Input::Accepted(First::Link(id, transport)));
        id
    }

    pub(crate) fn poll(&mut self) -> ExchangeId {
        let id = self.session.next_exchange();
        self.input(Input::PollOpened(id));
        id
    }

    /// A POST whose body is still on its way.
    pub(crate) fn begin_post(&mut self) -> ExchangeId {
        let id = self.session.next_exchange();
        self.input(Input::PostOpened(id));
        id
    }

    pub(crate) fn finish_post(&mut self, id: ExchangeId, body: &str) {
        let body = Bytes::copy_from_slice(body.as_bytes());
        self.input(Input::PostReceived(id, Payload::text(body)));
    }

    pub(crate) fn post(&mut self, body: &str) -> ExchangeId {
        let id = self.begin_post();
        self.finish_post(id, body);
        id
    }

    pub(crate) fn open_websocket(&mut self) -> LinkId {
        self.open_link(Transport::WebSocket)
    }

    pub(crate) fn open_link(&mut self, transport: Transport) -> LinkId {
        let id = self.session.next_link();
        self.input(Input::LinkOpened {
            id,
            transport,
            base64: false,
        });
        id
    }

    pub(crate) fn close_link(&mut self, id: LinkId, reason: DisconnectReason) {
        self.input(Input::LinkClosed(id, reason));
    }

    pub(crate) fn frame(&mut self, websocket: LinkId, text: &str) {
        self.input(Input::LinkFrame(websocket, Frame::text(text.to_owned())));
    }

    pub(crate) fn input(&mut self, input: Input) {
        self.session.handle_input(self.now, input);
        self.drive();
    }

    #[track_caller]
    pub(crate) fn send(&mut self, text: &str) {
        self.try_send(Message::from(text)).unwrap();
    }

    pub(crate) fn try_send(&mut self, message: Message) -> Result<(), SendError> {
        let sent = self.session.send(message);
        self.drive();
        sent
    }

    pub(crate) fn close(&mut self) {
        self.session.close(self.now, DisconnectReason::Server);
        self.drive();
    }

    pub(crate) fn abort(&mut self, reason: DisconnectReason) {
        self.session.abort(self.now, reason);
        self.drive();
    }

    /// Lets time pass, from deadline to deadline.
    pub(crate) fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.session.poll_timeout().filter(|&at| at <= until) {
            self.now = self.now.max(at);
            self.input(Input::Timeout);
            assert_ne!(
                self.session.poll_timeout(),
                Some(at),
                "a timer that fires again and again"
            );
        }
        self.now = until;
        // A timeout that is not due must be harmless.
        self.input(Input::Timeout);
    }

    /// Returns the events since the last call.
    pub(crate) fn seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.log)
    }

    pub(crate) fn time_left(&self) -> Option<Duration> {
        let at = self.session.poll_timeout()?;
        Some(at.saturating_duration_since(self.now))
    }

    /// Whether the driver of this WebSocket was told to look for frames, and the client is too slow for it to do so.
    pub(crate) fn frames_are_announced(&self, websocket: LinkId) -> bool {
        self.streams_to_feed.contains(&websocket)
    }

    /// The application handles one event.
    pub(crate) fn take_event(&mut self) -> Option<Event> {
        let event = self.session.take_event(|| self.now);
        match event.clone() {
            Some(event) => self.see_event(event),
            None => self.events_wait = false,
        }
        self.drive_outputs();
        self.check();
        event
    }

    /// Goes on with the POST of which the session wants to decode more. Returns whether there was one.
    pub(crate) fn continue_post(&mut self) -> bool {
        let Some(post) = self.post_to_continue.take() else {
            return false;
        };
        self.input(Input::PostContinued(post));
        true
    }

    /// Does what the session asks for until it asks for nothing more.
    pub(crate) fn drive(&mut self) {
        self.drive_outputs();
        self.take_events();
        if !self.client_is_slow {
            for poll in std::mem::take(&mut self.polls_to_answer) {
                self.take_payload(poll);
            }
            for websocket in std::mem::take(&mut self.streams_to_feed) {
                self.take_frames(websocket);
            }
            self.drive_outputs();
        }
        self.check();
    }

    fn drive_outputs(&mut self) {
        while let Some(output) = self.session.poll_output() {
            self.obey(output);
        }
    }

    fn obey(&mut self, output: Output) {
        let late = matches!(
            output,
            Output::RefusePoll(..) | Output::AnswerPost(_, Err(_)) | Output::CloseLink(..)
        );
        assert!(!self.finished || late, "{output:?} after Finished");
        match output {
            Output::AnswerPoll(poll) => {
                assert!(self.settled.insert(poll), "{poll:?} is answered twice");
                if self.client_is_slow {
                    self.polls_to_answer.push(poll);
                } else {
                    self.take_payload(poll);
                }
            }
            Output::RefusePoll(poll, refusal) => {
                assert!(self.settled.insert(poll), "{poll:?} is answered twice");
                self.log.push(Seen::PollRefused(poll, refusal));
            }
            Output::AnswerPost(post, answer) => {
                assert!(self.settled.insert(post), "{post:?} is answered twice");
                self.log.push(match answer {
                    Ok(()) => Seen::PostOk(post),
                    Err(refusal) => Seen::PostRefused(post, refusal),
                });
            }
            Output::ContinuePost(post) => self.post_to_continue = Some(post),
            Output::SendFrames(websocket) if self.client_is_slow => {
                self.streams_to_feed.push(websocket);
            }
            Output::SendFrames(websocket) => self.take_frames(websocket),
            Output::CloseLink(websocket, reason) => {
                self.log.push(Seen::WebSocketClosed(websocket, reason));
            }
            Output::Events => {
                assert!(!self.events_wait, "events are announced twice");
                self.events_wait = true;
                self.take_events();
            }
            Output::Room => self.rooms += 1,
            Output::Finished => {
                self.finished = true;
                self.log.push(Seen::Finished);
            }
            output => panic!("a test must know {output:?}"),
        }
    }

    fn take_events(&mut self) {
        while self.events_wait && !self.app_is_busy {
            match self.session.take_event(|| self.now) {
                Some(event) => self.see_event(event),
                None => self.events_wait = false,
            }
        }
    }

    fn take_payload(&mut self, poll: ExchangeId) {
        // A poll that was given up before its answer could be written has none any more.
        if let Some(body) = self.session.take_payload(self.now, poll) {
            let body = String::from_utf8(body.body.to_vec()).unwrap();
            self.log.push(Seen::Payload(poll, body));
        }
        assert_eq!(self.session.take_payload(self.now, poll), None);
    }

    fn take_frames(&mut self, websocket: LinkId) {
        while let Some(frame) = self.session.take_frame(self.now, websocket) {
            self.log.push(match frame {
                Frame::Text(text) => Seen::Text(
                    websocket,
                    String::from_utf8(text.into_bytes().to_vec()).unwrap(),
                ),
                Frame::Binary(bytes) => Seen::Binary(websocket, bytes),
            });
        }
    }

    fn see_event(&mut self, event: Event) {
        assert!(!self.closed, "{event:?} after the session was closed");
        self.log.push(match event {
            Event::Message(message) => Seen::Message(message),
            Event::Upgraded => Seen::Upgraded,
            Event::Closed(reason) => {
                self.closed = true;
                Seen::Closed(reason)
            }
            event => panic!("a test must know {event:?}"),
        });
    }

    fn check(&self) {
        if self.accepted && self.session.closed().is_none() {
            assert!(
                self.session.poll_timeout().is_some(),
                "a live session without a deadline"
            );
        }
        if self.accepted && !self.app_is_busy {
            assert_eq!(self.closed, self.session.closed().is_some());
        }
        assert_eq!(
            self.session.queued_messages() == 0,
            self.session.queued_bytes() == 0
        );
    }
}
