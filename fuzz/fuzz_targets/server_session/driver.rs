//! A driver that does what the session asks for when the story says so, and checks that it asks for nothing wrong.

use std::collections::{BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engineio_core::server::{Event, ExchangeId, First, Input, Output, Session};
use engineio_core::{Config, DisconnectReason, Frame, LinkId, Message, Packet, Revision, Sid};
use engineio_fuzz::Script;

use crate::peer::{Peer, in_order};
use crate::vigil::Vigil;

/// The state of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exchange {
    Waits,
    /// The answer to a poll was announced, and is still to be taken.
    Ready,
    Answered,
    /// The client gave it up, and may be answered or not.
    GivenUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WebSocket {
    Open,
    /// The session asked for its end.
    Closed,
    Lost,
}

pub struct Driver {
    session: Session,
    config: Arc<Config>,
    now: Instant,
    pub peer: Peer,
    exchanges: HashMap<ExchangeId, Exchange>,
    posts: Vec<ExchangeId>,
    /// The numbers of the messages in the body of a POST.
    bodies: HashMap<ExchangeId, RangeInclusive<u32>>,
    /// Messages that were accepted, and that the application has to hear of.
    owed: BTreeSet<u32>,
    websockets: Vec<(LinkId, WebSocket)>,
    sent: u32,
    heard: u32,
    accepted: bool,
    told: bool,
    closed: bool,
    finished: bool,
    vigil: Vigil,
}

impl Driver {
    pub fn new(config: Config, revision: Revision, base64: bool) -> Self {
        let now = Instant::now();
        let vigil = Vigil::new(now, &config, revision);
        let config = Arc::new(config);
        let sid = Sid::from_random([0; 15]);
        Self {
            session: Session::new(Arc::clone(&config), sid, revision, base64),
            config,
            now,
            peer: Peer::new(revision),
            exchanges: HashMap::new(),
            posts: Vec::new(),
            bodies: HashMap::new(),
            owed: BTreeSet::new(),
            websockets: Vec::new(),
            sent: 0,
            heard: 0,
            accepted: false,
            told: false,
            closed: false,
            finished: false,
            vigil,
        }
    }

    pub fn open_exchange(&mut self) -> ExchangeId {
        let id = self.session.next_exchange();
        self.exchanges.insert(id, Exchange::Waits);
        id
    }

    pub fn open_post(&mut self) -> ExchangeId {
        let id = self.open_exchange();
        self.posts.push(id);
        id
    }

    pub fn open_websocket(&mut self) -> LinkId {
        let id = self.session.next_link();
        self.websockets.push((id, WebSocket::Open));
        id
    }

    pub fn some_post(&self, script: &mut Script<'_>) -> Option<ExchangeId> {
        (!self.posts.is_empty()).then(|| script.pick(&self.posts))
    }

    pub fn some_websocket(&self, script: &mut Script<'_>) -> Option<LinkId> {
        (!self.websockets.is_empty()).then(|| script.pick(&self.websockets).0)
    }

    pub fn accept(&mut self, first: First) {
        self.accepted |= self.session.closed().is_none();
        self.input(Input::Accepted(first));
    }

    pub fn accept_late(&mut self) {
        if !self.accepted {
            let id = self.open_exchange();
            self.accept(First::Polling(id));
        }
    }

    pub fn input(&mut self, input: Input) {
        self.session.handle_input(self.now, input);
        self.drain();
    }

    /// The body of a POST comes, which counts once.
    pub fn receive_post(&mut self, id: ExchangeId, script: &mut Script<'_>) {
        let before = self.peer.sent();
        let payload = self.peer.payload(script);
        let packets = self.peer.packets(payload.clone());
        // What comes after a packet that ends the session does not count, even if the POST was answered before its turn.
        let is_v3 = self.session.revision() == Revision::V3;
        let goes_on = |packet: &&Packet| match packet {
            Packet::Close => false,
            // In the wrong direction.
            Packet::Ping(_) => is_v3,
            Packet::Pong(_) => !is_v3,
            _ => true,
        };
        let mut last = before;
        for packet in packets.iter().take_while(goes_on) {
            if let Packet::Message(message) = packet {
                in_order(message, &mut last);
            }
        }
        self.bodies.entry(id).or_insert(before + 1..=last);
        for packet in packets {
            self.vigil.on_packet(self.now, &packet);
        }
        self.input(Input::PostReceived(id, payload));
    }

    /// A driver reads a WebSocket for as long as the session wants to, and until its end.
    pub fn frame(&mut self, id: LinkId, frame: Frame) {
        if self.session.wants_input() && self.is_open(id) {
            if let Some(packet) = self.peer.decode(frame.clone()) {
                self.vigil.on_packet(self.now, &packet);
            }
            self.input(Input::LinkFrame(id, frame));
        }
    }

    pub fn lose_websocket(&mut self, id: LinkId, reason: DisconnectReason) {
        if self.is_open(id) {
            self.set_websocket(id, WebSocket::Lost);
            self.input(Input::LinkClosed(id, reason));
        }
    }

    fn is_open(&self, id: LinkId) -> bool {
        self.websockets.contains(&(id, WebSocket::Open))
    }

    fn set_websocket(&mut self, id: LinkId, state: WebSocket) {
        for (known, websocket) in &mut self.websockets {
            if *known == id {
                *websocket = state;
            }
        }
    }

    /// The client gives up one of its requests.
    pub fn abort_exchange(&mut self, script: &mut Script<'_>) {
        let mut open: Vec<_> = self
            .exchanges
            .iter()
            .filter(|(_, state)| matches!(state, Exchange::Waits | Exchange::Ready))
            .map(|(&id, _)| id)
            .collect();
        open.sort_by_key(|id| format!("{id:?}"));
        if open.is_empty() {
            return;
        }
        let id = script.pick(&open);
        self.exchanges.insert(id, Exchange::GivenUp);
        self.input(if self.posts.contains(&id) {
            Input::PostAborted(id)
        } else {
            Input::PollAborted(id)
        });
    }

    /// The application sends a numbered message, or one of bytes.
    pub fn send(&mut self, len: usize) {
        self.sent += 1;
        let message = if len % 3 == 2 {
            Message::from(vec![7; len])
        } else {
            Message::from(format!("#{}.{}", self.sent, "x".repeat(len)))
        };
        let fits = self.session.has_room_for(message.len());
        let sent = self.session.send(message);
        assert!(fits || sent.is_err());
        self.drain();
    }

    pub fn close(&mut self) {
        self.session.close(self.now, DisconnectReason::Server);
        self.drain();
    }

    pub fn abort(&mut self) {
        self.session.abort(self.now, DisconnectReason::Shutdown);
        self.drain();
    }

    pub fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..1_000 {
            let Some(at) = self.session.poll_timeout().filter(|&at| at <= until) else {
                break;
            };
            self.now = self.now.max(at);
            self.input(Input::Timeout);
        }
        self.now = until;
        self.input(Input::Timeout);
        let due = self.session.poll_timeout().filter(|&at| at <= self.now);
        assert_eq!(due, None, "a deadline that does not pass");
    }

    pub fn wait_for_deadline(&mut self) {
        if let Some(at) = self.session.poll_timeout() {
            self.wait(at.saturating_duration_since(self.now));
        }
    }

    pub fn take_event(&mut self) {
        match self.session.take_event(|| self.now) {
            Some(event) => self.hear(event),
            None => self.told = false,
        }
        self.drain();
    }

    pub fn take_message(&mut self) {
        if let Some(message) = self.session.take_message(|| self.now) {
            self.hear(Event::Message(message));
        }
        self.drain();
    }

    pub fn take_all_events(&mut self) {
        while self.session.has_events() {
            self.take_event();
        }
        self.take_event();
    }

    fn hear(&mut self, event: Event) {
        assert!(
            self.accepted,
            "{event:?} of a session that was not accepted"
        );
        assert!(!self.closed, "{event:?} after the end");
        match event {
            Event::Message(message) => {
                if let Some(number) = in_order(&message, &mut self.heard) {
                    self.owed.remove(&number);
                }
            }
            Event::Closed(reason) => {
                assert_eq!(self.session.closed(), Some(reason));
                assert!(!self.session.has_events(), "the end comes last");
                self.closed = true;
            }
            _ => {}
        }
    }

    /// Writes what can be written: the answers of polls, and frames.
    pub fn write(&mut self) {
        let polls: Vec<_> = self
            .exchanges
            .iter()
            .map(|(&id, &state)| (id, state))
            .collect();
        for (id, state) in polls {
            let payload = self.session.take_payload(self.now, id);
            assert_eq!(
                payload.is_some(),
                state == Exchange::Ready,
                "{id:?} {state:?}"
            );
            if let Some(payload) = payload {
                self.vigil.on_taken(self.now);
                self.peer.read_payload(payload, self.config.max_payload);
                self.exchanges.insert(id, Exchange::Answered);
            }
            self.drain();
        }
        for (id, state) in self.websockets.clone() {
            while let Some(frame) = self.session.take_frame(self.now, id) {
                assert_eq!(state, WebSocket::Open);
                self.vigil.on_taken(self.now);
                self.peer.read_frame(frame);
                self.drain();
            }
        }
        self.drain();
    }

    fn drain(&mut self) {
        for _ in 0..100 {
            let Some(output) = self.session.poll_output() else {
                self.check();
                return;
            };
            self.obey(output);
        }
        panic!("outputs without end");
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::AnswerPoll(id) => self.settle(id, Exchange::Ready),
            Output::RefusePoll(id, _) => self.settle(id, Exchange::Answered),
            Output::AnswerPost(id, answer) => {
                assert!(self.posts.contains(&id));
                self.settle(id, Exchange::Answered);
                // Some of it may have been handled already, while the rest waited for room.
                let heard = self.heard;
                let numbers = self.bodies.remove(&id).into_iter().flatten();
                if answer.is_ok() && self.session.is_open() {
                    self.owed.extend(numbers.filter(|&number| number > heard));
                }
            }
            Output::ContinuePost(id) => {
                assert!(self.posts.contains(&id));
                self.session
                    .handle_input(self.now, Input::PostContinued(id));
            }
            Output::SendFrames(id) => {
                assert!(self.is_open(id), "frames for a WebSocket that is gone");
            }
            Output::CloseLink(id, _) => {
                assert!(self.is_open(id), "a WebSocket is closed once");
                self.set_websocket(id, WebSocket::Closed);
            }
            Output::Events => {
                assert!(!self.told, "events are announced once");
                self.told = true;
            }
            Output::Finished => {
                assert!(!self.finished, "the session ends once");
                self.finished = true;
            }
            _ => {}
        }
    }

    fn settle(&mut self, id: ExchangeId, state: Exchange) {
        let known = self
            .exchanges
            .get_mut(&id)
            .expect("a request that was made");
        match *known {
            Exchange::Waits => *known = state,
            // Its answer may have been decided before the client gave up.
            Exchange::GivenUp => {}
            Exchange::Ready | Exchange::Answered => panic!("{id:?} is answered twice"),
        }
    }

    fn check(&mut self) {
        let session = &self.session;
        self.vigil.check(self.now, session);
        let open = self.accepted && session.closed().is_none();
        assert!(!open || session.poll_timeout().is_some(), "no deadline");
        assert!(
            session.queued_bytes() <= self.config.outbox_limit || session.queued_messages() == 1
        );
        // 31 bytes of a script are up to as many characters of three bytes.
        let largest = Config::PACKET_OVERHEAD + 93;
        assert!(session.inbox_bytes() <= self.config.inbox_limit + largest);
        assert!(!session.has_events() || self.told, "nobody was told");
        assert!(!self.finished || session.closed().is_some());
    }

    /// Ends the session at once: nothing hangs, and everybody has heard of it.
    pub fn end(mut self) {
        self.abort();
        self.take_all_events();
        self.write();
        assert!(self.owed.is_empty(), "lost: {:?}", self.owed);
        for (id, state) in &self.exchanges {
            let settled = matches!(state, Exchange::Answered | Exchange::GivenUp);
            assert!(settled, "{id:?} hangs: {state:?}");
        }
        // A client that closed may still be waited for.
        self.wait(Duration::from_secs(2));
        assert!(self.finished, "the session was not given back");
        assert_eq!(self.closed, self.accepted);
        assert_eq!(self.session.poll_timeout(), None);
        assert_eq!(self.session.queued_bytes(), 0);
        assert_eq!(self.session.inbox_bytes(), 0);
        assert!(
            self.websockets
                .iter()
                .all(|(_, state)| *state != WebSocket::Open)
        );
    }
}
