//! The official suites of the protocol, of revisions 4 and 3, against one server that serves clients of both.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context, Result};

use super::foreign_clients::{self, QUICK};
use crate::process::{self, Reach, SUITE_LIMIT};
use crate::programs::Build;
use crate::running::{Running, stop_all};
use crate::step::step;
use crate::workspace::Workspace;

/// The address that the official suites know.
const OFFICIAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 3000);

/// How the suites are run.
#[derive(Debug, PartialEq)]
pub(crate) struct Repetition {
    /// The number of runs in a row on each host, all of which must pass.
    pub(crate) times: u32,
    /// Another process keeps a processor busy meanwhile.
    pub(crate) busy: bool,
    /// A directory with `v4-test-suite` and `v3-test-suite`, as the repository of Socket.IO has them in
    /// `docs/engine.io-protocol`, after `npm ci` in each. Without it, our version of their cases is run.
    pub(crate) official: Option<PathBuf>,
}

/// Runs the suites against the servers mounted in `hosts`.
pub(super) fn run(workspace: &Workspace, hosts: &[&str], how: &Repetition) -> Result<()> {
    let _busy = how.busy.then(Busy::begin).transpose()?;
    for host in hosts {
        for time in 1..=how.times {
            let heading = format!(
                "the protocol suites against {host}, {time} of {}",
                how.times
            );
            step(&heading, || match &how.official {
                Some(suites) => official(workspace, host, suites),
                None => foreign_clients::protocol(workspace, host),
            })?;
        }
    }
    Ok(())
}

/// Runs the official suites as they are.
fn official(workspace: &Workspace, host: &str, suites: &Path) -> Result<()> {
    let mut command = Build::Debug.program(workspace, "echo");
    command
        .args(["--host", host, "--eio3", "--listen"])
        .arg(OFFICIAL.to_string())
        .args(QUICK);
    let name = format!("official-{host}");
    let server = Running::server_at(workspace, &name, command, OFFICIAL)?;
    let result = ["v4-test-suite", "v3-test-suite"]
        .iter()
        .try_for_each(|suite| {
            let mut npm = Command::new("npm");
            npm.args(["test", "--silent"])
                .current_dir(suites.join(suite));
            process::run(&mut npm, Reach::Group, SUITE_LIMIT)
        });
    stop_all(result, [server])
}

/// A process that keeps a processor busy until it is dropped.
struct Busy(Child);

impl Busy {
    fn begin() -> Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", "while :; do :; done"]);
        Ok(Self(shell.spawn().context("cannot run a shell")?))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
