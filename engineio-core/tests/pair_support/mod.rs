//! A client's session and a server's session, joined by a simulated wire that owns the time.

// Each test file uses its own part of this.
#![allow(dead_code)]

mod ends;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engineio_core::client::{self, RequestId};
use engineio_core::server::{self, ExchangeId};
use engineio_core::{
    Config, DisconnectReason, Frame, LinkId, Message, Payload, Revision, Sid, Transport,
};

use crate::vigil::Vigil;

/// The parcels between the two sides.
enum Parcel {
    Poll(RequestId),
    Post(RequestId, Payload),
    /// The rest of a POST whose head has arrived.
    PostBody(ExchangeId, Payload),
    PollAnswer(RequestId, Result<Payload, DisconnectReason>),
    PostAnswer(RequestId, Result<(), DisconnectReason>),
    Aborted(RequestId),
    Connect(LinkId, Transport),
    Connected(LinkId, Result<(), DisconnectReason>),
    ToServer(LinkId, Option<Frame>),
    ToClient(LinkId, Option<Frame>),
}

/// One request that the server has not answered yet.
struct Exchange {
    request: RequestId,
    is_poll: bool,
}

pub(crate) struct Pair {
    pub(crate) client: client::Session,
    pub(crate) server: Option<server::Session>,
    server_config: Arc<Config>,
    revision: Revision,
    pub(crate) now: Instant,
    pub(crate) latency: Duration,
    /// Payload vanish and nothing is closed.
    pub(crate) is_cut: bool,
    /// The time that it takes to open a WebTransport session, beyond the latency.
    pub(crate) webtransport_delay: Duration,
    /// The next WebSocket is refused, as by a proxy.
    pub(crate) refuse_websocket: bool,
    wire: Vec<(Instant, Parcel)>,
    /// The number of parcels that have arrived, and of steps in time.
    pub(crate) steps: usize,
    /// By the server's name for them.
    exchanges: HashMap<ExchangeId, Exchange>,
    /// Requests that the client has neither seen answered nor given up.
    in_flight: Vec<(RequestId, bool)>,
    websockets: HashMap<LinkId, LinkId>,
    /// The time at which the last frame of each direction arrives, because frames never overtake each other.
    arrivals: [Instant; 2],
    pub(crate) client_sent: Vec<String>,
    pub(crate) server_sent: Vec<String>,
    pub(crate) client_events: Vec<client::Event>,
    pub(crate) server_events: Vec<server::Event>,
    /// The refusals of the server while its session was open, each of which is a fault of one of the machines.
    pub(crate) refusals: Vec<String>,
    vigil: Option<Vigil>,
    /// The time at which the client last heard from its server.
    heard: Instant,
}

impl Pair {
    pub(crate) fn new(transport: Transport) -> Self {
        Self::with(client::Config::default(), Config::default(), transport)
    }

    pub(crate) fn with(client: client::Config, server: Config, transport: Transport) -> Self {
        let now = Instant::now();
        let mut pair = Self {
            revision: client.revision,
            client: client::Session::new(now, client, transport),
            server: None,
            server_config: Arc::new(server),
            now,
            latency: Duration::from_millis(10),
            is_cut: false,
            webtransport_delay: Duration::ZERO,
            refuse_websocket: false,
            wire: Vec::new(),
            steps: 0,
            exchanges: HashMap::new(),
            in_flight: Vec::new(),
            websockets: HashMap::new(),
            arrivals: [now; 2],
            client_sent: Vec::new(),
            server_sent: Vec::new(),
            client_events: Vec::new(),
            server_events: Vec::new(),
            refusals: Vec::new(),
            vigil: None,
            heard: now,
        };
        pair.settle();
        pair
    }

    /// A pair whose client has just heard of its session.
    pub(crate) fn open(transport: Transport) -> Self {
        let mut pair = Self::new(transport);
        while !pair.client.is_open() {
            pair.step();
        }
        pair
    }

    pub(crate) fn client_send(&mut self) {
        let text = format!("c{}", self.client_sent.len());
        if self.client.send(Message::from(&text)).is_ok() {
            self.client_sent.push(text);
        }
        self.settle();
    }

    pub(crate) fn server_send(&mut self) {
        let text = format!("s{}", self.server_sent.len());
        if let Some(server) = &mut self.server
            && server.send(Message::from(&text)).is_ok()
        {
            self.server_sent.push(text);
        }
        self.settle();
    }

    pub(crate) fn client_close(&mut self) {
        self.client.close(self.now);
        self.settle();
    }

    pub(crate) fn server_close(&mut self) {
        if let Some(server) = &mut self.server {
            server.close(self.now, DisconnectReason::Server);
        }
        self.settle();
    }

    /// A proxy resets the connection of the poll.
    pub(crate) fn abort_poll(&mut self) {
        let Some(&(request, _)) = self.in_flight.iter().find(|(_, is_poll)| *is_poll) else {
            return;
        };
        if self.is_answered(request) {
            return;
        }
        let reason = DisconnectReason::TransportError;
        self.post(Parcel::PollAnswer(request, Err(reason)));
        self.post(Parcel::Aborted(request));
        self.settle();
    }

    /// The connection of the WebSocket breaks, for both ends.
    pub(crate) fn close_websocket(&mut self) {
        let Some(&id) = self.websockets.keys().next() else {
            return;
        };
        self.frame(Parcel::ToServer(id, None));
        self.frame(Parcel::ToClient(id, None));
        self.settle();
    }

