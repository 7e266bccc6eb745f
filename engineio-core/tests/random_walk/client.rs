//! A client that keeps to the protocol as the official one does: one GET and one POST at a time, and an upgrade that
//! waits for both.

use std::collections::VecDeque;

use bytes::Bytes;
use engineio_core::codec::v4;
use engineio_core::{Frame, Packet};

use crate::world::{Happening, Pipe, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Polling,
    /// The WebSocket is being opened, or the probe is on its way.
    Probing(u32),
    /// The probe was answered; the GET and the POST are still to come back.
    Pausing(u32),
    WebSocket(u32),
    /// Closed by the server, by itself, or because something broke.
    Gone,
}

pub(crate) struct Client {
    state: State,
    /// Does not wait for its POST before it moves to the WebSocket, as some clients in the wild do not.
    impatient: bool,
    requests: u32,
    get: Option<u32>,
    post: Option<u32>,
    out: VecDeque<Packet>,
    pipe: Pipe,
    upgrade_began: u64,
    last_ping: u64,
    longest_silence: u64,
    /// The packet with which it wants to end the session.
    closing: Option<Packet>,
    close_sent: bool,
    /// The server said that the session is over.
    pub(crate) was_closed: bool,
    /// A request was refused, because the session was over when it came.
    pub(crate) was_refused: bool,
}

impl Client {
    pub(crate) fn new(impatient: bool, longest_silence: u64) -> Self {
        Self {
            state: State::Polling,
            impatient,
            requests: 0,
            get: None,
            post: None,
            out: VecDeque::new(),
            pipe: Pipe::default(),
            upgrade_began: 0,
            last_ping: 0,
            longest_silence,
            closing: None,
            close_sent: false,
            was_closed: false,
            was_refused: false,
        }
    }

    /// The number of the handshake's GET.
    pub(crate) fn open_polling(&mut self) -> u32 {
        let get = self.request();
        self.get = Some(get);
        get
    }

    pub(crate) fn open_websocket(&mut self) -> u32 {
        let websocket = self.request();
        self.state = State::WebSocket(websocket);
        websocket
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.state == State::Gone
    }

    pub(crate) fn send(&mut self, world: &mut World) {
        if self.is_gone() || self.closing.is_some() {
            return;
        }
        let message = world.to_server.next_message(&mut world.random);
        world.to_server.sent.push(message.clone());
        self.out.push_back(Packet::Message(message));
        if world.random.one_in(10) {
            self.out.push_back(Packet::Noop);
        }
    }

    /// Sends a pong that nobody has asked for, and messages.
    pub(crate) fn babble(&mut self, world: &mut World) {
        self.out.push_back(Packet::pong());
        self.send(world);
    }

    /// Sends what is left, and a last packet that ends the session.
    pub(crate) fn close(&mut self, last: Packet) {
        self.closing = Some(last);
    }

    /// Is switched off, without a word to anybody.
    pub(crate) fn vanish(&mut self, world: &mut World) {
        world.cut_off_client();
        self.state = State::Gone;
    }

    /// Bears the silence of a server that is closing: pings have ended then.
    pub(crate) fn wait_for_ever(&mut self) {
        self.longest_silence = u64::MAX / 2;
    }

    pub(crate) fn begin_upgrade(&mut self, world: &mut World) {
        if self.state != State::Polling || self.closing.is_some() {
            return;
        }
        let websocket = self.request();
        self.state = State::Probing(websocket);
        self.upgrade_began = world.now;
        self.pipe = Pipe::default();
        world.flow(&mut self.pipe, Happening::WebSocketRequest(websocket));
    }

    /// The WebSocket breaks. Before the `5` that ends just the upgrade, after it the session.
    pub(crate) fn lose_websocket(&mut self, world: &mut World) {
        let (State::Probing(websocket) | State::Pausing(websocket) | State::WebSocket(websocket)) =
            self.state
        else {
            return;
        };
        world.cut_websocket(websocket);
        world.flow(&mut self.pipe, Happening::WebSocketGone(websocket));
        self.state = match self.state {
            State::WebSocket(_) => State::Gone,
            _ => State::Polling,
        };
    }

    /// Only an upgrade is under way, which may break without harm.
    pub(crate) fn is_upgrading(&self) -> bool {
        matches!(self.state, State::Probing(_) | State::Pausing(_))
    }

    /// Gives the GET that is under way up, and itself.
    pub(crate) fn abort_get(&mut self, world: &mut World) {
        self.vanish(world);
        if let Some(get) = self.get.take() {
            world.at(world.now, Happening::GetAborted(get));
        }
    }

