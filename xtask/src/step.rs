//! One step of a task: a heading, the work, and how long it took.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::process::{self, BUILD_LIMIT, Reach};
use crate::workspace::{Workspace, cargo};

/// Runs `work` under a heading and prints how long it took. An error names the step.
pub(crate) fn step<T>(heading: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("\n== {heading}");
    let began = Instant::now();
    let result = work();
    println!("{}", verdict(result.is_ok(), began.elapsed()));
    result.with_context(|| failure(heading))
}

/// Runs cargo with `arguments` in the workspace, as a step named by the command.
pub(crate) fn cargo_step(workspace: &Workspace, arguments: &str) -> Result<()> {
    step(&format!("cargo {arguments}"), || {
        let mut command = cargo();
        command
            .args(arguments.split(' '))
            .current_dir(&workspace.root);
        process::run(&mut command, Reach::Program, BUILD_LIMIT)
    })
}

/// The line that ends the output of a step.
pub(crate) fn verdict(passed: bool, took: Duration) -> String {
    let seconds = took.as_secs_f64();
    match passed {
        true => format!("-- passed in {seconds:.1} s"),
        false => format!("-- FAILED after {seconds:.1} s"),
    }
}

/// The message that names a failed step.
pub(crate) fn failure(heading: &str) -> String {
    format!("step failed: {heading}")
}
