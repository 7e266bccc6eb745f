//! A driver that does what the session asks for when the story says so, and checks that it asks for nothing wrong.

use std::time::{Duration, Instant};

use engineio_core::client::{Config, Event, Input, Output, RequestId, Session};
use engineio_core::{
    Config as ServerConfig, DisconnectReason, Frame, LinkId, Message, Packet, Payload, Revision,
    Transport,
};
use engineio_fuzz::Script;

use crate::peer::{Peer, in_order};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Poll,
    Post,
}

/// The state of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    /// A POST whose body is still to be taken.
    Announced,
    UnderWay,
    Answered,
    Cancelled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WebSocket {
    Opening,
    Open,
    /// The session asked for its end.
    Closed,
    Lost,
}

pub struct Driver {
    session: Session,
    config: Config,
    now: Instant,
    pub peer: Peer,
    requests: Vec<(RequestId, Kind, Request)>,
    websockets: Vec<(LinkId, WebSocket)>,
    sent: u32,
    heard: u32,
    /// The last message of a body that was taken in whole.
    owed: u32,
    told: bool,
    opened: bool,
    closed: bool,
    finished: bool,
    /// Since when something waits to be taken that the heartbeat asks for, if the inbox had room all the time.
    owes_since: Option<Instant>,
}

impl Driver {
    pub fn new(config: Config, transport: Transport) -> Self {
        let now = Instant::now();
        let mut driver = Self {
            session: Session::new(now, config.clone(), transport),
            peer: Peer::new(config.revision),
            config,
            now,
            requests: Vec::new(),
            websockets: Vec::new(),
            sent: 0,
            heard: 0,
            owed: 0,
            told: false,
            opened: false,
            closed: false,
            finished: false,
            owes_since: None,
        };
        driver.drain();
        driver
    }

    /// The server accepts the session, by what it was asked.
    pub fn open_in_good_order(&mut self, script: &mut Script<'_>) {
        self.open_by_poll(script);
        self.open_websocket(script);
        if self.session.opened().is_none() {
            let open = open_packet(script);
            self.frame(script, Frame::text(open));
        }
    }

    /// A poll brings an open packet, which belongs there the first time only.
    pub fn open_by_poll(&mut self, script: &mut Script<'_>) {
        let open = open_packet(script);
        let body = match self.config.revision {
            Revision::V3 => format!("{}:{open}", open.len()),
            _ => open,
        };
        self.bring(script, Payload::text(body));
    }

    /// A request of this kind, among them such as are over: answers come late too.
    fn some_request(&self, script: &mut Script<'_>, kind: Kind) -> Option<RequestId> {
        let of_kind = self
            .requests
            .iter()
            .rev()
            .filter(|(_, its, _)| *its == kind);
        let known: Vec<_> = of_kind.take(3).map(|(id, _, _)| *id).collect();
        (!known.is_empty()).then(|| script.pick(&known))
    }

    /// A poll brings what the server wants to say.
    pub fn answer_poll(&mut self, script: &mut Script<'_>) {
        let before = self.peer.sent();
        let body = self.peer.payload(script);
        if let Some(last) = self.bring(script, body).filter(|&last| last > before) {
            self.owed = last;
        }
    }

    /// Gives the number of the last message there is, if the client took the body in.
    fn bring(&mut self, script: &mut Script<'_>, body: Payload) -> Option<u32> {
        let Some(id) = self.some_request(script, Kind::Poll) else {
            return None;
        };
        let is_heard = self.state(id) == Request::UnderWay && self.session.is_open();
        self.set(id, Request::UnderWay, Request::Answered);
        if is_heard {
            self.owe_pong(self.peer.packets(body.clone()));
        }
        self.input(Input::PollAnswered(id, body));
        (is_heard && self.session.is_open()).then(|| self.peer.sent())
    }

    pub fn answer_post(&mut self, script: &mut Script<'_>) {
        if let Some(id) = self.some_request(script, Kind::Post) {
            self.set(id, Request::UnderWay, Request::Answered);
            // A server may answer before it was asked all of it.
            self.set(id, Request::Announced, Request::Answered);
            self.input(Input::PostAnswered(id));
        }
    }

    pub fn fail(&mut self, script: &mut Script<'_>, kind: Kind, reasons: [DisconnectReason; 4]) {
        let reason = script.pick(&reasons);
        if let Some(id) = self.some_request(script, kind) {
            self.set(id, Request::UnderWay, Request::Answered);
            self.set(id, Request::Announced, Request::Answered);
            self.input(match kind {
                Kind::Poll => Input::PollFailed(id, reason),
                Kind::Post => Input::PostFailed(id, reason),
            });
        }
    }

