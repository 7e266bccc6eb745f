//! The Engine.IO server of the scenarios, and its reports about its clients.

use std::net::SocketAddr;
use std::time::Duration;

use engineio_tower::{
    ConnectRequest, DisconnectReason, Message, Rejection, Server, ServerBuilder, Sid, Socket,
    Transport,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::MissedTickBehavior;

use crate::within;

/// The largest payload of the server.
pub const MAX_PAYLOAD: usize = 300_000;

/// Something that happened to a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// It was accepted.
    Connected(Sid, Option<SocketAddr>),
    /// It moved to WebSocket.
    Upgraded(Sid),
    /// It is gone.
    Disconnected(Sid, DisconnectReason),
}

/// The events, in order.
#[derive(Debug)]
pub struct Events(UnboundedReceiver<Event>);

impl Events {
    /// The next event.
    pub async fn next(&mut self) -> Event {
        within("an event", self.0.recv()).await.unwrap()
    }

    /// Waits for the end of the only client, and returns its reason.
    pub async fn disconnected(&mut self) -> DisconnectReason {
        loop {
            if let Event::Disconnected(_, reason) = self.next().await {
                return reason;
            }
        }
    }

    /// Whether there is no unread event.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A server that echoes, except for the texts that `answer` knows, and its events.
#[must_use]
pub fn echo(configure: impl FnOnce(ServerBuilder) -> ServerBuilder) -> (Server, Events) {
    let (told, events) = unbounded_channel();
    (server(configure, told), Events(events))
}

/// Several of them, whose events go to one channel.
#[must_use]
pub fn echoes(
    count: usize,
    configure: impl Fn(ServerBuilder) -> ServerBuilder,
) -> (Vec<Server>, Events) {
    let (told, events) = unbounded_channel();
    let servers = (0..count).map(|_| server(&configure, told.clone()));
    (servers.collect(), Events(events))
}

fn server(
    configure: impl FnOnce(ServerBuilder) -> ServerBuilder,
    told: UnboundedSender<Event>,
) -> Server {
    let tell = move |event| {
        // The scenario may be over.
        let _ = told.send(event);
    };
    let (connected, upgraded, disconnected) = (tell.clone(), tell.clone(), tell);
    let builder = Server::builder()
        .max_payload(MAX_PAYLOAD)
        .on_connect(move |socket: Socket, request: ConnectRequest| {
            if request.query("reject").is_some() {
                return Err(Rejection::unauthorized().json("rejected"));
            }
            connected(Event::Connected(socket.sid(), request.peer_addr()));
            Ok(())
        })
        .on_message(answer)
        .on_upgrade(move |socket: Socket| upgraded(Event::Upgraded(socket.sid())))
        .on_disconnect(move |socket: Socket, reason| {
            disconnected(Event::Disconnected(socket.sid(), reason));
        });
    configure(builder).build()
}

/// Answers a message: `twice` by two messages 1 ms apart, `flood` by numbers until the client has moved to WebSocket and
/// then a hundred more and `end`, anything else by itself.
async fn answer(socket: Socket, message: Message) {
    let text = message.as_text().unwrap_or_default().to_owned();
    let mut pace = tokio::time::interval(Duration::from_millis(1));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    if text == "twice" {
        pace.tick().await;
        let _ = socket.send("first").await;
        pace.tick().await;
        let _ = socket.send("second").await;
    } else if text == "flood" {
        let mut rest = 100;
        for number in 0.. {
            if rest == 0 || socket.send(number.to_string()).await.is_err() {
                break;
            }
            if socket.transport() == Transport::WebSocket {
                rest -= 1;
            } else if number % 10 == 9 {
                // Leisure enough for requests to come in between.
                pace.tick().await;
            }
        }
        let _ = socket.send("end").await;
    } else {
        let _ = socket.send(message).await;
    }
}
