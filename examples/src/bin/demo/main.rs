//! A page that shows what Engine.IO does: it connects by polling, upgrades to WebSocket and plots the latency.
//!
//! ```text
//! cargo run --release -p engineio-examples --bin demo
//! ```
//!
//! Then open <http://127.0.0.1:5000/>, on several devices if you like (`--listen 0.0.0.0:5000`),
//! on any host (`--host actix`).

mod hosts;

use std::time::Duration;

use engineio_axum::{Message, Server, Socket};
use serde_json::{Value, json};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let server = Server::builder()
        .on_message(|socket: Socket, message: Message| async move {
            // Pages are not trusted: anything but JSON with a known type is ignored.
            let Ok(request) = message.parse_json::<Value>() else {
                return;
            };
            match request["type"].as_str() {
                Some("ping") => {
                    let _ = socket.send(message).await;
                }
                Some("say") => {
                    let text = request["text"].as_str().unwrap_or_default();
                    let text: String = text.chars().take(500).collect();
                    let said = json!({ "type": "say", "text": text, "from": socket.sid().short() });
                    socket.server().broadcast(said.to_string());
                }
                _ => {}
            }
        })
        .build();

    // Clients come and go at any moment; sending the count twice a second is simpler than sending every change.
    let crowd = server.clone();
    server.spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        loop {
            tick.tick().await;
            crowd.broadcast(json!({ "type": "clients", "count": crowd.len() }).to_string());
        }
    });

    let mut host = "axum".to_owned();
    let mut address = "127.0.0.1:5000".to_owned();
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        match (name.as_str(), arguments.next()) {
            ("--host", Some(value)) => host = value,
            ("--listen", Some(value)) => address = value,
            _ => {
                eprintln!("usage: demo [--host axum|actix|warp|hyper] [--listen ADDR:PORT]");
                std::process::exit(2);
            }
        }
    }
    let listener = TcpListener::bind(&address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    println!("open the page in a browser; press Ctrl-C to stop");
    hosts::run(&host, listener, server).await
}
