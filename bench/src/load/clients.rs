//! The modes in which the clients themselves are measured: many clients of one library in this process, written as an
//! application would write them.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::task::JoinSet;

use super::measure::{Load, memory, open_all, window};
use super::meter;

/// The transport of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Polling,
    WebSocket,
}

/// A client of some library, with an open session.
pub(crate) trait Client: Sized + Send + 'static {
    type Message: Send;

    fn message(text: &str) -> Self::Message;

    fn is(message: &Self::Message, text: &str) -> bool;

    fn send(&mut self, message: Self::Message) -> impl Future<Output = Result<()>> + Send;

    /// Waits for the next message; answers heartbeats in between if the library does not.
    fn next(&mut self) -> impl Future<Output = Result<Self::Message>> + Send;

    /// Closes the session as the library does it.
    fn close(self) -> impl Future<Output = Result<()>> + Send;
}

/// A client that opens its session by TCP.
pub(crate) trait Open: Client {
    /// Opens a session. `number` spreads the clients over the addresses of the loopback interface.
    fn open(
        addr: SocketAddr,
        number: u64,
        transport: Transport,
    ) -> impl Future<Output = Result<Self>> + Send;
}

/// Runs one of the modes with a library.
pub(crate) async fn run<C: Open>(load: &Load) -> Result<Value> {
    match load.mode.as_str() {
        "client-ws-echo" => echo::<C>(load, Transport::WebSocket).await,
        "client-poll-echo" => echo::<C>(load, Transport::Polling).await,
        "client-connect-ws" => connect::<C>(load, Transport::WebSocket).await,
        "client-connect-poll" => connect::<C>(load, Transport::Polling).await,
        "client-idle-ws" => idle::<C>(load, Transport::WebSocket).await,
        "client-idle-poll" => idle::<C>(load, Transport::Polling).await,
        mode => bail!("no such mode: {mode}"),
    }
}

/// The messages that a client keeps in flight, all different.
pub(crate) fn texts(number: usize, size: usize, depth: usize) -> Vec<String> {
    let text = |slot| {
        let mut text = format!("client {number:6} message {slot:3} ");
        let pattern = (0..).map(|at: usize| char::from(b' ' + (at * 7 % 95) as u8));
        text.extend(pattern.take(size.saturating_sub(text.len())));
        text.truncate(size);
        text
    };
    (0..depth).map(text).collect()
}

/// Each client has some messages in flight, and sends every echo again.
async fn echo<C: Open>(load: &Load, transport: Transport) -> Result<Value> {
    let clients = open_all(load.clients, |number| C::open(load.addr, number, transport)).await?;
    let mut tasks = JoinSet::new();
    for (number, client) in clients.into_iter().enumerate() {
        tasks.spawn(echoes(client, texts(number, load.size, load.depth)));
    }
    window(load, tasks, meter::messages, true).await
}

async fn echoes<C: Client>(mut client: C, texts: Vec<String>) -> Result<()> {
    for text in &texts {
        client.send(C::message(text)).await?;
    }
    let mut in_flight = texts.len();
    for expected in texts.iter().cycle() {
        if in_flight == 0 {
            break;
        }
        let message = client.next().await?;
        if !C::is(&message, expected) {
            bail!("an echo differs");
        }
        meter::count(1);
        if meter::stopped() {
            in_flight -= 1;
        } else {
            client.send(message).await?;
        }
    }
    client.close().await
}

/// Opens and closes sessions, one after the other in each task.
async fn connect<C: Open>(load: &Load, transport: Transport) -> Result<Value> {
    let mut tasks = JoinSet::new();
    for task in 0..load.clients as u64 {
        let addr = load.addr;
        tasks.spawn(async move {
            let mut number = task;
            while !meter::stopped() {
                let start = Instant::now();
                let client = C::open(addr, number, transport).await?;
                meter::took(start.elapsed());
                client.close().await?;
                meter::count(1);
                number += 1;
            }
            Ok(())
        });
    }
    window(load, tasks, meter::messages, true).await
}

/// The memory of clients that do nothing.
async fn idle<C: Open>(load: &Load, transport: Transport) -> Result<Value> {
    let addr = load.addr;
    memory(load, |number| async move {
        let mut client = C::open(addr, number, transport).await?;
        let mut task: JoinSet<Result<()>> = JoinSet::new();
        task.spawn(async move {
            client.next().await.context("an idle client ended")?;
            bail!("an idle client got a message")
        });
        Ok(task)
    })
    .await
}
