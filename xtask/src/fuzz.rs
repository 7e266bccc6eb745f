//! `cargo xtask fuzz`: runs every target of `fuzz/` for some time and prints the coverage it reached.
//!
//! The targets are those of cargo-fuzz, and `cargo fuzz run TARGET` works too. This task builds them with the same
//! instrumentation but without a sanitizer, which would only guard unsafe code, so that no tool has to be installed.

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::{self, BUILD_LIMIT, Reach};
use crate::step::step;
use crate::workspace::{Workspace, cargo};

pub(crate) const TARGETS: &[&str] = &[
    "v4_payload",
    "v3_text_payload",
    "v3_binary_payload",
    "query",
    "jsonp_body",
    "open_packet",
    "websocket_frames",
    "packet_stream",
    "server_session",
    "client_session",
    "service",
];

/// The default time for each target: enough to see that it works.
pub(crate) const SECONDS: u32 = 10;

/// The coverage instrumentation of libFuzzer.
const INSTRUMENTATION: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    // Failed assertions and overflows are findings.
    "-Cdebug-assertions",
    "-Coverflow-checks",
];

/// The time limit for one input and the memory limit for the run. Exceeding either is a finding.
const SLOWEST_INPUT_SECONDS: u32 = 10;
const MOST_MEMORY_MIB: u32 = 1_024;

/// Runs one target or all of them for `seconds` each, as many at a time as there are processors.
pub(crate) fn run(workspace: &Workspace, target: Option<&str>, seconds: u32) -> Result<()> {
    let build = workspace.target.join("fuzz");
    step("build the fuzz targets", || compile(workspace, &build))?;
    let targets = match &target {
        Some(target) => std::slice::from_ref(target),
        None => TARGETS,
    };
    let heading = format!("fuzz {} for {seconds} s each", targets.join(", "));
    let reached = step(&heading, || fuzz_all(workspace, &build, targets, seconds))?;
    println!(
        "\n{:<20}{:>14}{:>12}{:>10}",
        "target", "executions", "edges", "inputs"
    );
    for (target, reached) in targets.iter().zip(reached) {
        println!(
            "{target:<20}{:>14}{:>12}{:>10}",
            reached.executions, reached.edges, reached.inputs
        );
    }
    Ok(())
}

fn fuzz_all(
    workspace: &Workspace,
    build: &Path,
    targets: &[&str],
    seconds: u32,
) -> Result<Vec<Reached>> {
    let next = AtomicUsize::new(0);
    let reached: Vec<OnceLock<Result<Reached>>> = targets.iter().map(|_| OnceLock::new()).collect();
    let work = || {
        while let index = next.fetch_add(1, Ordering::Relaxed)
            && let Some(target) = targets.get(index)
        {
            let _ = reached[index].set(fuzz(workspace, build, target, seconds));
        }
    };
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    // All targets have run, and those that failed have printed their names, before the first error is returned.
    let reached = reached.into_iter().filter_map(OnceLock::into_inner);
    reached.collect()
}

fn compile(workspace: &Workspace, build: &Path) -> Result<()> {
    let mut command = cargo();
    // The flags apply to one target triple, so that build scripts run without instrumentation. No `--locked`: the lock
    // file follows the crates of the main workspace, whose dependencies change.
    command
        .args(["build", "--release", "--bins", "--target"])
        .arg(host_triple()?)
        .arg("--target-dir")
        .arg(build)
        .env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTATION.join("\u{1f}"))
        .current_dir(workspace.root.join("fuzz"));
    process::run(&mut command, Reach::Program, BUILD_LIMIT)
}

fn host_triple() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output();
    let output = output.context("cannot run rustc")?;
    let text = String::from_utf8(output.stdout).context("rustc prints no text")?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc names no host")
}

/// The coverage that a run reached.
#[derive(Debug, Default, PartialEq)]
struct Reached {
    executions: String,
    edges: String,
    /// The number of inputs in the corpus, each with coverage of its own.
    inputs: String,
}

impl Reached {
    /// Parses a line of libFuzzer: `#123 DONE cov: 45 ft: 67 corp: 8/9b …`.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let executions = words.next()?.strip_prefix('#')?.to_owned();
        let mut reached = Self {
            executions,
            ..Self::default()
        };
        while let Some(word) = words.next() {
            match word {
                "cov:" => reached.edges = words.next()?.to_owned(),
                "corp:" => reached.inputs = words.next()?.split('/').next()?.to_owned(),
                _ => {}
            }
        }
        (!reached.edges.is_empty()).then_some(reached)
    }
}

/// Runs one target. New inputs go to the build directory; the committed corpus is only read.
fn fuzz(workspace: &Workspace, build: &Path, target: &str, seconds: u32) -> Result<Reached> {
    let found = build.join("corpus").join(target);
    let crashes = build.join("artifacts").join(target);
    fs::create_dir_all(&found)?;
    fs::create_dir_all(&crashes)?;
    let log = build.join(format!("{target}.log"));
    let mut command = Command::new(program(build, target)?);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={SLOWEST_INPUT_SECONDS}"))
        .arg(format!("-rss_limit_mb={MOST_MEMORY_MIB}"))
        .arg(format!("-artifact_prefix={}/", crashes.display()))
        .arg(&found)
        .arg(workspace.root.join("fuzz/corpus").join(target))
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log)?);
    let dictionary = workspace
        .root
        .join(format!("fuzz/dictionaries/{target}.txt"));
    if dictionary.is_file() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    let began = Instant::now();
    let limit = Duration::from_secs(u64::from(seconds) + 120);
    let outcome = process::run(&mut command, Reach::Program, limit);
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if let Err(error) = outcome {
        let lines: Vec<&str> = text.lines().collect();
        eprintln!("{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        bail!("{target}: {error}; the input is in {}", crashes.display());
    }
    let Some(reached) = text.lines().filter_map(Reached::parse).next_back() else {
        bail!(
            "{target} ran for {:.0} s and reached nothing",
            began.elapsed().as_secs_f64()
        );
    };
    Ok(reached)
}

/// Returns the path of a target's binary, which lies below the name of the triple.
fn program(build: &Path, target: &str) -> Result<PathBuf> {
    Ok(build.join(host_triple()?).join("release").join(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_a_run_are_read() {
        let line = "#123\tDONE   cov: 45 ft: 67 corp: 8/9b lim: 4096 exec/s: 5 rss: 30Mb";
        let reached = Reached::parse(line).unwrap();
        assert_eq!(
            [reached.executions, reached.edges, reached.inputs],
            ["123", "45", "8"]
        );
        assert_eq!(Reached::parse("INFO: seed corpus"), None);
    }

    #[test]
    fn the_list_of_targets_is_that_of_the_manifest() {
        let manifest = include_str!("../../fuzz/Cargo.toml");
        let (_, binaries) = manifest.split_once("[[bin]]").unwrap();
        let names: Vec<_> = binaries
            .lines()
            .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
            .collect();
        assert_eq!(names, TARGETS);
    }
}
