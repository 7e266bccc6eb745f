//! `cargo xtask races`: the server under a scheduler that tries out who goes first.

use std::time::Duration;

use anyhow::Result;

use crate::process::{self, Reach};
use crate::steps::step;
use crate::workspace::{Workspace, cargo};

/// How many schedules each scenario meets if nothing else is said, once drawn at random and once with preferences.
pub(crate) const ROUNDS: u32 = 400;

/// What puts the scheduler's locks and tasks in the place of those of std and tokio.
const FLAG: &str = "--cfg=engineio_shuttle";

const BUILD_LIMIT: Duration = Duration::from_secs(20 * 60);

/// Far more than a round takes on a slow machine.
const ROUND_LIMIT: Duration = Duration::from_secs(1);

/// Runs every scenario of `engineio-tower/tests/races` so many times of each kind; a seed is the whole story of a run.
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

/// The flag would have everything built anew that lies in the usual directory.
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
        // It models all orders of memory as the strongest, and says so for each test.
        .env("SHUTTLE_SILENCE_WARNINGS", "1")
        .current_dir(&workspace.root);
    process::run(&mut command, Reach::Program, limit)
}