    fn some_websocket(&self, script: &mut Script<'_>) -> Option<LinkId> {
        (!self.websockets.is_empty()).then(|| script.pick(&self.websockets).0)
    }

    pub fn open_websocket(&mut self, script: &mut Script<'_>) {
        if let Some(id) = self.some_websocket(script)
            && self.set_websocket(id, WebSocket::Opening, WebSocket::Open)
        {
            self.input(Input::LinkOpened(id));
        }
    }

    /// A driver reads a WebSocket for as long as the session wants to, and until its end.
    pub fn frame(&mut self, script: &mut Script<'_>, frame: Frame) {
        if let Some(id) = self.some_websocket(script)
            && self.websockets.contains(&(id, WebSocket::Open))
            && self.session.wants_input()
        {
            if self.session.transport() != Transport::Polling {
                self.owe_pong(self.peer.decode(frame.clone()));
            }
            self.input(Input::LinkFrame(id, frame));
        }
    }

    /// Sends a packet of a server that belongs to an upgrade or an opening.
    pub fn say(&mut self, script: &mut Script<'_>) {
        let text = match script.below(4) {
            0 => open_packet(script),
            1 => "2".to_owned(),
            _ => "3probe".to_owned(),
        };
        self.frame(script, Frame::text(text));
    }

    pub fn lose_websocket(&mut self, script: &mut Script<'_>, reasons: [DisconnectReason; 4]) {
        let reason = script.pick(&reasons);
        if let Some(id) = self.some_websocket(script)
            && (self.set_websocket(id, WebSocket::Open, WebSocket::Lost)
                || self.set_websocket(id, WebSocket::Opening, WebSocket::Lost))
        {
            self.input(Input::LinkClosed(id, reason));
        }
    }

    pub fn input(&mut self, input: Input) {
        self.session.handle_input(self.now, input);
        self.drain();
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
        self.session.close(self.now);
        self.drain();
    }