    pub(crate) fn handle(&mut self, world: &mut World, happening: Happening) {
        if self.is_gone() {
            return;
        }
        match happening {
            Happening::GetDone(get, body) => {
                assert_eq!(self.get.take(), Some(get), "an answer to another GET");
                match body {
                    Some(body) => self.receive_payload(world, body),
                    None => self.was_refused = true,
                }
                if self.was_refused {
                    self.state = State::Gone;
                }
            }
            Happening::PostDone(post, accepted) => {
                assert_eq!(self.post.take(), Some(post), "an answer to another POST");
                if !accepted {
                    // What the GET brings was sent before the session ended.
                    self.was_refused = true;
                    if self.get.is_none() {
                        self.state = State::Gone;
                    }
                } else if self.close_sent {
                    // A GET that is still under way must come back too.
                    self.close_when_done();
                }
            }
            Happening::WebSocketOpen(websocket) if self.state == State::Probing(websocket) => {
                let probe = match world.random.below(10) {
                    0 => return,
                    1 => "2wrong",
                    2 => "4too early",
                    _ => "2probe",
                };
                self.frame(world, websocket, Frame::text(probe));
            }
            Happening::FrameOut(websocket, frame) => {
                let packet = v4::decode_frame(frame).unwrap();
                if self.state == State::Probing(websocket) {
                    assert_eq!(packet, Packet::probe_pong());
                    self.state = State::Pausing(websocket);
                } else if self.state == State::WebSocket(websocket) {
                    self.receive(world, packet);
                }
            }
            Happening::WebSocketClosed(websocket) => match self.state {
                State::Probing(id) | State::Pausing(id) if id == websocket => {
                    self.state = State::Polling;
                }
                State::WebSocket(id) if id == websocket => self.state = State::Gone,
                _ => {}
            },
            _ => {}
        }
    }

    /// Does what can be done now; called after every step.
    pub(crate) fn tick(&mut self, world: &mut World) {
        if self.is_gone() {
            return;
        }
        assert!(
            self.closing.is_some() || world.now <= self.last_ping + self.longest_silence,
            "the server was silent for too long"
        );
        self.go_on_with_upgrade(world);
        if !self.is_upgrading()
            && let Some(last) = self.closing.clone().filter(|_| !self.close_sent)
        {
            self.close_sent = true;
            self.out.push_back(last);
        }
        self.flush(world);
        let polls = matches!(self.state, State::Polling | State::Probing(_));
        if polls && self.get.is_none() && !self.close_sent {
            let get = self.request();
            self.get = Some(get);
            world.travel(Happening::Get(get));
        }
    }

    fn go_on_with_upgrade(&mut self, world: &mut World) {
        if self.is_upgrading() && world.now > self.upgrade_began + 1_000 {
            let (State::Probing(websocket) | State::Pausing(websocket)) = self.state else {
                return;
            };
            world.flow(&mut self.pipe, Happening::WebSocketGone(websocket));
            self.state = State::Polling;
        }
        let State::Pausing(websocket) = self.state else {
            return;
        };
        let post_is_settled =
            self.post.is_none() || self.impatient && self.post == world.post_begun;
        if self.get.is_none() && post_is_settled {
            self.frame(world, websocket, Frame::text("5"));
            self.state = State::WebSocket(websocket);
        }
    }

    fn flush(&mut self, world: &mut World) {
        match self.state {
            State::Polling | State::Probing(_)
                if self.post.is_none() && !self.out.is_empty() && !self.was_refused =>
            {
                let count = if self.out.contains(&Packet::Pong(Bytes::new())) {
                    // A pong that stood behind several POSTs would come too late.
                    self.out.len()
                } else {
                    let most = [20, 500][usize::from(world.random.one_in(10))];
                    self.out.len().min(1 + world.random.below(most))
                };
                let packets: Vec<_> = self.out.drain(..count).collect();
                let post = self.request();
                self.post = Some(post);
                let mut upload = Pipe::default();
                world.flow(&mut upload, Happening::Post(post));
                let body = v4::encode_payload(&packets);
                // Some bodies are large, or come over a slow line.
                upload.delay(world, 400);
                world.flow(&mut upload, Happening::PostBody(post, body));
            }
            State::WebSocket(websocket) => {
                while let Some(packet) = self.out.pop_front() {
                    let last = packet == Packet::Close;
                    self.frame(world, websocket, v4::encode_frame(packet, false));
                    if last {
                        world.flow(&mut self.pipe, Happening::WebSocketGone(websocket));
                        self.state = State::Gone;
                        return;
                    }
                }
            }
            _ => {}
        }
    }

    fn receive_payload(&mut self, world: &mut World, body: Bytes) {
        for packet in v4::decode_payload(body) {
            self.receive(world, packet.unwrap());
        }
        if self.close_sent {
            self.close_when_done();
        }
    }

    fn receive(&mut self, world: &mut World, packet: Packet) {
        match packet {
            Packet::Message(message) => world.to_client.arrive(&message),
            Packet::Ping(_) => {
                self.last_ping = world.now;
                if !self.close_sent {
                    self.out.push_back(Packet::Pong(Bytes::new()));
                }
            }
            Packet::Close => {
                self.was_closed = true;
                self.state = State::Gone;
            }
            Packet::Open(_) | Packet::Noop => {}
            packet => panic!("the server does not send {packet:?}"),
        }
    }

    fn close_when_done(&mut self) {
        if self.get.is_none() && self.post.is_none() && self.out.is_empty() {
            self.state = State::Gone;
        }
    }

    fn frame(&mut self, world: &mut World, websocket: u32, frame: Frame) {
        world.flow(&mut self.pipe, Happening::FrameIn(websocket, frame));
    }

    const fn request(&mut self) -> u32 {
        self.requests += 1;
        self.requests
    }
}
