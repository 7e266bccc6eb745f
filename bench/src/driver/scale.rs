//! The run with as many idle WebSockets as possible, which is too long for the rounds of the other tables.
//!
//! A process may have so many open files only. Clients beyond that are spread over several servers, each with a generator of
//! its own; all servers share one processor, and all generators the other one.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::cpus;
use super::modes::{Mode, SCALE};
use super::peers::Peers;
use super::round;
use super::servers::{Running, SERVERS, Server};
use crate::load::process;
use crate::options::Options;

/// The open files of a process that are no clients.
const OTHER_FILES: u64 = 500;

/// How the figures of several processes are put together.
#[derive(Clone, Copy)]
enum Of {
    Sum,
    Mean,
    Most,
}

/// The lines of the table: what, key, digits, and how it is put together.
const LINES: &[(&str, &str, usize, Of)] = &[
    ("clients", "clients", 0, Of::Sum),
    ("opened per second", "open_per_second", 0, Of::Sum),
    ("CPU µs to open one", "open_cpu_us", 1, Of::Mean),
    ("KiB a client", "kib_per_client", 2, Of::Mean),
    (
        "KiB a client after the broadcasts",
        "kib_per_client_after_broadcasts",
        2,
        Of::Mean,
    ),
    ("busy with heartbeats alone", "busy", 3, Of::Sum),
    ("heartbeats in that window", "pings", 0, Of::Sum),
    ("CPU µs a heartbeat", "ping_cpu_us", 2, Of::Mean),
    (
        "longest pause between two heartbeats, s",
        "longest_pause_s",
        2,
        Of::Most,
    ),
    (
        "s from one broadcast to the next",
        "broadcast_s",
        2,
        Of::Most,
    ),
    ("CPU µs a delivery", "delivery_cpu_us", 2, Of::Mean),
    (
        "busy with broadcasts and heartbeats",
        "busy_broadcasting",
        2,
        Of::Sum,
    ),
    (
        "heartbeats in that window",
        "pings_broadcasting",
        0,
        Of::Sum,
    ),
    (
        "longest pause between two heartbeats under broadcasts, s",
        "longest_pause_broadcasting_s",
        2,
        Of::Most,
    ),
];

/// The figures of one server, in all its processes.
struct Column {
    what: &'static str,
    processes: Vec<Value>,
    /// The most memory that the kernel had for the sockets of both ends, in bytes.
    kernel: u64,
}

/// Runs it with each server, and prints a table.
pub(super) fn run(mut options: Options, peers: &mut Peers) -> Result<()> {
    let clients: usize = options.number("clients", SCALE.clients)?;
    let window = Duration::from_millis(options.number("window-ms", 30_000)?);
    let names = options
        .list("servers")
        .unwrap_or_else(|| vec!["ours".to_owned()]);
    options.finish()?;
    let most = cpus::allow_many_files()?.saturating_sub(OTHER_FILES).max(1);
    let processes = clients.div_ceil(usize::try_from(most)?);
    let mut mode = SCALE;
    mode.clients = clients.div_ceil(processes);
    let mut columns = Vec::new();
    let is_named = |server: &&Server| names.iter().any(|name| name == server.name);
    for server in SERVERS.iter().filter(is_named) {
        columns.push(measure(server, &mode, processes, window, peers)?);
    }
    println!("{}\n\n{}", cpus::machine(), table(&columns));
    Ok(())
}

fn measure(
    server: &Server,
    mode: &Mode,
    processes: usize,
    window: Duration,
    peers: &mut Peers,
) -> Result<Column> {
    let before = process::kernel()?;
    let mut servers = Vec::new();
    let mut loads = Vec::new();
    for _ in 0..processes {
        let running = Running::start(server, mode, peers)?;
        let command = round::generator(&running)?;
        loads.push(round::load(command, &running, mode, window)?);
        servers.push(running);
    }
    let mut kernel = 0;
    // Each bounds its own time.
    while loads
        .iter_mut()
        .any(|load| matches!(load.try_wait(), Ok(None)))
    {
        sleep(Duration::from_secs(1));
        kernel = kernel.max(process::kernel()?.saturating_sub(before));
    }
    let answers = loads.into_iter().map(round::answer);
    let processes: Result<Vec<Value>> = answers.collect();
    Ok(Column {
        what: server.what,
        processes: processes.with_context(|| server.name)?,
        kernel,
    })
}

impl Column {
    fn figure(&self, key: &str, of: Of) -> f64 {
        let figures = self.processes.iter();
        let figures = figures.map(|figures| figures[key].as_f64().unwrap_or(f64::NAN));
        match of {
            Of::Sum => figures.sum(),
            Of::Mean => figures.sum::<f64>() / self.processes.len() as f64,
            Of::Most => figures.fold(0.0, f64::max),
        }
    }
}

fn table(columns: &[Column]) -> String {
    let mut out = String::from("| |");
    for column in columns {
        out += &format!(" {} |", column.what);
    }
    out += "\n|---|";
    out += &"---|".repeat(columns.len());
    let mut line = |what: &str, digits: usize, figure: &dyn Fn(&Column) -> f64| {
        out += &format!("\n| {what} |");
        for column in columns {
            out += &format!(" {:.digits$} |", figure(column));
        }
    };
    line("processes", 0, &|column| column.processes.len() as f64);
    for &(what, key, digits, of) in LINES {
        line(what, digits, &|column| column.figure(key, of));
    }
    line(
        "KiB of the kernel for both ends of a connection",
        2,
        &|column| column.kernel as f64 / 1024.0 / column.figure("clients", Of::Sum),
    );
    out
}
