//! Messages that pass between clients: each goes to the partner of its sender, who answers with one of its own.

use anyhow::{Result, bail};
use serde_json::Value;
use tokio::task::JoinSet;

use super::frames::{Batch, Tail};
use super::ws::{Pipeline, WebSocket};
use super::{Load, meter};

/// Has the clients introduce themselves as pairs, and keeps `depth` messages of each in flight.
pub(super) async fn run(load: &Load) -> Result<Value> {
    let introduced = |number: u64| async move {
        let mut socket = WebSocket::open(load.addr, number).await?;
        let introduction = format!("4pair:{}", number / 2);
        socket.send_text(introduction.as_bytes()).await?;
        Ok(socket)
    };
    let sockets = super::open_all(load.clients / 2 * 2, introduced).await?;
    let tail = Tail::new(load.size);
    let mut clients = JoinSet::new();
    for (number, mut socket) in sockets.into_iter().enumerate() {
        if socket.next_text(&[]).await? != b"4paired" {
            bail!("a client found no partner");
        }
        // Both partners send the same, so that each finds what it expects.
        let mark = |slot| format!("relay:{:6} message {slot:3} ", number / 2);
        let batch = Batch::new(load.size, load.depth, &tail, mark);
        let mut pace = Pipeline::new(load.depth);
        clients.spawn(async move { socket.run(&batch, &mut pace).await });
    }
    // Nobody gets the last answers.
    super::window(load, clients, meter::messages, false).await
}
