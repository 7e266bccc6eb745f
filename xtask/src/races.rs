//! `cargo xtask races`: the server under shuttle, a scheduler that explores interleavings.

use std::time::Duration;

use anyhow::Result;

use crate::process::{self, BUILD_LIMIT, Reach};
use crate::step::step;
use crate::workspace::{Workspace, cargo};

/// The default number of schedules for each scenario, with each of two kinds of scheduler: random and with priorities.
pub(crate) const ROUNDS: u32 = 400;

/// The flag that replaces the locks and tasks of std and tokio with those of the scheduler.
const FLAG: &str = "--cfg=engineio_shuttle";

/// Far more than a round takes on a slow machine.
const ROUND_LIMIT: Duration = Duration::from_secs(1);

/// Runs every scenario of `engineio-tower/tests/races` under `rounds` schedules of each kind. The seed alone determines them.
pub(crate) fn run(workspace: &Workspace, rounds: u32, seed: u32) -> Result<()> {
    step("build the scenarios of races", || {
        test(workspace, &["--no-run"], rounds, seed, BUILD_LIMIT)
    })?;
    let heading = format!("races, {rounds} schedules of each kind from seed {seed}");
    step(&heading, || {
        let limit = BUILD_LIMIT + ROUND_LIMIT * rounds;
        test(workspace, &["--"], rounds, seed, limit)
    })
}

/// Runs `cargo test` with the flag, in a target directory of its own: in the usual one the flag would rebuild everything.
fn test(
    workspace: &Workspace,
    arguments: &[&str],
    rounds: u32,
    seed: u32,
    limit: Duration,
) -> Result<()> {
    let mut command = cargo();
    command
        .args(["test", "--package", "engineio-tower", "--test", "races"])
        .args(["--locked", "--target-dir"])
        .arg(workspace.target.join("races"))
        .args(arguments)
        .env("CARGO_ENCODED_RUSTFLAGS", FLAG)
        .env("RACES_ROUNDS", rounds.to_string())
        .env("RACES_SEED", seed.to_string())
        // Shuttle treats every memory ordering as sequentially consistent, and would say so in each test.
        .env("SHUTTLE_SILENCE_WARNINGS", "1")
        .current_dir(&workspace.root);
    process::run(&mut command, Reach::Program, limit)
}
