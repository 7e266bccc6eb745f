//! A driver of the session under test that takes its time, over a network that takes its time, for an application
//! that takes its time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use engineio_core::codec::v4;
use engineio_core::server::{Event, ExchangeId, First, Input, Output, Session};
use engineio_core::{
    Config, DisconnectReason, Frame, LinkId, Payload, Revision, SendError, Sid, Transport,
};

use crate::vigil::Vigil;
use crate::world::{Happening, Pipe, World};

pub(crate) struct Server {
    pub(crate) session: Session,
    config: Arc<Config>,
    start: Instant,
    exchanges: HashMap<ExchangeId, u32>,
    gets: HashMap<u32, ExchangeId>,
    posts: HashMap<u32, ExchangeId>,
    /// Requests that came and have no answer yet.
    unanswered: HashSet<ExchangeId>,
    /// Polls whose answer was announced and not written yet.
    to_write: HashSet<ExchangeId>,
    websockets: HashMap<LinkId, (u32, Pipe)>,
    names: HashMap<u32, LinkId>,
    /// The frames that came by WebSocket and were not read yet; `None` is the end.
    unread: VecDeque<(LinkId, Option<Frame>)>,
    /// The driver of the WebSocket will notice what comes.
    listens: bool,
    /// POSTs whose body has come.
    received: HashSet<ExchangeId>,
    app_stalls_one_in: usize,
    /// A message found no room, and the client has taken nothing since.
    pub(crate) was_full: bool,
    app_was_told: bool,
    pub(crate) app_heard: Option<DisconnectReason>,
    finished: bool,
    pub(crate) upgraded: bool,
    /// The client takes nothing any more.
    pub(crate) is_blocked: bool,
    vigil: Vigil,
}

impl Server {
    pub(crate) fn new(config: Config, app_stalls_one_in: usize) -> Self {
        let config = Arc::new(config);
        let sid = Sid::from_random([0; 15]);
        let start = Instant::now();
        Self {
            session: Session::new(config.clone(), sid, Revision::V4, false),
            vigil: Vigil::new(start, &config, Revision::V4),
            config,
            start,
            exchanges: HashMap::new(),
            gets: HashMap::new(),
            posts: HashMap::new(),
            unanswered: HashSet::new(),
            to_write: HashSet::new(),
            websockets: HashMap::new(),
            names: HashMap::new(),
            unread: VecDeque::new(),
            listens: true,
            received: HashSet::new(),
            app_stalls_one_in,
            was_full: false,
            app_was_told: false,
            app_heard: None,
            finished: false,
            upgraded: false,
            is_blocked: false,
        }
    }

    pub(crate) fn accept_polling(&mut self, world: &mut World, get: u32) {
        let id = self.session.next_exchange();
        self.remember(get, id);
        self.gets.insert(get, id);
        self.input(world, Input::Accepted(First::Polling(id)));
    }

    pub(crate) fn accept_websocket(&mut self, world: &mut World, websocket: u32) {
        let id = self.session.next_link();
        self.websockets.insert(id, (websocket, Pipe::default()));
        self.names.insert(websocket, id);
        self.input(
            world,
            Input::Accepted(First::Link(id, Transport::WebSocket)),
        );
    }

