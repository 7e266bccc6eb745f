//! Our client against servers that other people wrote, and against ours.
//!
//! The tests are `engineio-client/tests/interop`. They are told where things are, and start further servers themselves
//! where a test stops one.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, Result};

use crate::interop::{BUILD_LIMIT, ROOM, SUITE_LIMIT, finish, logs};
use crate::peers;
use crate::process::{self, Reach};
use crate::server::Server;
use crate::steps::step;
use crate::workspace::{Workspace, cargo};

/// A server and the words that start another one like it.
struct Peer {
    name: String,
    words: Vec<OsString>,
}

pub(crate) fn run(workspace: &Workspace, hosts: &[&str]) -> Result<()> {
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
    let programs = workspace.target.join("release");
    peers.extend(hosts.iter().map(|host| Peer {
        name: (*host).to_owned(),
        words: vec![programs.join("echo").into(), "--host".into(), host.into()],
    }));
    // Built first, so that the limit is for the tests alone.
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
        finish(result, running)
    })
}

/// Of the whole workspace, so that the features are those with which `cargo test --workspace` has built it.
fn tests(workspace: &Workspace) -> Command {
    let mut command = cargo();
    command
        .args(["test", "--workspace", "--locked", "--test", "interop"])
        .current_dir(&workspace.root);
    command
}

impl Peer {
    fn start(&self, workspace: &Workspace) -> Result<Server> {
        let (program, arguments) = self
            .words
            .split_first()
            .context("a peer without a program")?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .args(["--max-payload", ROOM])
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let name = format!("client-{}", self.name);
        Server::start_command(&name, command, &logs(workspace))
    }

    /// How the tests are told: the name, the URL and the words, with tabs between them.
    fn line(&self, url: &str) -> Result<String> {
        let mut fields = vec![self.name.as_str(), url];
        for word in &self.words {
            fields.push(word.to_str().context("a path that is not UTF-8")?);
        }
        Ok(fields.join("\t"))
    }
}
