//! Our client against foreign servers and ours.
//!
//! The tests are in `engineio-client/tests/interop`. They get the addresses of the running servers from the environment,
//! and start further servers themselves where a test stops one.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, Result};

use super::foreign_clients::MAX_PAYLOAD;
use super::peers;
use crate::process::{self, BUILD_LIMIT, Reach, SUITE_LIMIT};
use crate::programs::{Build, LISTEN};
use crate::running::{Running, stop_all};
use crate::step::step;
use crate::workspace::{Workspace, cargo};

/// A server, and the command line that starts another one like it.
struct Peer {
    name: String,
    words: Vec<OsString>,
}

pub(super) fn run(workspace: &Workspace, hosts: &[&str]) -> Result<()> {
    let (directory, python) = step("fetch engine.io and python-engineio", || {
        Ok((peers::javascript(workspace)?, peers::python(workspace)?))
    })?;
    let servers = directory.join("servers");
    let mut peers = vec![
        Peer {
            name: "npm".to_owned(),
            words: vec!["node".into(), servers.join("engineio.mjs").into()],
        },
        Peer {
            name: "python".to_owned(),
            words: vec![python.into(), servers.join("engineio_asgi.py").into()],
        },
    ];
    let programs = Build::Debug.programs(workspace);
    peers.extend(hosts.iter().map(|host| Peer {
        name: (*host).to_owned(),
        words: vec![programs.join("echo").into(), "--host".into(), host.into()],
    }));
    // Built first, so that the time limit applies to the tests alone.
    step("build the tests of the client", || {
        process::run(
            tests(workspace).arg("--no-run"),
            Reach::Program,
            BUILD_LIMIT,
        )
    })?;
    let heading = format!(
        "the client against engine.io, python-engineio, {}",
        hosts.join(", ")
    );
    step(&heading, || {
        let mut running = Vec::new();
        let mut lines = Vec::new();
        for peer in &peers {
            let server = peer.start(workspace)?;
            lines.push(peer.line(server.url())?);
            running.push(server);
        }
        let mut tests = tests(workspace);
        tests
            // Some measure time, and the machine may have two cores.
            .args(["--", "--test-threads=2"])
            .env("INTEROP_PEERS", lines.join("\n"))
            .env("INTEROP_PROGRAMS", &programs);
        let result = process::run(&mut tests, Reach::Group, SUITE_LIMIT);
        stop_all(result, running)
    })
}

/// The cargo command for the tests. It names the whole workspace, so that its features are those of `cargo test --workspace`.
fn tests(workspace: &Workspace) -> Command {
    let mut command = cargo();
    command
        .args(["test", "--workspace", "--locked", "--test", "interop"])
        .current_dir(&workspace.root);
    command
}

impl Peer {
    fn start(&self, workspace: &Workspace) -> Result<Running> {
        let (program, arguments) = self
            .words
            .split_first()
            .context("a peer without a program")?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .args(["--max-payload", MAX_PAYLOAD])
            .args(LISTEN)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let name = format!("client-{}", self.name);
        Running::server(workspace, &name, command)
    }

    /// Describes the peer to the tests: the name, the URL and the command line, separated by tabs.
    fn line(&self, url: &str) -> Result<String> {
        let mut fields = vec![self.name.as_str(), url];
        for word in &self.words {
            fields.push(word.to_str().context("a path that is not UTF-8")?);
        }
        Ok(fields.join("\t"))
    }
}
