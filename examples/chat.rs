//! A chat with rooms. Engine.IO has no rooms: the application keeps them, in a few lines.
//!
//! ```text
//! cargo run -p engineio-examples --example chat
//! ```
//!
//! Open <http://127.0.0.1:5000/> in two windows, enter the same room, and talk. Closing a window leaves the room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::Html;
use axum::routing::get;
use engineio_axum::{ConnectRequest, DisconnectReason, EngineIoLayer, Handler, Message, Rejection};
use engineio_axum::{Server, Sid, Socket};
use serde_json::{Value, json};

/// Names and texts are cut to this many characters.
const LONGEST: usize = 500;

/// The state of a client, attached to its socket.
#[derive(Debug, Default)]
struct Member(Mutex<Option<(String, String)>>);

/// The members of each room. A room exists while somebody is in it.
#[derive(Debug, Default)]
struct Rooms(Mutex<HashMap<String, HashMap<Sid, Socket>>>);

impl Rooms {
    fn enter(&self, room: &str, socket: &Socket) {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let members = rooms.entry(room.to_owned()).or_default();
        members.insert(socket.sid(), socket.clone());
    }

    fn leave(&self, room: &str, socket: &Socket) {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(members) = rooms.get_mut(room) {
            members.remove(&socket.sid());
            if members.is_empty() {
                rooms.remove(room);
            }
        }
    }

    /// Tells everybody in a room. The message is encoded once; who does not read is left out instead of waited for.
    fn tell(&self, room: &str, what: &Value) {
        let message = Message::from(what.to_string());
        let rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for socket in rooms.get(room).into_iter().flat_map(HashMap::values) {
            let _ = socket.try_send(message.clone());
        }
    }
}

#[derive(Debug, Default)]
struct Chat {
    rooms: Arc<Rooms>,
}

impl Handler for Chat {
    async fn connect(&self, socket: &Socket, _: &ConnectRequest) -> Result<(), Rejection> {
        socket.set(Member::default());
        Ok(())
    }

    async fn message(&self, socket: &Socket, message: Message) {
        let Ok(request) = message.parse_json::<Value>() else {
            return;
        };
        let text = |name: &str| -> Option<String> {
            Some(request[name].as_str()?.chars().take(LONGEST).collect())
        };
        if let (Some(room), Some(name)) = (text("enter"), text("name")) {
            self.leave(socket);
            self.rooms.enter(&room, socket);
            self.rooms.tell(&room, &json!({ "entered": name }));
            if let Some(member) = socket.get::<Member>() {
                *member.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((room, name));
            }
        } else if let (Some(said), Some((room, name))) = (text("say"), place(socket)) {
            let said = json!({ "from": name, "say": said });
            self.rooms.tell(&room, &said);
        }
    }

    async fn disconnect(&self, socket: &Socket, _: DisconnectReason) {
        self.leave(socket);
    }
}

impl Chat {
    fn leave(&self, socket: &Socket) {
        if let Some((room, name)) = place(socket) {
            self.rooms.leave(&room, socket);
            self.rooms.tell(&room, &json!({ "left": name }));
        }
    }
}

/// The room that a client is in, and its name there.
fn place(socket: &Socket) -> Option<(String, String)> {
    let member = socket.get::<Member>()?;
    let place = member.0.lock().unwrap_or_else(PoisonError::into_inner);
    place.clone()
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:5000");
    let client = (
        [(CONTENT_TYPE, "text/javascript")],
        include_str!("demo/engineio.js"),
    );
    let app = Router::new()
        .route("/", get(async || Html(include_str!("pages/chat.html"))))
        .route("/engineio.js", get(async move || client))
        .layer(EngineIoLayer::new(Server::with_handler(Chat::default())));
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    engineio_axum::serve(listener, app).await
}
