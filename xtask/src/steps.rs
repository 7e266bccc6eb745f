//! `cargo xtask test`: what a change must pass, in the order in which failures are cheapest.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::fuzz;
use crate::interop::{self, HOSTS};
use crate::process::{self, Reach};
use crate::races;
use crate::soak;
use crate::trial;
use crate::workspace::{Workspace, cargo};

/// No step of cargo needs this on a slow machine with an empty cache; one that does hangs.
const CARGO_LIMIT: Duration = Duration::from_secs(20 * 60);

/// Runs every step, and stops at the first that fails.
pub(crate) fn test(workspace: &Workspace) -> Result<()> {
    let began = Instant::now();
    cargo_step(workspace, "fmt --all --check", &[])?;
    // The lock file is part of what is tested: nothing here may resolve other versions.
    cargo_step(
        workspace,
        "clippy --workspace --all-targets --locked -- -D warnings",
        &[],
    )?;
    // No targets of a plain `cargo test`, and so none of the above.
    cargo_step(
        workspace,
        "clippy --workspace --test interop --test proxies --locked -- -D warnings",
        &[],
    )?;
    cargo_step(workspace, "test --workspace --locked", &[])?;
    cargo_step(
        workspace,
        "doc --workspace --no-deps --locked",
        &[("RUSTDOCFLAGS", "-Dwarnings")],
    )?;
    trial::run(workspace)?;
    races::run(workspace, races::ROUNDS, 0)?;
    fuzz::run(workspace, None, fuzz::SECONDS)?;
    interop::run(workspace, None, HOSTS)?;
    soak::run(workspace, HOSTS, soak::SECONDS)?;
    println!("\n== all passed in {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

fn cargo_step(workspace: &Workspace, arguments: &str, environment: &[(&str, &str)]) -> Result<()> {
    let settings: String = environment
        .iter()
        .map(|(name, value)| format!("{name}={value} "))
        .collect();
    step(&format!("{settings}cargo {arguments}"), || {
        let mut command = cargo();
        command
            .args(arguments.split(' '))
            .envs(environment.iter().copied())
            .current_dir(&workspace.root);
        process::run(&mut command, Reach::Program, CARGO_LIMIT)
    })
}

/// Runs `work` under a heading and says how long it took; a failure names the step.
pub(crate) fn step<T>(heading: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("\n== {heading}");
    let began = Instant::now();
    let result = work();
    let seconds = began.elapsed().as_secs_f64();
    match &result {
        Ok(_) => println!("-- passed in {seconds:.1} s"),
        Err(_) => println!("-- FAILED after {seconds:.1} s"),
    }
    result.with_context(|| format!("step failed: {heading}"))
}
