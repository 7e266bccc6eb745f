//! `cargo xtask races`: the server under shuttle, a scheduler that explores interleavings.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::compiler;
use crate::process::{self, BUILD_LIMIT, Reach};
use crate::step::step;
use crate::workspace::{Workspace, cargo};

/// The default number of schedules for each scenario, with each of two kinds of scheduler: random and with priorities.
pub(crate) const ROUNDS: u32 = 400;

/// Replaces the locks and tasks of std and tokio with those of the scheduler.
const FLAG: &str = "--cfg=engineio_shuttle";

/// Far more than a round takes on a slow machine.
const ROUND_LIMIT: Duration = Duration::from_secs(1);

/// Runs every scenario of `engineio-tower/tests/races` under `rounds` schedules of each kind. The seed alone determines them.
pub(crate) fn run(workspace: &Workspace, rounds: u32, seed: u32) -> Result<()> {
    let compiler = compiler::with_flags(&workspace.target.join("races"), FLAG)?;
    step("build the scenarios of races", || {
        let mut command = test(workspace, &compiler);
        process::run(command.arg("--no-run"), Reach::Program, BUILD_LIMIT)
    })?;
    let heading = format!("races, {rounds} schedules of each kind from seed {seed}");
    step(&heading, || {
        let mut command = test(workspace, &compiler);
        command
            .env("RACES_ROUNDS", rounds.to_string())
            .env("RACES_SEED", seed.to_string())
            // Shuttle treats every memory ordering as sequentially consistent, and would say so in each test.
            .env("SHUTTLE_SILENCE_WARNINGS", "1");
        let limit = BUILD_LIMIT + ROUND_LIMIT * rounds;
        process::run(&mut command, Reach::Program, limit)
    })
}

/// Returns `cargo test` for the scenarios. Only the workspace's own crates are compiled with the flag. So that no
/// dependency is built again, the features are those of the whole workspace.
fn test(workspace: &Workspace, compiler: &Path) -> Command {
    let mut command = cargo();
    command
        .args(["test", "--workspace", "--test", "races", "--locked"])
        .env("RUSTC_WORKSPACE_WRAPPER", compiler)
        .current_dir(&workspace.root);
    command
}
