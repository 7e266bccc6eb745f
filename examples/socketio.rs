//! A Socket.IO server on Engine.IO: namespaces, events, acknowledgements, rooms and binary attachments.
//!
//! ```text
//! cargo run -p engineio-examples --example socketio
//! ```
//!
//! socket.io-client 4 and 2 connect to it. It shows how to build on this API; it is not a library. A packet is `type
//! [attachments "-"] [namespace ","] [id] [json]`, followed by its attachments (socket.io-protocol 5 and 4).

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use engineio_tower::{
    ConnectRequest, DisconnectReason, EngineIoService, Handler, Message, Rejection, Revision,
    Server, Sid, Socket,
};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

/// The types of packets. An event or acknowledgement with attachments has a number that is higher by 3.
const CONNECT: u8 = 0;
const DISCONNECT: u8 = 1;
const EVENT: u8 = 2;
const ACK: u8 = 3;
const CONNECT_ERROR: u8 = 4;

/// The id of the question that the server asks.
const QUESTION: u64 = 7;

/// The largest number of rooms that a client may be in, and of bytes in a name: a stranger could fill the memory otherwise.
const MOST: usize = 100;

/// Names that the clients use for their own events.
const RESERVED: &str = "connect connect_error disconnect disconnecting newListener removeListener";

struct Packet {
    kind: u8,
    namespace: String,
    id: Option<u64>,
    data: Value,
    attachments: Vec<Message>,
}

impl Packet {
    fn new(kind: u8, namespace: &str, id: Option<u64>, data: Value) -> Self {
        Self {
            kind,
            namespace: namespace.to_owned(),
            id,
            data,
            attachments: Vec::new(),
        }
    }

    /// Parses the text of a packet. Returns how many attachments follow it, too, or `None` if it is malformed.
    fn parse(text: &str) -> Option<(Self, u64)> {
        let kind = text.bytes().next()?.checked_sub(b'0')?;
        let mut rest = text.get(1..)?;
        let (mut base, mut attachments) = (kind, 0);
        if let 5 | 6 = kind {
            let (count, after) = rest.split_once('-')?;
            (base, attachments, rest) = (kind - 3, count.parse().ok()?, after);
        }
        let mut namespace = "/";
        if rest.starts_with('/') {
            (namespace, rest) = rest.split_once(',').unwrap_or((rest, ""));
        }
        let (id, json) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
        let id = (!id.is_empty()).then(|| id.parse()).transpose().ok()?;
        let data = match json {
            "" => Value::Null,
            json => serde_json::from_str(json).ok()?,
        };
        let is_valid = match base {
            CONNECT => data.is_null() || data.is_object(),
            DISCONNECT => data.is_null(),
            EVENT => data[0].is_string() && !RESERVED.split(' ').any(|name| data[0] == name),
            ACK => data.is_array() && id.is_some(),
            _ => false,
        };
        let are_attached = kind == base || attachments <= 10 && fits(&data, attachments);
        // socket.io-client 2 puts a query behind the namespace.
        let packet = Self::new(base, namespace.split('?').next()?, id, data);
        (is_valid && are_attached).then_some((packet, attachments))
    }

    /// Returns the messages of the packet, between which no other may come.
    fn messages(&self) -> Vec<Message> {
        let mut text = match self.attachments.len() {
            0 => self.kind.to_string(),
            count => format!("{}{count}-", self.kind + 3),
        };
        if self.namespace != "/" {
            text = format!("{text}{},", self.namespace);
        }
        if let Some(id) = self.id {
            text += &id.to_string();
        }
        if !self.data.is_null() {
            text += &self.data.to_string();
        }
        let attachments = self.attachments.iter().cloned();
        std::iter::once(text.into()).chain(attachments).collect()
    }
}

/// Returns whether each placeholder in the data stands for one of so many attachments.
fn fits(data: &Value, count: u64) -> bool {
    match data {
        _ if data["_placeholder"] == true => data["num"].as_u64().is_some_and(|num| num < count),
        Value::Array(values) => values.iter().all(|value| fits(value, count)),
        Value::Object(map) => map.values().all(|value| fits(value, count)),
        _ => true,
    }
}

/// A namespace, and the name of a room in it.
type Room = (String, String);

/// The state of a client, attached to its socket.
#[derive(Default)]
struct Client {
    /// The namespaces it is in, and whether it owes an acknowledgement in each.
    namespaces: HashMap<String, bool>,
    rooms: HashSet<Room>,
    /// A packet whose attachments are still to come, and how many they are.
    incomplete: Option<(Packet, u64)>,
}

async fn send(socket: &Socket, kind: u8, namespace: &str, id: Option<u64>, data: Value) {
    deliver(socket, &Packet::new(kind, namespace, id, data)).await;
}

/// Sends a packet. A client that cannot get it is disconnected, rather than going on without it.
async fn deliver(socket: &Socket, packet: &Packet) {
    let sent = socket.send_many(packet.messages()).await;
    sent.unwrap_or_else(|_| socket.close());
}

impl Client {
    /// Takes in a message. Returns the packet that it completes, or an error if it belongs to none.
    fn receive(&mut self, message: Message) -> Result<Option<Packet>, ()> {
        let (mut packet, mut missing) = match (message.as_text(), self.incomplete.take()) {
            (Some(text), None) => Packet::parse(text).ok_or(())?,
            (None, Some(incomplete)) => incomplete,
            _ => return Err(()),
        };
        if message.is_binary() {
            packet.attachments.push(message);
            missing -= 1;
        }
        if missing > 0 {
            self.incomplete = Some((packet, missing));
            return Ok(None);
        }
        Ok(Some(packet))
    }
}

