//! A client's session with a scripted server: what the scenarios have in common.

// Each test file uses its own part of this.
#![allow(dead_code)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use engineio_core::client::{Config, Event, Input, Output, RequestId, Session};
use engineio_core::{DisconnectReason, Frame, LinkId, Message, Payload, Revision, Transport};

/// An open packet without and with the offer to upgrade; ping after 25 s, patience of 45 s, `maxPayload` 100.
pub(crate) const OPEN: &str = r#"0{"sid":"abcdefgh","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":100}"#;
pub(crate) const OPEN_UPGRADABLE: &str = r#"0{"sid":"abcdefgh","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":100}"#;

pub(crate) struct Client {
    pub(crate) session: Session,
    pub(crate) now: Instant,
    pub(crate) outputs: Vec<Output>,
}

impl Client {
    pub(crate) fn new(transport: Transport) -> Self {
        Self::with(Config::default(), transport)
    }

    pub(crate) fn with(config: Config, transport: Transport) -> Self {
        let now = Instant::now();
        let mut client = Self {
            session: Session::new(now, config, transport),
            now,
            outputs: Vec::new(),
        };
        client.drain();
        client
    }

    /// Open by polling, a poll under way.
    pub(crate) fn polling() -> Self {
        Self::polling_with(Config::default())
    }

    pub(crate) fn polling_with(config: Config) -> Self {
        let open = payload(config.revision, OPEN);
        let mut client = Self::with(config, Transport::Polling);
        client.answer_poll(open);
        assert_eq!(client.events(), [Event::Opened]);
        client
    }

    /// Open by polling, a poll under way, and a WebSocket that was asked for but is not open yet.
    pub(crate) fn probing() -> (Self, LinkId) {
        let mut client = Self::new(Transport::Polling);
        client.answer_poll(OPEN_UPGRADABLE);
        assert_eq!(client.events(), [Event::Opened]);
        let websocket = client.websocket();
        (client, websocket)
    }

    /// The probe was sent; a poll is under way.
    pub(crate) fn probed() -> (Self, LinkId) {
        let (mut client, websocket) = Self::probing();
        client.input(Input::LinkOpened(websocket));
        assert_eq!(client.frames(websocket), [text("2probe")]);
        (client, websocket)
    }

    /// The probe was answered; a poll is under way.
    pub(crate) fn pausing() -> (Self, LinkId) {
        let (mut client, websocket) = Self::probed();
        client.frame(websocket, "3probe");
        (client, websocket)
    }

    /// Open by WebSocket.
    pub(crate) fn websocket_open() -> (Self, LinkId) {
        Self::websocket_open_with(Config::default())
    }

    pub(crate) fn websocket_open_with(config: Config) -> (Self, LinkId) {
        let mut client = Self::with(config, Transport::WebSocket);
        let websocket = client.websocket();
        client.input(Input::LinkOpened(websocket));
        client.frame(websocket, OPEN);
        assert_eq!(client.events(), [Event::Opened]);
        (client, websocket)
    }

    pub(crate) fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            if !matches!(output, Output::Events | Output::Room) {
                self.outputs.push(output);
            }
        }
    }

    pub(crate) fn input(&mut self, input: Input) {
        self.session.handle_input(self.now, input);
        self.drain();
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        self.now += by;
        self.input(Input::Timeout);
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.session.send(Message::from(text)).unwrap();
        self.drain();
    }

    pub(crate) fn close(&mut self) {
        self.session.close(self.now);
        self.drain();
    }

    pub(crate) fn abort(&mut self) {
        self.session.abort(DisconnectReason::Client);
        self.drain();
    }

    /// The outputs since the last time.
    pub(crate) fn outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// The poll that was begun last, if it was begun since the outputs were last looked at.
    pub(crate) fn poll(&mut self) -> Option<RequestId> {
        self.find(|output| match output {
            Output::Poll(id) => Some(*id),
            _ => None,
        })
    }

    /// Returns whether a poll was begun since the outputs were last looked at.
    pub(crate) fn is_polling(&self) -> bool {
        let is_poll = |output: &Output| matches!(output, Output::Poll(_));
        self.outputs.iter().any(is_poll)
    }

    pub(crate) fn post(&mut self) -> Option<RequestId> {
        self.find(|output| match output {
            Output::Post(id) => Some(*id),
            _ => None,
        })
    }

    #[track_caller]
    pub(crate) fn websocket(&mut self) -> LinkId {
        self.link(Transport::WebSocket)
    }

    #[track_caller]
    pub(crate) fn webtransport(&mut self) -> LinkId {
        self.link(Transport::WebTransport)
    }

    #[track_caller]
    fn link(&mut self, by: Transport) -> LinkId {
        self.find(|output| match output {
            Output::OpenLink(id, transport) if *transport == by => Some(*id),
            _ => None,
        })
        .unwrap_or_else(|| panic!("no {by} was asked for"))
    }

    fn find<T>(&mut self, pick: impl Fn(&Output) -> Option<T>) -> Option<T> {
        let (at, found) = self
            .outputs
            .iter()
            .enumerate()
            .find_map(|(at, output)| Some((at, pick(output)?)))?;
        self.outputs.remove(at);
        Some(found)
    }

    /// Answers the poll that is under way.
    #[track_caller]
    pub(crate) fn answer_poll(&mut self, body: impl Into<Bytes>) {
        let poll = self.poll().expect("no poll is under way");
        self.input(Input::PollAnswered(poll, Payload::text(body)));
    }

    /// The body of the POST that was begun, which is answered at once.
    #[track_caller]
    pub(crate) fn answer_post(&mut self) -> String {
        let post = self.post().expect("no POST is under way");
        let body = self.body(post);
        self.input(Input::PostAnswered(post));
        body
    }

    #[track_caller]
    pub(crate) fn body(&mut self, post: RequestId) -> String {
        let body = self
            .session
            .take_payload(post)
            .expect("the POST has no body");
        self.drain();
        String::from_utf8(body.body.to_vec()).unwrap()
    }

    pub(crate) fn frame(&mut self, websocket: LinkId, frame: &'static str) {
        self.input(Input::LinkFrame(websocket, text(frame)));
    }

    /// The frames that were announced.
    #[track_caller]
    pub(crate) fn frames(&mut self, websocket: LinkId) -> Vec<Frame> {
        let announced =
            self.find(|output| (*output == Output::SendFrames(websocket)).then_some(()));
        assert!(announced.is_some(), "no frames were announced");
        let frames = std::iter::from_fn(|| self.session.take_frame(websocket)).collect();
        self.drain();
        frames
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        let events = std::iter::from_fn(|| self.session.take_event(|| self.now)).collect();
        self.drain();
        events
    }

    /// The session ended for this reason: said once, with nothing left to wait for.
    #[track_caller]
    pub(crate) fn assert_closed(&mut self, reason: DisconnectReason) {
        assert_eq!(self.events().last(), Some(&Event::Closed(reason)));
        assert_eq!(self.session.closed(), Some(reason));
        assert_eq!(self.session.poll_timeout(), None);
        assert_eq!(self.outputs.pop(), Some(Output::Finished));
    }
}

pub(crate) fn text(frame: &'static str) -> Frame {
    Frame::text(frame)
}

pub(crate) fn message(text: &str) -> Event {
    Event::Message(Message::from(text))
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// The body that carries one packet.
pub(crate) fn payload(revision: Revision, packet: &str) -> String {
    match revision {
        Revision::V3 => format!("{}:{packet}", packet.len()),
        _ => packet.to_owned(),
    }
}

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
