//! Time, the network between client and server, and the record of what was sent and what arrived.

use std::collections::BTreeMap;

use bytes::Bytes;
use engineio_core::server::ExchangeId;
use engineio_core::{Frame, LinkId, Message};

use crate::xorshift::Xorshift;

/// An event in the future.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    // At the server.
    Get(u32),
    GetAborted(u32),
    Post(u32),
    PostBody(u32, Bytes),
    WebSocketRequest(u32),
    FrameIn(u32, Frame),
    WebSocketGone(u32),
    WritePayload(ExchangeId),
    WriteFrames(LinkId),
    AppTakes,
    // At the client; the answer of a GET is `None` if it was refused.
    GetDone(u32, Option<Bytes>),
    PostDone(u32, bool),
    WebSocketOpen(u32),
    FrameOut(u32, Frame),
    WebSocketClosed(u32),
    // Out of the blue.
    ServerSends,
    ClientSends,
    ClientUpgrades,
    WebSocketIsCut,
    Quiet,
    Settled,
    End,
}

/// One direction of a WebSocket, in which nothing overtakes.
#[derive(Default)]
pub(crate) struct Pipe {
    last: u64,
}

impl Pipe {
    /// Now and then, what follows takes up to `most` milliseconds longer.
    pub(crate) fn delay(&mut self, world: &mut World, most: usize) {
        if world.random.one_in(4) {
            self.last += world.random.below(most) as u64;
        }
    }
}

pub(crate) struct World {
    pub(crate) random: Xorshift,
    /// Milliseconds since the beginning.
    pub(crate) now: u64,
    number: u64,
    coming: BTreeMap<(u64, u64), Happening>,
    pub(crate) to_client: Record,
    pub(crate) to_server: Record,
    /// The last POST that the server knows of.
    pub(crate) post_begun: Option<u32>,
}

/// The messages of one direction.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) sent: Vec<Message>,
    pub(crate) arrived: usize,
}

impl Record {
    /// A message arrived: it must be the next one, or one was lost, doubled or overtaken.
    pub(crate) fn arrive(&mut self, message: &Message) {
        let expected = self.sent.get(self.arrived);
        assert_eq!(Some(message), expected, "message {}", self.arrived);
        self.arrived += 1;
    }

    pub(crate) fn all_arrived(&self) -> bool {
        self.arrived == self.sent.len()
    }

    /// A message that is like no other of this direction.
    pub(crate) fn next_message(&self, random: &mut Xorshift) -> Message {
        let number = self.sent.len();
        if random.one_in(3) {
            let mut bytes = number.to_le_bytes().to_vec();
            bytes.extend_from_slice(&random.bytes(20));
            Message::from(bytes)
        } else {
            Message::from(format!("{number} {}", random.text(12)))
        }
    }
}

impl World {
    pub(crate) fn new(random: Xorshift) -> Self {
        Self {
            random,
            now: 0,
            number: 0,
            coming: BTreeMap::new(),
            to_client: Record::default(),
            to_server: Record::default(),
            post_begun: None,
        }
    }

    /// Something happens between now and `most` milliseconds later.
    pub(crate) fn within(&mut self, most: usize, happening: Happening) {
        let delay = self.random.below(most + 1) as u64;
        self.at(self.now + delay, happening);
    }

    pub(crate) fn at(&mut self, time: u64, happening: Happening) {
        self.number += 1;
        self.coming.insert((time, self.number), happening);
    }

    /// Something crosses the network on a connection of its own.
    pub(crate) fn travel(&mut self, happening: Happening) {
        self.within(60, happening);
    }

    /// Something crosses the network on a WebSocket.
    pub(crate) fn flow(&mut self, pipe: &mut Pipe, happening: Happening) {
        pipe.last = pipe.last.max(self.now + self.random.below(60) as u64);
        self.at(pipe.last, happening);
    }

    pub(crate) fn next_time(&self) -> Option<u64> {
        self.coming.keys().next().map(|&(time, _)| time)
    }

    pub(crate) fn pop(&mut self) -> Option<Happening> {
        let ((time, _), happening) = self.coming.pop_first()?;
        self.now = self.now.max(time);
        Some(happening)
    }

    /// The line is dead: nothing that the client sends arrives any more, and nothing comes to it.
    pub(crate) fn cut_off_client(&mut self) {
        self.coming.retain(|_, happening| {
            matches!(
                happening,
                Happening::WritePayload(_) | Happening::WriteFrames(_) | Happening::AppTakes
            )
        });
    }

    /// Frames that are on their way in a WebSocket that is cut are lost.
    pub(crate) fn cut_websocket(&mut self, websocket: u32) {
        self.coming.retain(|_, happening| match happening {
            Happening::FrameIn(id, _)
            | Happening::FrameOut(id, _)
            | Happening::WebSocketOpen(id)
            | Happening::WebSocketRequest(id)
            | Happening::WebSocketClosed(id)
            | Happening::WebSocketGone(id) => *id != websocket,
            _ => true,
        });
    }
}