#[derive(Default)]
struct SocketIo {
    rooms: Mutex<HashMap<Room, HashMap<Sid, Socket>>>,
}

impl Handler for SocketIo {
    async fn connect(&self, socket: &Socket, _: &ConnectRequest) -> Result<(), Rejection> {
        let client = Mutex::new(Client::default());
        if socket.revision() == Revision::V3 {
            self.enter(socket, &client, "/").await;
        }
        socket.set(client);
        Ok(())
    }

    async fn message(&self, socket: &Socket, message: Message) {
        let client = socket.get::<Mutex<Client>>().unwrap_or_default();
        let received = client.lock().unwrap().receive(message);
        match received {
            Ok(Some(packet)) => self.handle(socket, &client, packet).await,
            Ok(None) => {}
            Err(()) => socket.close(),
        }
    }

    async fn disconnect(&self, socket: &Socket, _: DisconnectReason) {
        let client = socket.get::<Mutex<Client>>().unwrap_or_default();
        self.leave_rooms(socket, &client, None);
    }
}

impl SocketIo {
    async fn handle(&self, socket: &Socket, client: &Mutex<Client>, mut packet: Packet) {
        let namespace = &packet.namespace.clone();
        let asked = client.lock().unwrap().namespaces.get(namespace).copied();
        let refuse = async |message| {
            let data = json!({ "message": message });
            send(socket, CONNECT_ERROR, namespace, None, data).await;
        };
        match (packet.kind, asked) {
            (CONNECT, None) => match namespace.as_str() {
                "/admin" if packet.data["token"] != "secret" => refuse("not allowed").await,
                "/" | "/chat" | "/admin" => self.enter(socket, client, namespace).await,
                _ => refuse("Invalid namespace").await,
            },
            (DISCONNECT, Some(_)) => {
                client.lock().unwrap().namespaces.remove(namespace);
                self.leave_rooms(socket, client, Some(namespace));
            }
            (EVENT, Some(_)) => self.on_event(socket, client, packet).await,
            (ACK, Some(true)) if packet.id == Some(QUESTION) => {
                let name = namespace.clone();
                client.lock().unwrap().namespaces.insert(name, false);
                if let Value::Array(data) = &mut packet.data {
                    data.insert(0, json!("answered"));
                }
                (packet.kind, packet.id) = (EVENT, None);
                deliver(socket, &packet).await;
            }
            // Nobody waits for it.
            (ACK, Some(_)) => {}
            _ => socket.close(),
        }
    }

    /// The application: `join` a room, `say` something to its members, be asked a `question`, and an echo of all else.
    async fn on_event(&self, socket: &Socket, client: &Mutex<Client>, mut packet: Packet) {
        let text = |index: usize| packet.data[index].as_str().unwrap_or_default().to_owned();
        let room = (packet.namespace.clone(), text(1));
        match text(0).as_str() {
            "join" => {
                let joined = &mut client.lock().unwrap().rooms;
                joined.insert(room.clone());
                if joined.len() > MOST || room.1.len() > MOST {
                    return socket.close();
                }
                let mut rooms = self.rooms.lock().unwrap();
                let members = rooms.entry(room).or_default();
                members.insert(socket.sid(), socket.clone());
            }
            "say" => {
                let said = json!(["said", text(2)]);
                let messages = Packet::new(EVENT, &packet.namespace, None, said).messages();
                let rooms = self.rooms.lock().unwrap();
                for member in rooms.get(&room).into_iter().flat_map(HashMap::values) {
                    let sent = member.try_send_many(messages.iter().cloned());
                    sent.unwrap_or_else(|_| member.close());
                }
            }
            "ask me" => {
                client.lock().unwrap().namespaces.insert(room.0, true);
                let data = json!(["question"]);
                send(socket, EVENT, &packet.namespace, Some(QUESTION), data).await;
            }
            _ if packet.id.is_none() => deliver(socket, &packet).await,
            _ => {}
        }
        if packet.id.is_some() {
            packet.kind = ACK;
            packet.data.as_array_mut().map(|data| data.remove(0));
            deliver(socket, &packet).await;
        }
    }

    async fn enter(&self, socket: &Socket, client: &Mutex<Client>, namespace: &str) {
        let name = namespace.to_owned();
        client.lock().unwrap().namespaces.insert(name, false);
        let is_old = socket.revision() == Revision::V3;
        // Programs show it to other clients, and whoever knows the id of the session could take it over.
        let sid = json!({ "sid": format!("{:032x}", fastrand::u128(..)) });
        let data = if is_old { Value::Null } else { sid };
        send(socket, CONNECT, namespace, None, data).await;
    }

    /// Takes the client out of the rooms of one namespace, or of all. A room exists while somebody is in it.
    fn leave_rooms(&self, socket: &Socket, client: &Mutex<Client>, only: Option<&str>) {
        let joined = &mut client.lock().unwrap().rooms;
        let mut rooms = self.rooms.lock().unwrap();
        for room in joined.extract_if(|room| only.is_none_or(|only| only == room.0)) {
            rooms.entry(room).or_default().remove(&socket.sid());
        }
        rooms.retain(|_, members| !members.is_empty());
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let server = Server::builder().path("/socket.io").allow_eio3(true);
    let server = server.handler(SocketIo::default()).build();
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:5000");
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let mut terminate = signal(SignalKind::terminate())?;
    engineio_tower::serve(listener, EngineIoService::new(server.clone()))
        .with_graceful_shutdown(async move {
            terminate.recv().await;
            server.shutdown(Duration::from_secs(5)).await;
        })
        .await
}
