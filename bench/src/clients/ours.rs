//! Our client, with every option at its default but the transport.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use engineio_client::{Client, ClientBuilder, Handle, Message};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::load::clients::{self, Open, Transport, texts};
use crate::load::measure::{Load, open_all, window};
use crate::load::meter;

/// A client whose messages are read as a stream.
pub(super) struct Ours(pub(super) Client);

fn builder(addr: SocketAddr, number: u64, transport: Transport) -> ClientBuilder {
    let from = Ipv4Addr::new(127, 0, 0, 2 + (number % 100) as u8);
    let transport = match transport {
        Transport::Polling => engineio_client::Transport::Polling,
        Transport::WebSocket => engineio_client::Transport::WebSocket,
    };
    Client::builder(&format!("http://{addr}"))
        .transports([transport])
        .local_address(IpAddr::V4(from))
}

impl clients::Client for Ours {
    type Message = Message;

    fn message(text: &str) -> Message {
        Message::from(text)
    }

    fn is(message: &Message, text: &str) -> bool {
        matches!(message, Message::Text(message) if message.as_bytes() == text.as_bytes())
    }

    async fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.0.send(message).await?)
    }

    async fn next(&mut self) -> Result<Message> {
        let message = self.0.next().await;
        message.with_context(|| format!("the session is over: {:?}", self.0.disconnect_error()))
    }

    async fn close(self) -> Result<()> {
        self.0.close().await;
        Ok(())
    }
}

impl Open for Ours {
    async fn open(addr: SocketAddr, number: u64, transport: Transport) -> Result<Self> {
        Ok(Self(builder(addr, number, transport).connect().await?))
    }
}

/// Echoes by a message handler, which the client's own task calls.
pub(super) async fn run_handlers(load: &Load) -> Result<Value> {
    let transport = match load.mode.as_str() {
        "client-ws-echo" => Transport::WebSocket,
        "client-poll-echo" => Transport::Polling,
        mode => bail!("no such mode for handlers: {mode}"),
    };
    let clients = open_all(load.clients, |number| async move {
        let texts: Arc<[String]> = texts(number as usize, load.size, load.depth).into();
        let echo = Arc::new(Echo {
            texts: Arc::clone(&texts),
            received: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(load.depth),
        });
        let builder = builder(load.addr, number, transport);
        let on_message = move |handle: Handle, message| {
            let echo = Arc::clone(&echo);
            async move { echo.on_message(handle, message).await }
        };
        Ok((builder.on_message(on_message).connect().await?, texts))
    })
    .await?;
    let mut tasks = JoinSet::new();
    for (client, texts) in clients {
        tasks.spawn(async move {
            for text in texts.iter() {
                client.send(text).await?;
            }
            client.wait().await;
            match client.disconnect_reason() {
                Some(engineio_client::DisconnectReason::Client) => Ok(()),
                reason => bail!("the session is over: {reason:?}"),
            }
        });
    }
    window(load, tasks, meter::messages, true).await
}

struct Echo {
    texts: Arc<[String]>,
    received: AtomicUsize,
    in_flight: AtomicUsize,
}

impl Echo {
    async fn on_message(&self, handle: Handle, message: Message) {
        let number = self.received.fetch_add(1, Ordering::Relaxed);
        let expected = &self.texts[number % self.texts.len()];
        // A panic ends the client, which fails the run.
        let is_echo = <Ours as clients::Client>::is(&message, expected);
        assert!(is_echo, "an echo differs");
        meter::count(1);
        if !meter::stopped() {
            // A session that is over is noticed by the task that waits for it.
            let _ = handle.send(message).await;
        } else if self.in_flight.fetch_sub(1, Ordering::Relaxed) == 1 {
            handle.close().await;
        }
    }
}
