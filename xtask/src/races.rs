//! `cargo xtask races`: the server under shuttle, a scheduler that explores interleavings.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::{self, BUILD_LIMIT, Reach};
use crate::step::step;
use crate::workspace::{Workspace, cargo};

/// The default number of schedules for each scenario, with each of two kinds of scheduler: random and with priorities.
pub(crate) const ROUNDS: u32 = 400;

/// Compiles a crate with the flag that replaces the locks and tasks of std and tokio with those of the scheduler.
const COMPILER: &str = "#!/bin/sh\nexec \"$@\" --cfg=engineio_shuttle\n";

/// Far more than a round takes on a slow machine.
const ROUND_LIMIT: Duration = Duration::from_secs(1);

/// Runs every scenario of `engineio-tower/tests/races` under `rounds` schedules of each kind. The seed alone determines them.
pub(crate) fn run(workspace: &Workspace, rounds: u32, seed: u32) -> Result<()> {
    let compiler = compiler(workspace)?;
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

/// Returns `cargo test` for the scenarios. Only the workspace's own crates are compiled with the flag: in `RUSTFLAGS`, it
/// would rebuild every dependency. For the same reason the features are those of the whole workspace.
fn test(workspace: &Workspace, compiler: &Path) -> Command {
    let mut command = cargo();
    command
        .args(["test", "--workspace", "--test", "races", "--locked"])
        .env("RUSTC_WORKSPACE_WRAPPER", compiler)
        .current_dir(&workspace.root);
    command
}

/// Writes the program that cargo runs in place of the compiler.
fn compiler(workspace: &Workspace) -> Result<PathBuf> {
    let directory = workspace.target.join("races");
    fs::create_dir_all(&directory)?;
    let path = directory.join("rustc");
    fs::write(&path, COMPILER)
        .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
