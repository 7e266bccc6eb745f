//! The little of HTTP/1.1 that a client of known servers needs.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// The path of every server; their Engine.IO lives at the default place.
pub(crate) const PATH: &str = "/engine.io/?EIO=4&transport=";

/// A response that is larger than this is an error: nothing measured here answers so much.
const LARGEST: usize = 4 << 20;

/// Connects from one of many loopback addresses, each of which has ports of its own: a run of fresh connections would
/// otherwise use up the ports of one address within a second.
pub(crate) async fn connect(addr: SocketAddr, number: u64) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if addr.ip().is_loopback() {
        let from = Ipv4Addr::new(127, 0, 0, 2 + (number % 100) as u8);
        socket.bind((from, 0).into()).context("cannot bind")?;
    }
    let stream = socket.connect(addr).await.context("cannot connect")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One connection, kept alive.
pub(super) struct Http {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The part of `buffer` that belongs to the response handed out last.
    used: usize,
}

/// A response; the body is borrowed from the connection.
pub(super) struct Response<'a> {
    pub(super) status: u16,
    pub(super) body: &'a [u8],
}

impl Response<'_> {
    /// The body of a 200.
    pub(super) fn ok(&self) -> Result<&[u8]> {
        if self.status != 200 {
            bail!(
                "status {}: {}",
                self.status,
                String::from_utf8_lossy(self.body)
            );
        }
        Ok(self.body)
    }
}

impl Http {
    pub(super) async fn connect(addr: SocketAddr, number: u64) -> Result<Self> {
        Ok(Self {
            stream: connect(addr, number).await?,
            buffer: Vec::with_capacity(1024),
            used: 0,
        })
    }

    pub(super) async fn send(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request).await.context("cannot send")
    }

    /// Reads until the blank line, and gives the end of the head.
    async fn head(&mut self) -> Result<usize> {
        self.buffer.drain(..self.used);
        self.used = 0;
        let mut searched = 0;
        loop {
            let end = self.buffer[searched..]
                .windows(4)
                .position(|four| four == b"\r\n\r\n");
            if let Some(at) = end {
                return Ok(searched + at + 4);
            }
            searched = self.buffer.len().saturating_sub(3);
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<()> {
        if self.buffer.len() > LARGEST {
            bail!("the response is too large");
        }
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => bail!("the server closed the connection"),
            _ => Ok(()),
        }
    }

    async fn fill_to(&mut self, len: usize) -> Result<()> {
        while self.buffer.len() < len {
            self.fill().await?;
        }
        Ok(())
    }

    pub(super) async fn response(&mut self) -> Result<Response<'_>> {
        let end = self.head().await?;
        let (status, length) = parse_head(&self.buffer[..end])?;
        let length = match length {
            Length::Known(length) => {
                self.fill_to(end + length).await?;
                length
            }
            Length::Chunked => {
                let (length, end) = self.chunks(end).await?;
                self.used = end;
                let start = end - length;
                return Ok(Response {
                    status,
                    body: &self.buffer[start..end],
                });
            }
        };
        self.used = end + length;
        Ok(Response {
            status,
            body: &self.buffer[end..end + length],
        })
    }

    /// Reads a chunked body and moves its data together, right before its end. Gives the length and that end.
    async fn chunks(&mut self, start: usize) -> Result<(usize, usize)> {
        let mut body = Vec::new();
        let mut at = start;
        loop {
            let line = loop {
                if let Some(len) = self.buffer[at..].windows(2).position(|two| two == b"\r\n") {
                    break len;
                }
                self.fill().await?;
            };
            let size = std::str::from_utf8(&self.buffer[at..at + line])?;
            let size = usize::from_str_radix(size, 16).context("not a chunk size")?;
            at += line + 2;
            self.fill_to(at + size + 2).await?;
            body.extend_from_slice(&self.buffer[at..at + size]);
            at += size + 2;
            if size == 0 {
                break;
            }
        }
        self.buffer[at - body.len()..at].copy_from_slice(&body);
        Ok((body.len(), at))
    }

    /// Reads the answer to a WebSocket handshake. Gives the stream and what follows the answer.
    pub(super) async fn upgraded(mut self) -> Result<(TcpStream, Vec<u8>)> {
        let end = self.head().await?;
        if !self.buffer.starts_with(b"HTTP/1.1 101 ") {
            bail!("no 101: {}", String::from_utf8_lossy(&self.buffer));
        }
        let rest = self.buffer.split_off(end);
        Ok((self.stream, rest))
    }
}

enum Length {
    Known(usize),
    Chunked,
}

fn parse_head(head: &[u8]) -> Result<(u16, Length)> {
    let head = std::str::from_utf8(head).context("the response head is not UTF-8")?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .context("no status line")?;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if name.eq_ignore_ascii_case("content-length") {
            let length = value.trim().parse().context("no content-length")?;
            return Ok((status, Length::Known(length)));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Ok((status, Length::Chunked));
        }
    }
    bail!("a response without a length")
}

/// A polling handshake; with `fresh`, its connection is not kept.
pub(super) fn handshake(fresh: bool) -> Vec<u8> {
    let close = if fresh { "Connection: close\r\n" } else { "" };
    format!("GET {PATH}polling HTTP/1.1\r\nHost: bench\r\n{close}\r\n").into_bytes()
}

pub(super) fn get(sid: &str) -> Vec<u8> {
    format!("GET {PATH}polling&sid={sid} HTTP/1.1\r\nHost: bench\r\n\r\n").into_bytes()
}

pub(super) fn post(sid: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {PATH}polling&sid={sid} HTTP/1.1\r\nHost: bench\r\n\
         Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend(body);
    request
}

pub(super) fn upgrade(sid: Option<&str>) -> Vec<u8> {
    let sid = sid.map(|sid| format!("&sid={sid}")).unwrap_or_default();
    format!(
        "GET {PATH}websocket{sid} HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// The session id in the body of a handshake, whose first packet is the open packet.
pub(crate) fn sid_of(body: &[u8]) -> Result<String> {
    let body = std::str::from_utf8(body)?;
    body.strip_prefix("0{")
        .and_then(|body| body.split_once("\"sid\":\""))
        .or_else(|| body.split_once("\"sid\": \""))
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(sid, _)| sid.to_owned())
        .with_context(|| format!("no open packet: {body}"))
}
