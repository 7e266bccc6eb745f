//! As many idle WebSockets as a machine bears: what opening them takes, their memory, their heartbeats, and broadcasts to
//! all of them, which must not put heartbeats off.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::process::{self, Clock};
use super::ws::WebSocket;
use super::{Load, fanout, meter};

/// The time limit for the deliveries of the last broadcast.
const LAST: Duration = Duration::from_secs(30);

/// The processor time and the heartbeats of one window.
struct Window {
    seconds: f64,
    cpu_us: f64,
    waited: f64,
    pings: u64,
    longest_pause: Duration,
}

/// Opens the clients and measures them at rest and under broadcasts, each for one window, which should be longer than
/// the ping interval.
pub(super) async fn run(load: &Load) -> Result<Value> {
    let memory = process::resident(load.pid)?;
    let (clock, start) = (Clock::of(load.pid)?, Instant::now());
    let sockets =
        super::open_all(load.clients, |number| WebSocket::open(load.addr, number)).await?;
    let opening = start.elapsed().as_secs_f64();
    let open_cpu = Clock::of(load.pid)?.since(clock);
    let mut clients = fanout::join(load, sockets, true);
    sleep(load.warm_up).await;
    let held = process::resident(load.pid)?.saturating_sub(memory);

    // The first heartbeats have nothing that they could be late after.
    window(load, &mut clients).await?;
    let quiet = window(load, &mut clients).await?;
    fanout::pause(false);
    let busy = window(load, &mut clients).await?;
    let (broadcasts, deliveries) = (fanout::completed(), meter::messages());
    fanout::pause(true);
    let all = async {
        while !meter::messages().is_multiple_of(load.clients as u64) {
            tokio::task::yield_now().await;
        }
    };
    timeout(LAST, all)
        .await
        .context("some of a broadcast was never delivered")?;
    let most = process::resident(load.pid)?.saturating_sub(memory);
    let count = load.clients as f64;
    // Heartbeats go on meanwhile, and are no part of a delivery.
    let of_pings = quiet.cpu_us / quiet.seconds * busy.seconds;
    Ok(json!({
        "clients": load.clients,
        "open_per_second": count / opening,
        "open_cpu_us": open_cpu.ran as f64 / 1e3 / count,
        "kib_per_client": held as f64 / 1024.0 / count,
        "kib_per_client_after_broadcasts": most as f64 / 1024.0 / count,
        "pings": quiet.pings,
        "busy": quiet.cpu_us / 1e6 / quiet.seconds,
        "ping_cpu_us": quiet.cpu_us / quiet.pings.max(1) as f64,
        "longest_pause_s": quiet.longest_pause.as_secs_f64(),
        "broadcasts": broadcasts,
        "broadcast_s": busy.seconds / broadcasts.max(1) as f64,
        "delivery_cpu_us": (busy.cpu_us - of_pings) / deliveries.max(1) as f64,
        "busy_broadcasting": busy.cpu_us / 1e6 / busy.seconds,
        "pings_broadcasting": busy.pings,
        "longest_pause_broadcasting_s": busy.longest_pause.as_secs_f64(),
        "server_wait": (quiet.waited + busy.waited) / 2.0,
    }))
}

/// Waits for a window. A client that ends fails the run.
async fn window(load: &Load, clients: &mut JoinSet<Result<()>>) -> Result<Window> {
    meter::take_longest_pause();
    let (clock, pings, start) = (Clock::of(load.pid)?, meter::pings(), Instant::now());
    tokio::select! {
        () = sleep(load.window) => {}
        Some(ended) = clients.join_next() => {
            ended?.context("a client failed")?;
            bail!("a client ended");
        }
    }
    let clock = Clock::of(load.pid)?.since(clock);
    let seconds = start.elapsed().as_secs_f64();
    Ok(Window {
        seconds,
        cpu_us: clock.ran as f64 / 1e3,
        waited: clock.waited as f64 / 1e9 / seconds,
        pings: meter::pings() - pings,
        longest_pause: meter::take_longest_pause(),
    })
}
