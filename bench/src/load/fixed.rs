//! Loads of a fixed number of messages over real sockets, for counting instructions.
//!
//! The clients run on the server's thread, and their instructions are counted too. They are the same for every server.

use std::net::SocketAddr;

use anyhow::{Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::frames::frame;
use super::http::{self, Http};
use super::ws::WebSocket;

/// The headers that a browser adds to the requests of a page of the server's own host.
const BROWSER: &str = "Host: chat.example.com\r\nConnection: keep-alive\r\n\
    sec-ch-ua-platform: \"Windows\"\r\n\
    User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36\r\n\
    sec-ch-ua: \"Google Chrome\";v=\"141\", \"Not?A_Brand\";v=\"8\", \"Chromium\";v=\"141\"\r\n\
    sec-ch-ua-mobile: ?0\r\nAccept: */*\r\nOrigin: https://chat.example.com\r\nSec-Fetch-Site: same-origin\r\n\
    Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\nReferer: https://chat.example.com/room/7\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n";

/// The headers of a request beyond those that it needs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Headers {
    None,
    /// A page of another host.
    Origin,
    /// Those of a browser, among them the origin of a page of the server's own host.
    Browser,
}

impl Headers {
    fn add(self, request: Vec<u8>) -> Vec<u8> {
        let host = "Host: bench\r\n";
        let headers = match self {
            Self::None => return request,
            Self::Origin => format!("{host}Origin: https://app.example.com\r\n"),
            Self::Browser => BROWSER.to_owned(),
        };
        let request = String::from_utf8_lossy(&request);
        request.replacen(host, &headers, 1).into_bytes()
    }
}

/// Polling round trips, the GET over one connection and the POST over another.
pub(crate) async fn round_trips(
    addr: SocketAddr,
    headers: Headers,
    size: usize,
    times: usize,
) -> Result<()> {
    let mut polls = Http::connect(addr, 0).await?;
    polls.send(&headers.add(http::handshake(false))).await?;
    let sid = http::sid_of(polls.response().await?.ok()?)?;
    let mut posts = Http::connect(addr, 0).await?;
    let packet = format!("4{:size$}", "").into_bytes();
    let get = headers.add(http::get(&sid));
    let post = headers.add(http::post(&sid, &packet));
    for _ in 0..times {
        polls.send(&get).await?;
        posts.send(&post).await?;
        if !posts.response().await?.ok()?.eq_ignore_ascii_case(b"ok") {
            bail!("a POST was not accepted");
        }
        if polls.response().await?.ok()? != packet {
            bail!("no echo");
        }
    }
    Ok(())
}

/// Polling handshakes over one connection.
pub(crate) async fn handshakes(addr: SocketAddr, headers: Headers, times: usize) -> Result<()> {
    let mut http = Http::connect(addr, 0).await?;
    let request = headers.add(http::handshake(false));
    for _ in 0..times {
        http.send(&request).await?;
        http::sid_of(http.response().await?.ok()?)?;
    }
    Ok(())
}

/// WebSockets that are opened and closed.
pub(crate) async fn connections(addr: SocketAddr, times: usize) -> Result<()> {
    for number in 0..times as u64 {
        WebSocket::open(addr, number).await?.close().await?;
    }
    Ok(())
}

/// Broadcasts that one client asks for and all clients get, `depth` at once.
pub(crate) async fn broadcasts(
    addr: SocketAddr,
    clients: usize,
    size: usize,
    depth: usize,
    times: usize,
) -> Result<()> {
    let mut streams = Vec::new();
    for number in 0..clients as u64 {
        streams.push(WebSocket::open(addr, number).await?.into_stream());
    }
    let packet = format!("4{:size$}", "bcast:");
    let batch = frame(1, packet.as_bytes()).repeat(depth);
    let mut answer = vec![0; (2 + packet.len()) * depth];
    for _ in 0..times {
        streams[0].write_all(&batch).await?;
        for stream in &mut streams {
            stream.read_exact(&mut answer).await?;
        }
    }
    Ok(())
}

/// Heartbeats of many clients, which the server sends at its interval.
pub(crate) async fn heartbeats(addr: SocketAddr, clients: usize, times: usize) -> Result<()> {
    let mut streams = Vec::new();
    for number in 0..clients as u64 {
        streams.push(WebSocket::open(addr, number).await?.into_stream());
    }
    let pong = frame(1, b"3");
    let mut ping = [0; 3];
    for _ in 0..times {
        for stream in &mut streams {
            stream.read_exact(&mut ping).await?;
            stream.write_all(&pong).await?;
        }
    }
    Ok(())
}
