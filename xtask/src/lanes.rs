//! Runs tasks side by side, each as a process whose output is printed in one piece when it ends.

use std::fs::{self, File};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::process::{self, Reach};
use crate::step::{failure, verdict};
use crate::workspace::Workspace;

/// The time limit of one task.
const LIMIT: Duration = Duration::from_secs(40 * 60);

/// Tasks that run one after the other, beside those of other lanes.
pub(crate) struct Lane {
    tasks: Vec<(String, Command)>,
    has_low_priority: bool,
}

impl Lane {
    pub(crate) fn new() -> Self {
        Self {
            tasks: Vec::new(),
            has_low_priority: false,
        }
    }

    /// A lane that only gets the processor time that the others leave: for builds beside tests that measure time.
    pub(crate) fn with_low_priority() -> Self {
        Self {
            has_low_priority: true,
            ..Self::new()
        }
    }

    /// Adds a task at the end of the lane.
    pub(crate) fn then(mut self, heading: impl Into<String>, command: Command) -> Self {
        self.tasks.push((heading.into(), command));
        self
    }
}

/// Runs all lanes to their end. After a failure no further task starts, and the first failure is the error.
pub(crate) fn run(workspace: &Workspace, lanes: Vec<Lane>) -> Result<()> {
    let run = Run {
        workspace,
        failed: AtomicBool::new(false),
        first_error: Mutex::new(None),
    };
    fs::create_dir_all(run.workspace.target.join("gate"))?;
    thread::scope(|scope| {
        for lane in lanes {
            scope.spawn(|| run.lane(lane));
        }
    });
    let error = run.first_error.into_inner();
    match error.unwrap_or_else(|poisoned| poisoned.into_inner()) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

struct Run<'a> {
    workspace: &'a Workspace,
    failed: AtomicBool,
    first_error: Mutex<Option<anyhow::Error>>,
}

impl Run<'_> {
    fn lane(&self, lane: Lane) {
        for (heading, command) in lane.tasks {
            if self.failed.load(Ordering::Relaxed) {
                return;
            }
            let result = self.task(&heading, command, lane.has_low_priority);
            if let Err(error) = result.with_context(|| failure(&heading)) {
                self.failed.store(true, Ordering::Relaxed);
                if let Ok(mut first) = self.first_error.lock() {
                    first.get_or_insert(error);
                }
            }
        }
    }

    fn task(&self, heading: &str, command: Command, has_low_priority: bool) -> Result<()> {
        let name: String = heading
            .chars()
            .map(|letter| {
                if letter.is_ascii_alphanumeric() {
                    letter
                } else {
                    '-'
                }
            })
            .collect();
        let log = self.workspace.target.join(format!("gate/{name}.log"));
        let output = File::create(&log)?;
        let mut command = match has_low_priority {
            true => nice(&command),
            false => command,
        };
        command.stdout(output.try_clone()?).stderr(output);
        println!(".. started: {heading}");
        let began = Instant::now();
        let result = process::run(&mut command, Reach::Program, LIMIT);
        let printed = fs::read(&log)?;
        // One call, so that the lines of two tasks do not mix.
        println!(
            "\n== {heading}\n{}\n{}",
            String::from_utf8_lossy(&printed).trim(),
            verdict(result.is_ok(), began.elapsed())
        );
        result
    }
}

/// Wraps a command in `nice`.
fn nice(command: &Command) -> Command {
    let mut nice = Command::new("nice");
    nice.args(["-n", "19"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => nice.env(name, value),
            None => nice.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        nice.current_dir(directory);
    }
    nice
}
