//! Clients of rust_engineio, measured as those of the benchmark's own program are, whose files these are.

// What only servers need is unused here.
#![allow(dead_code)]

#[path = "../../../src/load/clients.rs"]
mod clients;
#[path = "../../../src/load/measure.rs"]
mod measure;
#[path = "../../../src/load/meter.rs"]
mod meter;
#[path = "../../../src/options.rs"]
mod options;
#[path = "../../../src/load/process.rs"]
mod process;

use std::net::SocketAddr;

use anyhow::{Context, Result};
use futures_util::StreamExt;
use rust_engineio::asynchronous::{Client, ClientBuilder};
use rust_engineio::{Packet, PacketId};

use self::clients::Transport;
use self::measure::{Load, bounded};
use self::options::Options;

fn main() -> Result<()> {
    let mut options = Options::parse(std::env::args().skip(1))?;
    let load = Load::parse(&mut options)?;
    options.finish()?;
    println!("{}", bounded(&load, clients::run::<Peer>(&load))?);
    Ok(())
}

struct Peer(Client);

impl clients::Open for Peer {
    async fn open(addr: SocketAddr, _: u64, transport: Transport) -> Result<Self> {
        let builder = ClientBuilder::new(format!("http://{addr}").parse()?);
        let client = match transport {
            Transport::Polling => builder.build_polling().await?,
            Transport::WebSocket => builder.build_websocket().await?,
        };
        client.connect().await?;
        Ok(Self(client))
    }
}

impl clients::Client for Peer {
    type Message = Packet;

    fn message(text: &str) -> Packet {
        Packet::new(PacketId::Message, text.to_owned())
    }

    fn is(message: &Packet, text: &str) -> bool {
        message.data == text.as_bytes()
    }

    async fn send(&mut self, message: Packet) -> Result<()> {
        Ok(self.0.emit(message).await?)
    }

    async fn next(&mut self) -> Result<Packet> {
        loop {
            let packet = self.0.next().await.context("the session is over")??;
            // The stream has every packet; the heartbeat is answered by the library.
            if packet.packet_id == PacketId::Message {
                return Ok(packet);
            }
        }
    }

    async fn close(self) -> Result<()> {
        Ok(self.0.disconnect().await?)
    }
}