    pub fn abort(&mut self) {
        self.session.abort(DisconnectReason::TransportError);
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

    pub fn take_all_events(&mut self) {
        while self.told {
            self.take_event();
        }
    }

    fn hear(&mut self, event: Event) {
        assert!(!self.closed, "{event:?} after the end");
        match event {
            Event::Opened => {
                assert!(!self.opened, "opened twice");
                self.opened = true;
            }
            Event::Closed(reason) => {
                assert_eq!(self.session.closed(), Some(reason));
                self.closed = true;
            }
            event => {
                assert!(self.opened, "{event:?} before the open packet");
                if let Event::Message(message) = event {
                    in_order(&message, &mut self.heard);
                }
            }
        }
    }

    /// Writes what can be written: the bodies of POSTs, and frames.
    pub fn write(&mut self) {
        let opened = self.session.opened();
        let limit = opened.and_then(|opened| opened.max_payload());
        for (id, kind, state) in self.requests.clone() {
            let payload = self.session.take_payload(id);
            let is_due = (kind, state) == (Kind::Post, Request::Announced);
            assert_eq!(payload.is_some(), is_due, "{id:?} {kind:?} {state:?}");
            if let Some(payload) = payload {
                self.owes_since = None;
                self.peer.read_payload(payload, limit.unwrap_or(usize::MAX));
                self.set(id, Request::Announced, Request::UnderWay);
            }
            self.drain();
        }
        for (id, state) in self.websockets.clone() {
            while let Some(frame) = self.session.take_frame(id) {
                assert_eq!(state, WebSocket::Open);
                self.owes_since = None;
                self.peer.read_frame(frame);
                self.drain();
            }
        }
    }

    fn state(&self, id: RequestId) -> Request {
        let known = self.requests.iter().find(|(its, _, _)| *its == id);
        known.expect("a request that was made").2
    }

    fn set(&mut self, id: RequestId, from: Request, to: Request) -> bool {
        let same = |known: &&mut (RequestId, Kind, Request)| known.0 == id && known.2 == from;
        let known = self.requests.iter_mut().find(same);
        known.map(|known| known.2 = to).is_some()
    }

    fn set_websocket(&mut self, id: LinkId, from: WebSocket, to: WebSocket) -> bool {
        let known = self
            .websockets
            .iter_mut()
            .find(|known| **known == (id, from));
        known.map(|known| known.1 = to).is_some()
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
        assert!(!self.finished, "{output:?} after the end");
        match output {
            Output::Poll(id) => self.begin(id, Kind::Poll, Request::UnderWay),
            Output::Post(id) => self.begin(id, Kind::Post, Request::Announced),
            Output::Cancel(id) => {
                let is_known = self.set(id, Request::UnderWay, Request::Cancelled)
                    || self.set(id, Request::Announced, Request::Cancelled);
                assert!(is_known, "{id:?} is given up though it is over");
            }
            Output::OpenLink(id, _) => self.websockets.push((id, WebSocket::Opening)),
            Output::SendFrames(id) => {
                let is_open = self.websockets.contains(&(id, WebSocket::Open));
                assert!(is_open, "frames for a WebSocket that is not open");
            }
            Output::CloseLink(id, _) => {
                let is_known = self.set_websocket(id, WebSocket::Open, WebSocket::Closed)
                    || self.set_websocket(id, WebSocket::Opening, WebSocket::Closed)
                    // One whose loss ends the session is released like any other.
                    || self.set_websocket(id, WebSocket::Lost, WebSocket::Closed);
                assert!(is_known, "a WebSocket is closed once");
            }
            Output::Events => {
                assert!(!self.told, "events are announced once");
                self.told = true;
            }
            Output::Finished => self.finished = true,
            _ => {}
        }
    }

    fn begin(&mut self, id: RequestId, kind: Kind, state: Request) {
        let is_live = |known: &&(RequestId, Kind, Request)| {
            known.1 == kind && matches!(known.2, Request::Announced | Request::UnderWay)
        };
        let other = self.requests.iter().find(is_live);
        assert_eq!(other, None, "two of {kind:?} at once");
        self.requests.push((id, kind, state));
    }

    /// The client of revision 4 takes these packets in, up to the end of the session.
    fn owe_pong(&mut self, packets: impl IntoIterator<Item = Packet>) {
        let mut packets = packets.into_iter();
        let is_ping = packets.find(|packet| matches!(packet, Packet::Ping(_) | Packet::Close));
        if self.config.revision == Revision::V4 && matches!(is_ping, Some(Packet::Ping(_))) {
            self.owes_since.get_or_insert(self.now);
        }
    }

    /// A server that takes nothing is left, although it goes on to send.
    fn check_untaken(&mut self) {
        let session = &self.session;
        let Some(opened) = session.opened().filter(|_| session.is_open()) else {
            self.owes_since = None;
            return;
        };
        if session.inbox_bytes() > self.config.inbox_limit {
            self.owes_since = None;
        }
        let mut patience = opened.patience();
        if self.config.revision == Revision::V3 {
            // This client pings, an interval after the last time at the latest.
            patience += opened.ping_interval().max(Duration::from_millis(100));
            self.owes_since.get_or_insert(self.now);
        }
        if let Some(since) = self.owes_since {
            assert!(self.now <= since + patience, "the server takes nothing");
        }
    }

    fn check(&mut self) {
        self.check_untaken();
        let session = &self.session;
        let is_live = session.closed().is_none();
        assert_eq!(session.poll_timeout().is_some(), is_live, "no deadline");
        let limit = self.config.outbox_limit;
        assert!(session.queued_bytes() <= limit || session.queued_messages() == 1);
        assert!(!self.finished || !is_live);
    }

    /// Ends the session at once: nothing hangs, and everybody has heard of it.
    pub fn end(mut self) {
        self.abort();
        self.take_all_events();
        self.write();
        assert!(self.heard >= self.owed, "lost after {}", self.heard);
        for (id, _, state) in &self.requests {
            let is_settled = matches!(state, Request::Answered | Request::Cancelled);
            assert!(is_settled, "{id:?} hangs: {state:?}");
        }
        assert!(
            self.finished && self.closed,
            "the session was not given back"
        );
        assert_eq!(self.session.queued_bytes(), 0);
        let is_over = |state| matches!(state, WebSocket::Closed | WebSocket::Lost);
        assert!(self.websockets.iter().all(|&(_, state)| is_over(state)));
    }
}

/// The terms of a server, some of them strange.
fn open_packet(script: &mut Script<'_>) -> String {
    let interval = script.pick(&[25_000_u64, 100, 0, u64::MAX]);
    let timeout = script.pick(&[20_000_u64, 100, 0, u64::MAX]);
    let limit = script.pick(&[ServerConfig::default().max_payload, 40, 0]);
    let upgrades = script.pick(&[
        r#"["websocket"]"#,
        "[]",
        r#"["websocket","webtransport"]"#,
        "[]",
    ]);
    format!(
        r#"0{{"sid":"abc","upgrades":{upgrades},"pingInterval":{interval},"pingTimeout":{timeout},"maxPayload":{limit}}}"#
    )
}
