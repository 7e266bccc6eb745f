//! Clients over pipes in memory, whose instructions are counted: together with those of a peer that does no more than it
//! must, and whose own share is counted too.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, bail};
use engineio_client::{Client, ClientBuilder, Handle, Message, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tower::service_fn;

use super::bare_hyper::{BareHyper, Connection};
use super::bare_websocket::{BareWebSocket, Gathering};
use super::ours::Ours;
use crate::load::clients::{Client as _, texts};
use crate::load::text_frame;

const OPEN: &str = r#"0{"sid":"AAAAAAAAAAAAAAAAAAAA","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;

/// No host that is ever looked up.
const HOST: &str = "peer.invalid";

/// A kind of work.
#[derive(Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) name: &'static str,
    kind: &'static str,
    /// The bytes of a message.
    size: usize,
    /// The messages in flight.
    pub(crate) batch: usize,
}

const fn counted(name: &'static str, kind: &'static str, size: usize, batch: usize) -> Counted {
    Counted {
        name,
        kind,
        size,
        batch,
    }
}

pub(crate) const WORK: &[Counted] = &[
    counted("client-stream-32-p1", "stream", 32, 1),
    counted("client-handler-32-p1", "handler", 32, 1),
    counted("client-tungstenite-32-p1", "tungstenite", 32, 1),
    counted("client-gathering-32-p1", "gathering", 32, 1),
    counted("client-pipe-32-p1", "pipe", 32, 1),
    counted("client-stream-32-p16", "stream", 32, 16),
    counted("client-handler-32-p16", "handler", 32, 16),
    counted("client-tungstenite-32-p16", "tungstenite", 32, 16),
    counted("client-gathering-32-p16", "gathering", 32, 16),
    counted("client-pipe-32-p16", "pipe", 32, 16),
    counted("client-stream-4k-p1", "stream", 4096, 1),
    counted("client-tungstenite-4k-p1", "tungstenite", 4096, 1),
    counted("client-gathering-4k-p1", "gathering", 4096, 1),
    counted("client-pipe-4k-p1", "pipe", 4096, 1),
    counted("client-stream-64k-p1", "stream", 65_000, 1),
    counted("client-tungstenite-64k-p1", "tungstenite", 65_000, 1),
    counted("client-gathering-64k-p1", "gathering", 65_000, 1),
    counted("client-pipe-64k-p1", "pipe", 65_000, 1),
    counted("client-poll", "poll", 32, 1),
    counted("client-hyper-poll", "hyper", 32, 1),
    counted("client-connect", "connect", 32, 1),
    counted("client-tungstenite-connect", "tungstenite-connect", 32, 1),
];

/// Does one kind of work so often.
pub(crate) async fn run(work: Counted, times: usize) -> Result<()> {
    let texts = texts(0, work.size, work.batch);
    let peer = Peer::new(&texts);
    let place = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    match work.kind {
        "stream" => {
            let client = peer.builder(Transport::WebSocket).connect().await?;
            echoes(Ours(client), &texts, times).await
        }
        "handler" => handler(&peer, &texts, times).await,
        "tungstenite" => {
            let client = BareWebSocket::over(peer.connect(), HOST).await?;
            echoes(client, &texts, times).await
        }
        "gathering" => {
            let client = Gathering::over(peer.connect(), HOST).await?;
            echoes(client, &texts, times).await
        }
        "pipe" => pipe(&peer, times).await,
        "poll" => {
            let client = peer.builder(Transport::Polling).connect().await?;
            echoes(Ours(client), &texts, times).await
        }
        "hyper" => {
            let polls = Connection::over(peer.connect(), HOST).await?;
            let posts = Connection::over(peer.connect(), HOST).await?;
            let client = BareHyper::over(polls, Some(posts), (place, 0)).await?;
            echoes(client, &texts, times).await
        }
        "connect" => {
            for _ in 0..times {
                let client = peer.builder(Transport::WebSocket).connect().await?;
                client.close().await;
            }
            Ok(())
        }
        "tungstenite-connect" => {
            for _ in 0..times {
                let client = BareWebSocket::over(peer.connect(), HOST).await?;
                client.close().await?;
            }
            Ok(())
        }
        kind => bail!("unknown work {kind}"),
    }
}

/// Keeps all texts in flight, until each has come back so often.
async fn echoes<C: crate::load::clients::Client>(
    mut client: C,
    texts: &[String],
    times: usize,
) -> Result<()> {
    for text in texts {
        client.send(C::message(text)).await?;
    }
    for _ in 0..times {
        for text in texts {
            let message = client.next().await?;
            if !C::is(&message, text) {
                bail!("an echo differs");
            }
            client.send(message).await?;
        }
    }
    Ok(())
}

async fn handler(peer: &Peer, texts: &[String], times: usize) -> Result<()> {
    let left = Arc::new(AtomicUsize::new(times * texts.len()));
    let done = Arc::new(Notify::new());
    let is_done = Arc::clone(&done);
    let on_message = move |handle: Handle, message: Message| {
        if left.fetch_sub(1, Ordering::Relaxed) == 1 {
            is_done.notify_one();
        }
        async move {
            // Nobody closes the session.
            let _ = handle.send(message).await;
        }
    };
    let builder = peer.builder(Transport::WebSocket).on_message(on_message);
    let client = builder.connect().await?;
    for text in texts {
        client.send(text).await?;
    }
    done.notified().await;
    Ok(())
}

