//! `cargo xtask soak`: well-behaved and hostile clients against every host, with a count of every message. The load is the
//! example program `soak`, which has the rules.

use std::time::Duration;

use anyhow::Result;

use crate::process::{self, Reach};
use crate::programs::{Build, HOSTS, LISTEN};
use crate::running::{Running, stop_all};
use crate::step::step;
use crate::workspace::Workspace;

/// The default time under load for each host.
pub(crate) const SECONDS: u64 = 10;

/// The server's ping interval and ping timeout. Short, so that silent clients time out several times in a run.
const PING_INTERVAL_MS: u64 = 1_500;
const PING_TIMEOUT_MS: u64 = 2_500;

/// A `maxPayload` that fits the base64 form of the largest message.
const MAX_PAYLOAD: u64 = 300_000;

/// The number of well-behaved clients if nothing is optimised. They send as fast as they can, so that this many keep the
/// processors as busy as more would, and delay the heartbeats less.
const DEBUG_CLIENTS: u64 = 8;

/// How much longer than its time the load program may run, to finish its sessions and check that nothing is left.
const END_LIMIT: Duration = Duration::from_secs(180);

/// Puts each host under load for `seconds`, one after the other, with optimised programs.
pub(crate) fn run(workspace: &Workspace, hosts: &[&str], seconds: u64) -> Result<()> {
    step("build the programs under load", || {
        Build::Optimised.make(workspace)
    })?;
    each(workspace, Build::Optimised, hosts, seconds)
}

/// Puts every host under load with the programs that `cargo test --workspace` has built: optimised ones would take longer to
/// build than to run.
pub(crate) fn with_debug_programs(workspace: &Workspace) -> Result<()> {
    each(workspace, Build::Debug, HOSTS, SECONDS)
}

fn each(workspace: &Workspace, build: Build, hosts: &[&str], seconds: u64) -> Result<()> {
    for host in hosts {
        step(&format!("soak {host} for {seconds} s"), || {
            soak(workspace, build, host, seconds)
        })?;
    }
    Ok(())
}

fn soak(workspace: &Workspace, build: Build, host: &str, seconds: u64) -> Result<()> {
    let text = |number: u64| number.to_string();
    let (interval, timeout) = (text(PING_INTERVAL_MS), text(PING_TIMEOUT_MS));
    let room = text(MAX_PAYLOAD);
    let options = [
        "--host",
        host,
        "--eio3",
        "--ping-interval-ms",
        &interval,
        "--ping-timeout-ms",
        &timeout,
        "--max-payload",
        &room,
    ];
    let name = format!("soak-{host}");
    let mut echo = build.program(workspace, "echo");
    echo.args(options).args(LISTEN);
    let server = Running::server(workspace, &name, echo)?;
    let mut load = build.program(workspace, "soak");
    load.args(["--url", server.url(), "--eio3"])
        .args(["--pid", &text(u64::from(server.id()))])
        .args(["--seconds", &text(seconds)])
        .args(["--life-ms", &text(PING_INTERVAL_MS + PING_TIMEOUT_MS)]);
    if build == Build::Debug {
        load.args(["--clients", &text(DEBUG_CLIENTS)]);
    }
    if host == "actix" {
        load.arg("--lingers");
    }
    let limit = Duration::from_secs(seconds) + END_LIMIT;
    let result = process::run(&mut load, Reach::Program, limit);
    stop_all(result, [server])
}
