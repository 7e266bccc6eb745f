//! The run with as many idle WebSockets as possible, which is too long for the rounds of the other tables.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use super::cpus;
use super::modes::SCALE;
use super::peers::Peers;
use super::round;
use super::servers::SERVERS;
use crate::options::Options;

/// The lines of the table: what, key, digits.
const LINES: &[(&str, &str, usize)] = &[
    ("clients", "clients", 0),
    ("opened per second", "open_per_second", 0),
    ("CPU µs to open one", "open_cpu_us", 1),
    ("KiB a client", "kib_per_client", 2),
    (
        "KiB a client after the broadcasts",
        "kib_per_client_after_broadcasts",
        2,
    ),
    (
        "KiB of the kernel for both ends of a connection",
        "kernel_kib_per_client",
        2,
    ),
    ("busy with heartbeats alone", "busy", 3),
    ("heartbeats in that window", "pings", 0),
    ("CPU µs a heartbeat", "ping_cpu_us", 2),
    (
        "longest pause between two heartbeats, s",
        "longest_pause_s",
        2,
    ),
    ("broadcasts in a window", "broadcasts", 0),
    ("ms from one broadcast to the next", "broadcast_ms", 0),
    (
        "ms to the last client, 99th percentile",
        "broadcast_p99_ms",
        0,
    ),
    ("CPU µs a delivery", "delivery_cpu_us", 2),
    (
        "busy with broadcasts and heartbeats",
        "busy_broadcasting",
        2,
    ),
    ("heartbeats in that window", "pings_broadcasting", 0),
    (
        "longest pause between two heartbeats under broadcasts, s",
        "longest_pause_broadcasting_s",
        2,
    ),
    ("waited for a processor", "server_wait", 2),
];

/// Runs it with each server, and prints a table.
pub(super) fn run(mut options: Options, peers: &mut Peers) -> Result<()> {
    let mut mode = SCALE;
    mode.clients = options.number("clients", mode.clients)?;
    let window = Duration::from_millis(options.number("window-ms", 30_000)?);
    let names = options
        .list("servers")
        .unwrap_or_else(|| vec!["ours".to_owned()]);
    options.finish()?;
    // Each client has a descriptor in the server and one in the generator.
    cpus::allow_files(mode.clients as u64 + 1_000)?;
    let mut columns = Vec::new();
    for server in SERVERS
        .iter()
        .filter(|server| names.iter().any(|name| name == server.name))
    {
        let sample = round::once(server, &mode, window, peers)?;
        columns.push((server.what, sample.raw));
    }
    println!("{}\n\n{}", cpus::machine(), table(&columns));
    Ok(())
}

fn table(columns: &[(&str, Value)]) -> String {
    let mut out = String::from("| |");
    for (what, _) in columns {
        out += &format!(" {what} |");
    }
    out += "\n|---|";
    out += &"---|".repeat(columns.len());
    for (what, key, digits) in LINES {
        out += &format!("\n| {what} |");
        for (_, figures) in columns {
            let figure = figures[key].as_f64().unwrap_or(f64::NAN);
            out += &format!(" {figure:.digits$} |");
        }
    }
    out
}
