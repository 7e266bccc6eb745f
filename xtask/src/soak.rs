//! `cargo xtask soak`: clients that behave and clients that do not, against every host for some time, and a count of every
//! message. The load is the example program `soak`, which has the rules.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::interop::{build, finish, logs};
use crate::process::{self, Reach};
use crate::server::Server;
use crate::steps::step;
use crate::workspace::Workspace;

/// How long each host is under load if nothing else is said: four of them are a minute.
pub(crate) const SECONDS: u64 = 15;

/// The server's ping interval and ping timeout. Short, so that whoever is silent is given up several times in a run.
const PING_INTERVAL_MS: u64 = 1_500;
const PING_TIMEOUT_MS: u64 = 2_500;

/// Room for the base64 form of the largest message.
const MAX_PAYLOAD: u64 = 300_000;

/// What the load program may take beyond its time: to end what it is about, and to see that nothing is left.
const END_LIMIT: Duration = Duration::from_secs(180);

/// Puts each host under load for so many seconds, one after the other.
pub(crate) fn run(workspace: &Workspace, hosts: &[&str], seconds: u64) -> Result<()> {
    step("build the programs under load", || build(workspace))?;
    for host in hosts {
        step(&format!("soak {host} for {seconds} s"), || {
            soak(workspace, host, seconds)
        })?;
    }
    Ok(())
}

fn soak(workspace: &Workspace, host: &str, seconds: u64) -> Result<()> {
    let programs = workspace.target.join("release");
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
    let server = Server::start(&name, &programs.join("echo"), &options, &logs(workspace))?;
    let mut load = Command::new(programs.join("soak"));
    load.args(["--url", server.url(), "--eio3"])
        .args(["--pid", &text(u64::from(server.id()))])
        .args(["--seconds", &text(seconds)])
        .args(["--life-ms", &text(PING_INTERVAL_MS + PING_TIMEOUT_MS)]);
    if host == "actix" {
        load.arg("--lingers");
    }
    let limit = Duration::from_secs(seconds) + END_LIMIT;
    let result = process::run(&mut load, Reach::Program, limit);
    finish(result, [server])
}