    /// Lets time pass up to the next thing that happens, if it happens within a minute of it. Returns whether anything
    /// did.
    pub(crate) fn step(&mut self) -> bool {
        let timers = [
            self.client.poll_timeout(),
            self.server.as_ref().and_then(server::Session::poll_timeout),
        ];
        let parcels = self.wire.iter().map(|(at, _)| *at);
        let Some(next) = timers.into_iter().flatten().chain(parcels).min() else {
            return false;
        };
        self.advance_to(next.max(self.now));
        true
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        let until = self.now + by;
        loop {
            let parcels = self.wire.iter().map(|(at, _)| *at);
            let server = self.server.as_ref();
            let timers = [
                self.client.poll_timeout(),
                server.and_then(server::Session::poll_timeout),
            ];
            match timers.into_iter().flatten().chain(parcels).min() {
                Some(next) if next <= until => self.advance_to(next.max(self.now)),
                _ => break,
            }
        }
        self.advance_to(until);
    }

    fn advance_to(&mut self, now: Instant) {
        self.now = now;
        self.steps += 1;
        // Those of one instant arrive in the order in which they were sent.
        while let Some(at) = self.wire.iter().position(|(at, _)| *at <= now) {
            let first = (0..self.wire.len())
                .filter(|&i| self.wire[i].0 <= now)
                .min_by_key(|&i| (self.wire[i].0, i));
            let (_, parcel) = self.wire.remove(first.unwrap_or(at));
            self.deliver(parcel);
            self.settle();
            self.steps += 1;
        }
        self.client.handle_input(now, client::Input::Timeout);
        if let Some(server) = &mut self.server {
            server.handle_input(now, server::Input::Timeout);
        }
        self.settle();
        self.check_silence();
    }

    /// Neither side waits longer for the other than it may. The applications take what comes.
    fn check_silence(&mut self) {
        if let (Some(vigil), Some(server)) = (&mut self.vigil, &self.server) {
            vigil.check(self.now, server);
        }
        if let Some(opened) = self.client.opened().filter(|_| self.client.is_open()) {
            let end = self.heard + opened.patience();
            assert!(self.now <= end, "the client waits for a silent server");
        }
    }

    fn post(&mut self, parcel: Parcel) {
        if !self.is_cut {
            self.wire.push((self.now + self.latency, parcel));
        }
    }

    fn connect(&mut self, id: LinkId, transport: Transport) {
        let parcel = Parcel::Connect(id, transport);
        match transport {
            Transport::WebTransport if !self.is_cut => {
                let at = self.now + self.latency + self.webtransport_delay;
                self.wire.push((at, parcel));
            }
            _ => self.frame(parcel),
        }
    }

    /// Sends what travels on a WebSocket, behind all that travels there already.
    fn frame(&mut self, parcel: Parcel) {
        let direction = usize::from(matches!(parcel, Parcel::ToServer(..)));
        let at = (self.now + self.latency).max(self.arrivals[direction]);
        self.arrivals[direction] = at;
        if !self.is_cut {
            self.wire.push((at, parcel));
        }
    }

    /// Sends the one answer that a request gets.
    fn answer(&mut self, request: RequestId, parcel: Parcel) {
        self.exchanges
            .retain(|_, exchange| exchange.request != request);
        if !self.is_answered(request) {
            self.post(parcel);
        }
    }

    /// Whether the answer to the request is on its way.
    fn is_answered(&self, request: RequestId) -> bool {
        self.wire.iter().any(|(_, parcel)| {
            matches!(parcel, Parcel::PollAnswer(id, _) | Parcel::PostAnswer(id, _) if *id == request)
        })
    }

    pub(crate) fn texts_of_client(&self) -> Vec<String> {
        let texts = self.client_events.iter().filter_map(|event| match event {
            client::Event::Message(message) => message.as_text().map(str::to_owned),
            _ => None,
        });
        texts.collect()
    }

    pub(crate) fn texts_of_server(&self) -> Vec<String> {
        let texts = self.server_events.iter().filter_map(|event| match event {
            server::Event::Message(message) => message.as_text().map(str::to_owned),
            _ => None,
        });
        texts.collect()
    }

    /// The four invariants of any history.
    #[track_caller]
    pub(crate) fn check(&self) {
        let (up, down) = (self.texts_of_server(), self.texts_of_client());
        assert!(
            self.client_sent.starts_with(&up),
            "up: {:?} got {up:?}",
            self.client_sent
        );
        assert!(
            self.server_sent.starts_with(&down),
            "down: {:?} got {down:?}",
            self.server_sent
        );

        for is_poll in [true, false] {
            let count = self
                .in_flight
                .iter()
                .filter(|(_, poll)| *poll == is_poll)
                .count();
            assert!(count <= 1, "{count} requests at once");
        }
        assert_eq!(self.refusals, Vec::<String>::new());

        assert_eq!(
            self.client.poll_timeout().is_none(),
            self.client.closed().is_some()
        );
        if let Some(server) = &self.server {
            assert!(server.poll_timeout().is_some() || server.closed().is_some());
        }

        let ends = |event: &&client::Event| matches!(event, client::Event::Closed(_));
        let count = self.client_events.iter().filter(ends).count();
        assert_eq!(count, usize::from(self.client.closed().is_some()));
        let ends = |event: &&server::Event| matches!(event, server::Event::Closed(_));
        let count = self.server_events.iter().filter(ends).count();
        let closed = self
            .server
            .as_ref()
            .is_some_and(|server| server.closed().is_some());
        assert_eq!(count, usize::from(closed));
    }

    fn new_server(&mut self) -> server::Session {
        let vigil = Vigil::new(self.now, &self.server_config, self.revision);
        self.vigil = Some(vigil);
        let sid = Sid::from_random([7; 15]);
        let config = Arc::clone(&self.server_config);
        server::Session::new(config, sid, self.revision, false)
    }
}
