//! Starts servers in turn, measures them, and writes the report.

mod chart;
mod cpus;
mod modes;
mod peers;
mod report;
mod round;
mod scale;
mod servers;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use self::modes::{MODES, Mode};
use self::peers::Peers;
use self::report::Table;
use self::round::Sample;
use self::servers::{SERVERS, Server};
use crate::options::Options;

/// A plan that needs more than this is a mistake.
const MOST_ROUNDS: usize = 50;

/// The modes to measure, and for how long.
struct Plan {
    name: String,
    modes: Vec<&'static Mode>,
    servers: Vec<&'static Server>,
    rounds: usize,
    window: Duration,
    /// No new round is begun after this.
    limit: Duration,
}

impl Plan {
    fn parse(command: &str, mut options: Options) -> Result<Self> {
        let (quick, rounds, window_ms, limit_s) = match command {
            "quick" => (true, 3, 1_000, 270),
            "full" => (false, 5, 3_000, 3 * 3600),
            "run" => (false, 5, 2_000, 3 * 3600),
            command => {
                bail!(
                    "unknown command {command}; expected quick, full, run, scale, list or instructions"
                )
            }
        };
        let pick = |names: Option<Vec<String>>, all: Vec<(&'static str, bool)>| match names {
            Some(names) => match names
                .iter()
                .find(|name| !all.iter().any(|(known, _)| known == name))
            {
                Some(unknown) => bail!("unknown server or mode {unknown}; see `list`"),
                None => Ok(names),
            },
            None => Ok(all
                .into_iter()
                .filter(|(_, is_quick)| !quick || *is_quick)
                .map(|(name, _)| name.to_owned())
                .collect()),
        };
        let modes = MODES.iter().map(|mode| (mode.name, mode.quick)).collect();
        let modes = pick(options.list("modes"), modes)?;
        let servers = SERVERS
            .iter()
            .map(|server| (server.name, server.quick))
            .collect();
        let servers = pick(options.list("servers"), servers)?;
        let named = |names: &[String], name: &str| names.iter().any(|known| known == name);
        let plan = Self {
            name: options.text("name").unwrap_or_else(|| command.to_owned()),
            modes: MODES
                .iter()
                .filter(|mode| named(&modes, mode.name))
                .collect(),
            servers: SERVERS
                .iter()
                .filter(|server| named(&servers, server.name))
                .collect(),
            rounds: options.number("rounds", rounds)?.min(MOST_ROUNDS),
            window: Duration::from_millis(options.number("window-ms", window_ms)?),
            limit: Duration::from_secs(options.number("limit-s", limit_s)?),
        };
        options.finish()?;
        Ok(plan)
    }
}

/// Runs a command of the driver.
pub(crate) fn run(command: &str, options: Options) -> Result<()> {
    if command == "list" {
        list();
        return options.finish();
    }
    if command == "scale" {
        return scale::run(options, &mut Peers::new(&target_directory()?));
    }
    let plan = Plan::parse(command, options)?;
    cpus::allow_many_files()?;
    let target = target_directory()?;
    let started = Instant::now();
    let tables = tables(&plan, &mut Peers::new(&target));
    write(&plan, &target, started.elapsed(), &tables)
}

fn list() {
    println!("modes (q: in the quick table):");
    for mode in MODES {
        println!(
            "  {} {:16} {}",
            if mode.quick { 'q' } else { ' ' },
            mode.name,
            mode.what
        );
    }
    println!("servers and clients:");
    for server in SERVERS {
        println!(
            "  {} {:16} {}",
            if server.quick { 'q' } else { ' ' },
            server.name,
            server.what
        );
    }
}

/// All rounds of all modes. Within a round the servers of a mode follow each other closely, so that what disturbs the
/// machine for a while disturbs them all; and a plan that runs out of time has measured every mode as often.
fn tables(plan: &Plan, peers: &mut Peers) -> Vec<Table> {
    let started = Instant::now();
    let mut tables: Vec<Table> = plan
        .modes
        .iter()
        .map(|mode| Table::new(mode, &plan.servers))
        .collect();
    for round in 1..=plan.rounds {
        for table in &mut tables {
            if started.elapsed() > plan.limit {
                eprintln!("out of time in round {round}");
                return tables;
            }
            for row in &mut table.rows {
                let sample = round::measure(row.server, table.mode, plan.window, peers);
                tell(round, table.mode, row.server, &sample);
                row.add(sample);
            }
        }
    }
    tables
}

fn tell(round: usize, mode: &Mode, server: &Server, sample: &Result<Sample>) {
    match sample {
        Ok(sample) => {
            let mark = if sample.disturbed { " disturbed" } else { "" };
            eprintln!(
                "round {round} {:16} {:14} {:9.3} {}{mark}",
                mode.name,
                server.name,
                sample.figure,
                mode.figure().key()
            );
        }
        Err(error) => eprintln!("{error:#}"),
    }
}

fn write(plan: &Plan, target: &std::path::Path, took: Duration, tables: &[Table]) -> Result<()> {
    let commit = commit();
    let about = format!(
        "{}; commit {commit}; {} rounds, window {} ms; took {} s",
        cpus::machine(),
        plan.rounds,
        plan.window.as_millis(),
        took.as_secs()
    );
    let markdown = report::markdown(&format!("{about}\n"), tables);
    let head = json!({
        "machine": cpus::machine(),
        "commit": commit,
        "rounds": plan.rounds,
        "window_ms": plan.window.as_millis() as u64,
    });
    let directory = target.join("bench");
    fs::create_dir_all(&directory)?;
    let path = |extension: &str| directory.join(format!("{}.{extension}", plan.name));
    fs::write(path("md"), &markdown)?;
    fs::write(path("json"), format!("{:#}\n", report::json(head, tables)))?;
    fs::write(path("svg"), chart::svg(&about, tables))?;
    println!("{markdown}");
    eprintln!("written to {}", path("*").display());
    Ok(())
}

/// The directory into which cargo built this program.
fn target_directory() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).context("no target directory")?;
    Ok(target.to_owned())
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(text.trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_default();
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => commit,
        _ => format!("{commit} with changes"),
    }
}
