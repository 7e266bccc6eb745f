//! The modes whose clients are WebSockets.

use std::task::Context;
use std::time::Instant;

use anyhow::Result;
use serde_json::Value;
use tokio::task::JoinSet;

use super::frames::{Batch, Tail};
use super::ws::{Pace, Pipeline, WebSocket};
use super::{Load, meter};

/// A client that only answers heartbeats.
struct Idle;

impl Pace for Idle {
    fn echoed(&mut self, _: u64, _: u64, _: Instant) {}

    fn allowed(&mut self, _: &mut Context<'_>) -> u64 {
        0
    }

    fn sending(&mut self, _: u64, _: u64) {}

    fn is_done(&self, _: u64, _: u64) -> bool {
        false
    }
}

/// Answers heartbeats until the server goes away.
async fn listen(socket: &mut WebSocket) -> Result<()> {
    // Never sent; its length is that of no heartbeat.
    let batch = Batch::new(32, 1, &Tail::new(32), |_| String::new());
    socket.run(&batch, &mut Idle).await
}

/// Echoes, over WebSockets that were opened as such or by an upgrade.
pub(super) async fn echo(load: &Load, by_upgrade: bool) -> Result<Value> {
    let tail = Tail::new(load.size);
    let addr = load.addr;
    let sockets = super::open_all(load.clients, |number| async move {
        match by_upgrade {
            true => WebSocket::upgrade(addr, number).await,
            false => WebSocket::open(addr, number).await,
        }
    })
    .await?;
    let mut clients = JoinSet::new();
    for (number, mut socket) in sockets.into_iter().enumerate() {
        let mark = |slot| format!("client {number:6} message {slot:3} ");
        let batch = Batch::new(load.size, load.depth, &tail, mark);
        let mut pace = Pipeline::new(load.depth);
        clients.spawn(async move { socket.run(&batch, &mut pace).await });
    }
    super::window(load, clients, meter::messages, true).await
}

/// Opens and closes WebSockets, one after the other in each client.
pub(super) async fn connect(load: &Load) -> Result<Value> {
    let mut clients = JoinSet::new();
    for client in 0..load.clients as u64 {
        let addr = load.addr;
        clients.spawn(async move {
            let mut number = client;
            while !meter::stopped() {
                let start = Instant::now();
                WebSocket::open(addr, number).await?.close().await?;
                meter::took(start.elapsed());
                meter::count(1);
                number += 1;
            }
            Ok(())
        });
    }
    super::window(load, clients, meter::messages, true).await
}

/// Idle clients of a server that pings often. What is counted are pings that were answered.
pub(super) async fn ping(load: &Load) -> Result<Value> {
    let sockets =
        super::open_all(load.clients, |number| WebSocket::open(load.addr, number)).await?;
    let mut clients = JoinSet::new();
    for mut socket in sockets {
        clients.spawn(async move { listen(&mut socket).await });
    }
    super::window(load, clients, meter::pings, false).await
}

/// The memory of clients that do nothing.
pub(super) async fn idle(load: &Load) -> Result<Value> {
    super::memory(load, |number| async move {
        let mut socket = WebSocket::open(load.addr, number).await?;
        let mut task = JoinSet::new();
        task.spawn(async move { listen(&mut socket).await });
        Ok(task)
    })
    .await
}