    /// The time at which the session wants to be woken, in milliseconds since the beginning.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let at = self.session.poll_timeout()?;
        Some(at.saturating_duration_since(self.start).as_millis() as u64)
    }

    pub(crate) fn send(&mut self, world: &mut World) {
        let message = world.to_client.next_message(&mut world.random);
        match self.session.send(message.clone()) {
            Ok(()) => world.to_client.sent.push(message),
            Err(SendError::Full(_)) => self.was_full = true,
            Err(_) => {}
        }
        self.drain(world);
    }

    pub(crate) fn close(&mut self, world: &mut World) {
        let now = self.time(world);
        self.session.close(now, DisconnectReason::Server);
        self.drain(world);
    }

    pub(crate) fn abort(&mut self, world: &mut World) {
        let now = self.time(world);
        self.session.abort(now, DisconnectReason::Shutdown);
        self.drain(world);
    }

    pub(crate) fn wake(&mut self, world: &mut World) {
        self.input(world, Input::Timeout);
    }

    pub(crate) fn handle(&mut self, world: &mut World, happening: Happening) {
        match happening {
            Happening::Get(get) => {
                let id = self.session.next_exchange();
                self.remember(get, id);
                self.gets.insert(get, id);
                self.input(world, Input::PollOpened(id));
            }
            Happening::GetAborted(get) => {
                let Some(&id) = self.gets.get(&get) else {
                    return;
                };
                // The request is gone: nobody writes its answer any more.
                self.to_write.remove(&id);
                self.unanswered.remove(&id);
                self.input(world, Input::PollAborted(id));
            }
            Happening::Post(post) => {
                let id = self.session.next_exchange();
                self.remember(post, id);
                self.posts.insert(post, id);
                world.post_begun = Some(post);
                self.input(world, Input::PostOpened(id));
            }
            Happening::PostBody(post, body) => {
                let id = self.posts[&post];
                self.received.insert(id);
                for packet in v4::decode_payload(body.clone()).flatten() {
                    self.vigil.on_packet(self.time(world), &packet);
                }
                self.input(world, Input::PostReceived(id, Payload::text(body)));
            }
            Happening::WebSocketRequest(websocket) => self.open_websocket(world, websocket),
            Happening::FrameIn(websocket, frame) => {
                self.arrive(world, websocket, Some(frame));
            }
            Happening::WebSocketGone(websocket) => {
                self.arrive(world, websocket, None);
            }
            Happening::WritePayload(poll) => self.write_payload(world, poll),
            Happening::WriteFrames(websocket) => self.write_frames(world, websocket),
            Happening::AppTakes => self.app_takes(world),
            other => unreachable!("{other:?} does not happen at the server"),
        }
    }

    /// Nothing may hang: every request that came was answered, and whoever must hear of the end has.
    pub(crate) fn check_the_end(&self) {
        assert!(self.finished, "the session was not given back");
        assert_eq!(self.app_heard, self.session.closed());
        assert!(self.app_heard.is_some());
        assert!(
            self.unanswered.is_empty(),
            "requests hang: {:?}",
            self.unanswered
        );
        assert!(self.to_write.is_empty());
        assert_eq!(self.session.poll_timeout(), None);
        assert_eq!(self.session.queued_bytes(), 0);
    }

    fn time(&self, world: &World) -> Instant {
        self.start + Duration::from_millis(world.now)
    }

    fn remember(&mut self, request: u32, id: ExchangeId) {
        self.exchanges.insert(id, request);
        self.unanswered.insert(id);
    }

    fn open_websocket(&mut self, world: &mut World, websocket: u32) {
        let id = self.session.next_link();
        let mut pipe = Pipe::default();
        if self.session.may_upgrade(Transport::WebSocket).is_err() {
            world.flow(&mut pipe, Happening::WebSocketClosed(websocket));
            return;
        }
        world.flow(&mut pipe, Happening::WebSocketOpen(websocket));
        self.websockets.insert(id, (websocket, pipe));
        self.names.insert(websocket, id);
        self.listens = true;
        self.input(
            world,
            Input::LinkOpened {
                id,
                transport: Transport::WebSocket,
                base64: false,
            },
        );
    }

    fn input(&mut self, world: &mut World, input: Input) {
        let now = self.time(world);
        self.session.handle_input(now, input);
        self.drain(world);
    }

    /// Something comes over a WebSocket, which its driver does not notice while it does not listen.
    fn arrive(&mut self, world: &mut World, websocket: u32, frame: Option<Frame>) {
        if let Some(&id) = self.names.get(&websocket) {
            self.unread.push_back((id, frame));
            if self.listens {
                self.read(world);
            }
        }
    }

    /// Reads the WebSocket for as long as the session wants to listen. Called where a driver does so: when something
    /// comes, when events were taken, and when it was told that there are frames.
    fn read(&mut self, world: &mut World) {
        while self.session.wants_input()
            && let Some((id, frame)) = self.unread.pop_front()
        {
            let packet = frame.clone().map(v4::decode_frame);
            if let Some(Ok(packet)) = packet {
                self.vigil.on_packet(self.time(world), &packet);
            }
            let input = match frame {
                Some(frame) => Input::LinkFrame(id, frame),
                None => Input::LinkClosed(id, DisconnectReason::TransportClose),
            };
            let now = self.time(world);
            self.session.handle_input(now, input);
            self.drain(world);
        }
        self.listens = self.session.wants_input();
    }

    fn write_payload(&mut self, world: &mut World, poll: ExchangeId) {
        if !self.to_write.remove(&poll) || self.is_blocked {
            return;
        }
        let now = self.time(world);
        self.vigil.on_taken(now);
        let body: Bytes = self
            .session
            .take_payload(now, poll)
            .expect("an announced answer")
            .body;
        assert!(!body.is_empty());
        self.was_full = false;
        world.travel(Happening::GetDone(self.exchanges[&poll], Some(body)));
        self.drain(world);
    }

    fn write_frames(&mut self, world: &mut World, websocket: LinkId) {
        self.read(world);
        let now = self.time(world);
        while !self.is_blocked
            && let Some(frame) = self.session.take_frame(now, websocket)
        {
            self.was_full = false;
            self.vigil.on_taken(now);
            let (name, pipe) = self.websockets.get_mut(&websocket).unwrap();
            world.flow(pipe, Happening::FrameOut(*name, frame));
            if world.random.one_in(4) {
                // The socket takes no more for the moment.
                world.within(40, Happening::WriteFrames(websocket));
                break;
            }
        }
        self.drain(world);
    }

    fn app_takes(&mut self, world: &mut World) {
        for _ in 0..1 + world.random.below(5) {
            let now = self.time(world);
            let Some(event) = self.session.take_event(|| now) else {
                self.app_was_told = false;
                self.drain(world);
                self.read(world);
                return;
            };
            assert_eq!(self.app_heard, None, "{event:?} after the end");
            match event {
                Event::Message(message) => world.to_server.arrive(&message),
                Event::Closed(reason) => self.app_heard = Some(reason),
                Event::Upgraded => self.upgraded = true,
                event => panic!("a test must know {event:?}"),
            }
            self.drain(world);
        }
        self.read(world);
        if world.random.one_in(self.app_stalls_one_in) {
            // Longer than a pong may take: the client must not be blamed for it.
            world.at(world.now + 6_000, Happening::AppTakes);
        } else {
            world.within(20, Happening::AppTakes);
        }
    }

    fn drain(&mut self, world: &mut World) {
        self.obey(world);
        self.vigil.check(self.time(world), &self.session);
        self.check();
    }

    fn obey(&mut self, world: &mut World) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::AnswerPoll(id) => {
                    assert!(self.unanswered.remove(&id), "{id:?} is answered twice");
                    assert!(self.to_write.insert(id));
                    world.within(30, Happening::WritePayload(id));
                }
                Output::RefusePoll(id, _) => {
                    assert!(self.unanswered.remove(&id), "{id:?} is answered twice");
                    assert!(self.session.closed().is_some(), "the client did no wrong");
                    world.travel(Happening::GetDone(self.exchanges[&id], None));
                }
                Output::AnswerPost(id, answer) => {
                    assert!(self.unanswered.remove(&id), "{id:?} is answered twice");
                    assert!(
                        answer.is_ok() || self.session.closed().is_some(),
                        "the client did no wrong"
                    );
                    world.travel(Happening::PostDone(self.exchanges[&id], answer.is_ok()));
                }
                Output::ContinuePost(id) => {
                    let now = self.time(world);
                    self.session.handle_input(now, Input::PostContinued(id));
                }
                Output::SendFrames(id) => world.within(40, Happening::WriteFrames(id)),
                Output::CloseLink(id, _) => {
                    let (name, pipe) = self.websockets.get_mut(&id).unwrap();
                    world.flow(pipe, Happening::WebSocketClosed(*name));
                }
                Output::Events => {
                    assert!(!self.app_was_told, "events are announced twice");
                    self.app_was_told = true;
                    world.within(30, Happening::AppTakes);
                }
                Output::Finished => {
                    assert!(!self.finished, "the session ends twice");
                    self.finished = true;
                }
                _ => {}
            }
        }
    }

    fn check(&self) {
        let live = self.session.closed().is_none();
        assert!(
            !live || self.session.poll_timeout().is_some(),
            "no deadline"
        );
        assert!(
            self.session.queued_bytes() <= self.config.outbox_limit
                || self.session.queued_messages() == 1
        );
        // The poll that waits, and the POST: a well-behaved client has no more under way.
        assert!(self.unanswered.len() <= 2);
        // Nobody waits longer than needed.
        let poll_waits =
            (self.unanswered.iter()).any(|id| self.gets.get(&self.exchanges[id]) == Some(id));
        assert!(
            !poll_waits || self.session.queued_messages() == 0,
            "a poll waits beside messages"
        );
        let inbox = self.session.inbox_bytes();
        assert!(
            inbox > self.config.inbox_limit || self.unanswered.is_disjoint(&self.received),
            "a POST waits though there is room"
        );
        let largest = Config::PACKET_OVERHEAD + 80;
        assert!(inbox <= self.config.inbox_limit + largest, "{inbox} bytes");
        if live {
            assert_eq!(self.app_heard, None, "the end was told too early");
        }
    }
}