/// Frames that were made before, and answers that nobody looks at: the share of the pipe and the peer.
async fn pipe(peer: &Peer, times: usize) -> Result<()> {
    let mut io = peer.connect();
    io.write_all(b"GET / HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        .await?;
    let mut answer = vec![0; 4096];
    let mut seen = Vec::new();
    while !seen.ends_with(OPEN.as_bytes()) {
        let len = io.read(&mut answer).await?;
        seen.extend_from_slice(&answer[..len]);
    }
    answer.resize(peer.answer.len(), 0);
    for _ in 0..times {
        io.write_all(&peer.batch).await?;
        io.read_exact(&mut answer).await?;
    }
    Ok(())
}

/// Answers what any of the clients sends.
#[derive(Clone)]
struct Peer {
    /// The frames of all texts as a client sends them, apart from the masks.
    batch: Arc<[u8]>,
    /// And as a server does.
    answer: Arc<[u8]>,
    /// The answer to a poll, which waits for a POST.
    polled: Arc<[u8]>,
    posted: Arc<Notify>,
}

impl Peer {
    fn new(texts: &[String]) -> Self {
        let packets: Vec<String> = texts.iter().map(|text| format!("4{text}")).collect();
        let batch = packets.iter().flat_map(|p| text_frame(p.as_bytes()));
        let answer = packets.iter().flat_map(|packet| plain_frame(packet));
        Self {
            batch: batch.collect(),
            answer: answer.collect(),
            polled: response(&packets.join("\u{1e}")).into_bytes().into(),
            posted: Arc::default(),
        }
    }

    /// Returns the client's end of a connection.
    fn connect(&self) -> DuplexStream {
        let (near, far) = duplex(4 << 20);
        let this = self.clone();
        tokio::spawn(async move {
            // The client is gone.
            let _ = this.serve(far).await;
        });
        near
    }

    fn builder(&self, transport: Transport) -> ClientBuilder {
        let this = self.clone();
        Client::builder(&format!("http://{HOST}"))
            .transports([transport])
            .connector(service_fn(move |_| {
                let near = this.connect();
                async move { Ok::<_, io::Error>(near) }
            }))
    }

    async fn serve(&self, mut io: DuplexStream) -> Result<()> {
        let mut buffer = Vec::with_capacity(4096);
        loop {
            let end = head(&mut io, &mut buffer).await?;
            let head = std::str::from_utf8(&buffer[..end])?;
            let line = head.lines().next().unwrap_or_default();
            let mut length = 0;
            if line.starts_with("POST") {
                length = field(head, "content-length").map_or(Ok(0), str::parse)?;
                while buffer.len() < end + length {
                    read(&mut io, &mut buffer).await?;
                }
                self.posted.notify_one();
                io.write_all(response("ok").as_bytes()).await?;
            } else if line.contains("sid=") {
                self.posted.notified().await;
                io.write_all(&self.polled).await?;
            } else if let Some(key) = field(head, "sec-websocket-key") {
                let accept = derive_accept_key(key.as_bytes());
                let upgrade = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                     sec-websocket-accept: {accept}\r\n\r\n"
                );
                io.write_all(upgrade.as_bytes()).await?;
                io.write_all(&plain_frame(OPEN)).await?;
                return self.answer_frames(io).await;
            } else {
                io.write_all(response(OPEN).as_bytes()).await?;
            }
            buffer.drain(..end + length);
        }
    }

    async fn answer_frames(&self, mut io: DuplexStream) -> Result<()> {
        let mut batch = vec![0; self.batch.len()];
        let mut len = 0;
        loop {
            len += match io.read(&mut batch[len..]).await? {
                0 => return Ok(()),
                len => len,
            };
            if len == batch.len() {
                len = 0;
                io.write_all(&self.answer).await?;
            } else if is_close(&batch[..len]) {
                io.write_all(&[0x88, 2, 0x03, 0xe8]).await?;
                return Ok(());
            }
        }
    }
}

/// Returns whether there is a close frame, behind a close packet at most.
fn is_close(frames: &[u8]) -> bool {
    match frames {
        [0x88, ..] => true,
        // The packet has one byte, behind the head and the mask.
        [0x81, 0x81, rest @ ..] => rest.get(5) == Some(&0x88),
        _ => false,
    }
}

async fn read(io: &mut DuplexStream, buffer: &mut Vec<u8>) -> Result<()> {
    match io.read_buf(buffer).await? {
        0 => bail!("the client is gone"),
        _ => Ok(()),
    }
}

/// Reads until the blank line, and returns where it ends.
async fn head(io: &mut DuplexStream, buffer: &mut Vec<u8>) -> Result<usize> {
    loop {
        let end = buffer.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(at) = end {
            return Ok(at + 4);
        }
        read(io, buffer).await?;
    }
}

/// Returns the value of a header.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

fn response(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// A server's frame: not masked.
fn plain_frame(packet: &str) -> Vec<u8> {
    let mut frame = text_frame(packet.as_bytes());
    let head = frame.len() - packet.len() - 4;
    frame.truncate(head);
    frame[1] &= 0x7f;
    frame.extend(packet.as_bytes());
    frame
}
