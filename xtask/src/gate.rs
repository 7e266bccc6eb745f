//! `cargo xtask check` and `cargo xtask test`: what a change must pass, between commits and before it is merged.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::cluster;
use crate::lanes::{self, Lane};
use crate::programs::Build;
use crate::soak;
use crate::step::{cargo_step, step};
use crate::workspace::{Workspace, cargo};

const CLIPPY: [&str; 2] = [
    "clippy --workspace --all-targets --locked -- -D warnings",
    // A plain `cargo test` does not run these targets, so `--all-targets` does not have them.
    "clippy --workspace --test interop --test proxies --test brokers --features engineio-cli/webtransport,engineio-cluster/nats,engineio-cluster/redis-tls \
     --locked -- -D warnings",
];

/// Checks the format and the lints, and runs the unit and scenario tests, without the documentation tests and those attacks
/// that take longer than a moment.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let began = Instant::now();
    lints(workspace)?;
    step("build the programs that tests start", || {
        Build::Debug.make(workspace)
    })?;
    cargo_step(
        workspace,
        "test --workspace --locked --lib --bins --tests -- --skip at_length:: --skip on_a_process::",
    )?;
    passed(began);
    Ok(())
}

/// Runs every step. What keeps the processors busy comes first or beside what mostly waits.
pub(crate) fn test(workspace: &Workspace) -> Result<()> {
    let began = Instant::now();
    let tasks = Tasks::new(workspace)?;
    // Fetching waits for the network, and no build needs what it brings.
    let fetch = Lane::new().then("fetch the peers", tasks.xtask("fetch"));
    lanes::run(workspace, vec![fetch, builds(&tasks)])?;
    // Alone: many of its tests keep both processors busy, and others measure time.
    cargo_step(workspace, "test --workspace --locked")?;
    lanes::run(workspace, side_by_side(&tasks))?;
    soak::with_debug_programs(workspace)?;
    passed(began);
    Ok(())
}

/// Checks the format and the lints.
pub(crate) fn lints(workspace: &Workspace) -> Result<()> {
    cargo_step(workspace, "fmt --all --check")?;
    CLIPPY
        .iter()
        .try_for_each(|clippy| cargo_step(workspace, clippy))
}

/// Checks lints and documentation, and builds the tests and programs of the later steps. The lock file is part of what is
/// tested, so no step may resolve other versions.
fn builds(tasks: &Tasks<'_>) -> Lane {
    // The example brings in the development dependencies, so that dependencies have the features that clippy has checked.
    let mut doc =
        tasks.cargo("doc --workspace --no-deps --locked --lib --bins --example custom_driver");
    doc.env("RUSTDOCFLAGS", "-Dwarnings");
    let tests = "test --workspace --locked --no-run";
    let with_peers = format!("{} --test interop --test proxies --no-run", cluster::TESTS);
    Lane::new()
        .then("format, lints", tasks.xtask("lints"))
        .then("cargo doc, without warnings", doc)
        .then(format!("cargo {tests}"), tasks.cargo(tests))
        .then(format!("cargo {with_peers}"), tasks.cargo(&with_peers))
}

/// Two lanes of suites that mostly wait, for heartbeats, faults and pages, and one of work for the processors, which leaves the
/// suites all the time that they want.
fn side_by_side(tasks: &Tasks<'_>) -> Vec<Lane> {
    let interop = |lane: Lane, suite: &str| {
        let command = tasks.xtask(&format!("interop --only {suite}"));
        lane.then(format!("interop {suite}"), command)
    };
    let js = interop(Lane::new(), "js --host all");
    let clients = ["client --host all", "python --host all", "proxies"]
        .into_iter()
        .fold(
            js.then("cluster", tasks.xtask("cluster --part bounded")),
            interop,
        );
    // In one lane: beside a second browser for all of the time, pages miss time limits.
    let browsers = ["pages", "browser --host all"]
        .into_iter()
        .fold(Lane::new(), interop);
    // Shorter and less optimised than by hand: this sees that the targets work, on the inputs of the corpus and some more.
    let mut fuzz = tasks.xtask("fuzz --seconds 5");
    fuzz.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0");
    let work = Lane::with_low_priority()
        .then("trial", tasks.xtask("trial"))
        .then(
            "trial of frameworks",
            tasks.xtask("trial --part some-frameworks"),
        )
        .then("races", tasks.xtask("races"))
        .then("fuzz", fuzz);
    vec![clients, browsers, work]
}

fn passed(began: Instant) {
    println!("\n== all passed in {:.1} s", began.elapsed().as_secs_f64());
}

/// Makes the commands of the lanes.
struct Tasks<'a> {
    workspace: &'a Workspace,
    program: PathBuf,
}

impl<'a> Tasks<'a> {
    fn new(workspace: &'a Workspace) -> Result<Self> {
        let directory = workspace.target.join("gate");
        fs::create_dir_all(&directory)?;
        // A copy, because cargo replaces this program when it builds the workspace.
        let program = directory.join("xtask");
        let own = env::current_exe().context("cannot find this program")?;
        fs::copy(&own, &program).with_context(|| format!("cannot copy {}", own.display()))?;
        Ok(Self { workspace, program })
    }

    fn xtask(&self, arguments: &str) -> Command {
        self.with(Command::new(&self.program), arguments)
    }

    fn cargo(&self, arguments: &str) -> Command {
        self.with(cargo(), arguments)
    }

    fn with(&self, mut command: Command, arguments: &str) -> Command {
        command
            .args(arguments.split(' '))
            .current_dir(&self.workspace.root);
        command
    }
}
