//! The calls of a driver, in a short form for scenarios.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use engineio_core::server::{Event, ExchangeId, First, Input, Output, Session};
use engineio_core::{Config, Frame, LinkId, Message, Payload, Refusal, Revision, Sid, Transport};

/// The clock, the session, and what a driver does with it.
pub(crate) struct Driver {
    pub(crate) now: Instant,
    pub(crate) session: Session,
}

pub(crate) fn config() -> Config {
    Config {
        ping_interval: Duration::from_millis(300),
        ping_timeout: Duration::from_millis(200),
        allow_eio3: true,
        ..Config::default()
    }
}

pub(crate) fn raw(bytes: &'static [u8]) -> Frame {
    Frame::Binary(Bytes::from_static(bytes))
}

impl Driver {
    pub(crate) fn new(revision: Revision, base64: bool, config: Config) -> Self {
        let sid = Sid::from_random([3; 15]);
        Self {
            now: Instant::now(),
            session: Session::new(Arc::new(config), sid, revision, base64),
        }
    }

    /// A session that was opened by polling, its handshake answered.
    pub(crate) fn polling_with(revision: Revision, base64: bool, config: Config) -> Self {
        let mut driver = Self::new(revision, base64, config);
        let handshake = driver.session.next_exchange();
        driver.input(Input::Accepted(First::Polling(handshake)));
        assert!(driver.answer(handshake).body.len() > 100);
        driver
    }

    pub(crate) fn polling() -> Self {
        Self::polling_with(Revision::V3, false, config())
    }

    /// A session that was opened by WebSocket, its open packet taken.
    pub(crate) fn websocket(base64: bool) -> (Self, LinkId) {
        let mut driver = Self::new(Revision::V3, base64, config());
        let websocket = driver.session.next_link();
        driver.input(Input::Accepted(First::Link(
            websocket,
            Transport::WebSocket,
        )));
        let frames = driver.frames(websocket);
        assert!(matches!(&frames[..], [Frame::Text(open)] if open.as_bytes().starts_with(b"0{")));
        (driver, websocket)
    }

    pub(crate) fn input(&mut self, input: Input) {
        self.session.handle_input(self.now, input);
    }

    pub(crate) fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.session.poll_output()).collect()
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.take_event(|| self.now)).collect()
    }

    /// The frames that the session announces for the WebSocket.
    pub(crate) fn frames(&mut self, websocket: LinkId) -> Vec<Frame> {
        assert!(self.outputs().contains(&Output::SendFrames(websocket)));
        std::iter::from_fn(|| self.session.take_frame(self.now, websocket)).collect()
    }

    pub(crate) fn poll(&mut self) -> ExchangeId {
        let poll = self.session.next_exchange();
        self.input(Input::PollOpened(poll));
        poll
    }

    /// The payload with which the session announces to answer the poll.
    pub(crate) fn answer(&mut self, poll: ExchangeId) -> Payload {
        assert!(self.outputs().contains(&Output::AnswerPoll(poll)));
        self.session.take_payload(self.now, poll).unwrap()
    }

    pub(crate) fn poll_and_answer(&mut self) -> Payload {
        let poll = self.poll();
        self.answer(poll)
    }

    /// Sends a POST and returns its answer.
    pub(crate) fn post(&mut self, payload: Payload) -> Result<(), Refusal> {
        let post = self.session.next_exchange();
        self.input(Input::PostOpened(post));
        self.input(Input::PostReceived(post, payload));
        self.post_answer(post).unwrap()
    }

    pub(crate) fn post_answer(&mut self, post: ExchangeId) -> Option<Result<(), Refusal>> {
        self.outputs().into_iter().find_map(|output| match output {
            Output::AnswerPost(id, answer) if id == post => Some(answer),
            _ => None,
        })
    }

    pub(crate) fn send(&mut self, message: impl Into<Message>) {
        self.session.send(message.into()).unwrap();
    }

    /// Lets time pass, and the timers fire that are due by then.
    pub(crate) fn pass(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while let Some(at) = self.session.poll_timeout().filter(|&at| at <= end) {
            self.now = at;
            self.input(Input::Timeout);
        }
        self.now = end;
    }
}
