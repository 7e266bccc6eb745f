//! The modes whose clients poll.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::task::JoinSet;

use super::frames::{Batch, Tail};
use super::http::{self, Http};
use super::{Load, meter};

/// More polls than this for one message is a server that does not deliver.
const MOST_POLLS: usize = 64;

async fn open(addr: SocketAddr, number: u64) -> Result<(Http, String)> {
    let mut http = Http::connect(addr, number).await?;
    http.send(&http::handshake(false)).await?;
    let sid = http::sid_of(http.response().await?.ok()?)?;
    Ok((http, sid))
}

/// Round trips: a GET that waits on one connection, a POST on another, and the echo in the answer of the GET.
pub(super) async fn echo(load: &Load) -> Result<Value> {
    let sessions = super::open_all(load.clients, |number| open(load.addr, number)).await?;
    let mut clients = JoinSet::new();
    for (number, (mut polls, sid)) in sessions.into_iter().enumerate() {
        let mark = |_| format!("client {number:6} ");
        let batch = Batch::new(load.size, 1, &Tail::new(load.size), mark);
        let mut posts = Http::connect(load.addr, number as u64).await?;
        let get = http::get(&sid);
        let post = http::post(&sid, &batch.first_packet());
        let pong = http::post(&sid, b"3");
        clients.spawn(async move {
            while !meter::stopped() {
                let start = Instant::now();
                polls.send(&get).await?;
                posts.send(&post).await?;
                accepted(&mut posts).await?;
                let mut polled = 0;
                while !has_echo(&mut polls, &mut posts, &batch, &pong).await? {
                    polled += 1;
                    if polled > MOST_POLLS {
                        bail!("the echo does not come");
                    }
                    polls.send(&get).await?;
                }
                meter::took(start.elapsed());
                meter::count(1);
            }
            Ok(())
        });
    }
    super::window(load, clients, meter::messages, true).await
}

async fn accepted(posts: &mut Http) -> Result<()> {
    let body = posts.response().await?.ok()?.to_ascii_lowercase();
    if body != b"ok" {
        bail!(
            "a POST was answered with {}",
            String::from_utf8_lossy(&body)
        );
    }
    Ok(())
}

/// Reads the answer of a poll. Whether it holds the echo; pings are answered on the way.
async fn has_echo(polls: &mut Http, posts: &mut Http, batch: &Batch, pong: &[u8]) -> Result<bool> {
    let (mut found, mut pinged) = (false, false);
    for packet in polls.response().await?.ok()?.split(|byte| *byte == 0x1e) {
        match packet {
            b"2" => pinged = true,
            b"6" => {}
            packet if batch.is_packet(0, packet) && !found => found = true,
            packet => bail!("not our echo: {}", String::from_utf8_lossy(packet)),
        }
    }
    if pinged {
        posts.send(pong).await?;
        accepted(posts).await?;
    }
    Ok(found)
}

/// Handshakes, over connections that are kept or each over its own.
pub(super) async fn connect(load: &Load, fresh: bool) -> Result<Value> {
    let mut clients = JoinSet::new();
    for client in 0..load.clients as u64 {
        let addr = load.addr;
        clients.spawn(async move {
            let request = http::handshake(fresh);
            let mut number = client;
            let mut kept = Http::connect(addr, number).await?;
            while !meter::stopped() {
                let start = Instant::now();
                if fresh {
                    number += 1;
                    kept = Http::connect(addr, number).await?;
                }
                kept.send(&request).await?;
                let response = kept.response().await?;
                if !response.ok()?.starts_with(b"0{") {
                    bail!("no open packet");
                }
                meter::took(start.elapsed());
                meter::count(1);
            }
            Ok(())
        });
    }
    super::window(load, clients, meter::messages, true).await
}

/// The memory of clients whose poll waits.
pub(super) async fn idle(load: &Load) -> Result<Value> {
    super::memory(load, |number| async move {
        let (mut http, sid) = open(load.addr, number).await?;
        let get = http::get(&sid);
        http.send(&get).await?;
        let mut task: JoinSet<Result<()>> = JoinSet::new();
        task.spawn(async move {
            loop {
                let body = http.response().await?.ok()?.to_vec();
                if body == b"2" {
                    http.send(&http::post(&sid, b"3")).await?;
                    http.response().await?.ok()?;
                }
                http.send(&get).await?;
            }
        });
        Ok(task)
    })
    .await
}

/// The memory of sessions between two polls, whose clients hold no connection.
pub(super) async fn sessions(load: &Load) -> Result<Value> {
    let mut memory = super::memory(load, |number| async move {
        let mut http = Http::connect(load.addr, number).await?;
        http.send(&http::handshake(true)).await?;
        http::sid_of(http.response().await?.ok()?).context("no session")?;
        Ok(JoinSet::new())
    })
    .await?;
    // Nobody leaves here: a session without a connection ends by its heartbeat, after the measurement.
    if let Some(figures) = memory.as_object_mut() {
        figures.remove("kib_left_per_client");
    }
    Ok(memory)
}
