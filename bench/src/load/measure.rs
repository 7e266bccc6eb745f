//! The measured part of a run: opens clients, waits, and reads the clock or the memory of a process.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::meter;
use super::process::{self, Clock};
use crate::options::Options;

/// The number of connections to open concurrently.
const OPENING: usize = 32;

/// The time limit for opening all connections of a run.
const OPENING_LIMIT: Duration = Duration::from_secs(120);

/// The time limit for messages in flight after the window.
const FINISH: Duration = Duration::from_secs(5);

/// The parameters of a run.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) mode: String,
    pub(crate) addr: SocketAddr,
    /// The process whose clock and memory are read: the server, or this one if clients are measured.
    pub(crate) pid: u32,
    pub(crate) size: usize,
    pub(crate) clients: usize,
    pub(crate) depth: usize,
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
}

impl Load {
    pub(crate) fn parse(options: &mut Options) -> Result<Self> {
        Ok(Self {
            mode: options.word().context("which mode?")?,
            addr: options.required("addr")?,
            pid: options.number("pid", std::process::id())?,
            size: options.number("size", 32)?,
            clients: options.number("clients", 100)?,
            depth: options.number("depth", 1)?,
            warm_up: Duration::from_millis(options.number("warm-up-ms", 300)?),
            window: Duration::from_millis(options.number("window-ms", 1000)?),
        })
    }
}

/// Runs a measurement in a runtime of one thread, and bounds its time.
pub(crate) fn bounded(load: &Load, measured: impl Future<Output = Result<Value>>) -> Result<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let limit = OPENING_LIMIT + load.warm_up + load.window + 2 * FINISH;
    runtime.block_on(async {
        timeout(limit, measured)
            .await
            .context("the run did not end in time")?
    })
}

/// Opens many clients, a few at a time.
pub(crate) async fn open_all<T, F: Future<Output = Result<T>>>(
    clients: usize,
    open: impl Fn(u64) -> F,
) -> Result<Vec<T>> {
    let opening = stream::iter(0..clients as u64)
        .map(open)
        .buffered(OPENING)
        .try_collect();
    timeout(OPENING_LIMIT, opening)
        .await
        .context("the clients could not be opened in time")?
}

/// The numbers of one moment.
struct Moment {
    at: Instant,
    messages: u64,
    server: Clock,
    own: Clock,
}

impl Moment {
    fn now(load: &Load, counted: impl Fn() -> u64) -> Result<Self> {
        Ok(Self {
            server: Clock::of(load.pid)?,
            own: Clock::of(std::process::id())?,
            at: Instant::now(),
            messages: counted(),
        })
    }
}

/// Lets the clients run for the warm-up and the window, and gives what happened within the window.
///
/// A client that fails ends the run: numbers of a server that loses or changes messages are worth nothing.
pub(crate) async fn window(
    load: &Load,
    mut clients: JoinSet<Result<()>>,
    counted: impl Fn() -> u64,
    finish: bool,
) -> Result<Value> {
    let script = async {
        sleep(load.warm_up).await;
        let start = Moment::now(load, &counted)?;
        meter::measure(true);
        sleep(load.window).await;
        meter::measure(false);
        let end = Moment::now(load, &counted)?;
        meter::stop();
        anyhow::Ok((start, end))
    };
    tokio::pin!(script);
    let (start, end) = loop {
        tokio::select! {
            moments = &mut script => break moments?,
            Some(ended) = clients.join_next() => ended?.context("a client failed")?,
        }
    };
    if finish {
        let rest = async {
            while let Some(ended) = clients.join_next().await {
                ended?.context("a client failed at the end")?;
            }
            anyhow::Ok(())
        };
        timeout(FINISH, rest)
            .await
            .context("some messages were never echoed")??;
    }
    clients.abort_all();
    let messages = end.messages - start.messages;
    if messages == 0 {
        bail!("nothing happened within the window");
    }
    let server = end.server.since(start.server);
    let own = end.own.since(start.own);
    let seconds = (end.at - start.at).as_secs_f64();
    Ok(json!({
        "messages": messages,
        "seconds": seconds,
        "per_second": messages as f64 / seconds,
        "cpu_us": server.ran as f64 / 1e3 / messages as f64,
        "server_busy": server.ran as f64 / 1e9 / seconds,
        "server_wait": server.waited as f64 / 1e9 / seconds,
        "load_busy": own.ran as f64 / 1e9 / seconds,
        "load_wait": own.waited as f64 / 1e9 / seconds,
        "p50_us": meter::quantile_us(0.50),
        "p99_us": meter::quantile_us(0.99),
    }))
}

/// Opens clients that then do nothing, and gives what each costs in memory.
///
/// The first few are not counted: they pay for what the server sets up once.
///
/// A client may have a task that listens; if one ends, the run fails.
pub(super) async fn memory<F: Future<Output = Result<JoinSet<Result<()>>>>>(
    load: &Load,
    open: impl Fn(u64) -> F,
) -> Result<Value> {
    const FIRST: usize = 64;
    let first = open_all(FIRST, &open).await?;
    sleep(load.warm_up).await;
    let (memory, clock) = (process::resident(load.pid)?, Clock::of(load.pid)?);
    let mut clients = open_all(load.clients, |number| open(FIRST as u64 + number)).await?;
    sleep(load.warm_up).await;
    let opened = Clock::of(load.pid)?.since(clock);
    let held = process::resident(load.pid)?;
    let quiet = Clock::of(load.pid)?;
    sleep(load.window).await;
    let quiet = Clock::of(load.pid)?.since(quiet);
    for client in &mut clients {
        if let Some(ended) = client.try_join_next() {
            ended?.context("an idle client failed")?;
        }
    }
    drop((first, clients));
    sleep(load.warm_up + load.window).await;
    let left = process::resident(load.pid)?;
    let per_client = |bytes: u64| bytes as f64 / load.clients as f64;
    Ok(json!({
        "clients": load.clients,
        "kib_per_client": per_client(held.saturating_sub(memory)) / 1024.0,
        "kib_left_per_client": per_client(left.saturating_sub(memory)) / 1024.0,
        "open_cpu_us": per_client(opened.ran) / 1e3,
        "idle_cpu_us_per_second": per_client(quiet.ran) / 1e3 / load.window.as_secs_f64(),
        "server_wait": 0.0,
    }))
}
