//! The example programs that the suites, the trial and the soak run.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::process::{self, BUILD_LIMIT, Reach};
use crate::workspace::{Workspace, cargo};

/// The hosts that the `echo` example can be mounted in. Every suite must pass on each.
pub(crate) const HOSTS: &[&str] = &["axum", "actix", "warp", "hyper"];

/// The arguments that make a program listen on a free port.
pub(crate) const LISTEN: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// How the programs are built.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Build {
    /// As `cargo test --workspace` has built them: nothing is compiled twice, and assertions and overflow checks are on.
    Debug,
    /// Optimised, for load that must keep up with heartbeats.
    Optimised,
}

impl Build {
    fn directory(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Optimised => "soak",
        }
    }

    /// Builds the programs.
    pub(crate) fn make(self, workspace: &Workspace) -> Result<()> {
        let arguments = match self {
            // The examples bring in the development dependencies, so that every feature is the one of the tests.
            Self::Debug => "--workspace --bins --examples",
            Self::Optimised => "--profile soak -p engineio-examples --bin echo --bin soak",
        };
        let mut command = cargo();
        command
            .args(["build", "--locked"])
            .args(arguments.split(' '))
            .current_dir(&workspace.root);
        process::run(&mut command, Reach::Program, BUILD_LIMIT)
    }

    /// The directory that holds the programs.
    pub(crate) fn programs(self, workspace: &Workspace) -> PathBuf {
        workspace.target.join(self.directory())
    }

    /// The command that runs one program.
    pub(crate) fn program(self, workspace: &Workspace, name: &str) -> Command {
        Command::new(self.programs(workspace).join(name))
    }
}
