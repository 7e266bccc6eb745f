//! Our client against foreign servers and ours: the newest and the oldest engine.io, python-engineio on ASGI and with
//! threads, engineioxide; or every version and every kind of server.
//!
//! The tests are in `engineio-client/tests/interop`. They get the addresses of the running servers from the environment,
//! and start further servers themselves where a test stops one.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::foreign_clients::MAX_PAYLOAD;
use super::peers;
use crate::process::{self, BUILD_LIMIT, Reach, SUITE_LIMIT};
use crate::programs::{Build, LISTEN};
use crate::running::{Running, stop_all};
use crate::step::step;
use crate::workspace::{Workspace, cargo};

/// The time for the tests of one peer, of which they take about a third.
const LIMIT_OF_A_PEER: Duration = Duration::from_secs(75);

/// A server, and the command line that starts another one like it.
struct Peer {
    name: String,
    words: Vec<OsString>,
}

pub(super) fn run(workspace: &Workspace, hosts: &[&str], every_version: bool) -> Result<()> {
    let mut peers = step("fetch engine.io and python-engineio", || {
        foreign(workspace, every_version)
    })?;
    let aioquic = step("fetch aioquic", || aioquic(workspace))?;
    let programs = Build::Debug.programs(workspace);
    peers.push(Peer {
        name: "engineioxide".to_owned(),
        words: vec![programs.join("engineioxide").into()],
    });
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
    let names: Vec<&str> = peers.iter().map(|peer| peer.name.as_str()).collect();
    let heading = format!("the client against {}", names.join(", "));
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
            .env("INTEROP_WEBTRANSPORT", &aioquic)
            .env("INTEROP_PROGRAMS", &programs);
        // Each test meets every peer.
        let limit = SUITE_LIMIT.max(LIMIT_OF_A_PEER * lines.len() as u32);
        let result = process::run(&mut tests, Reach::Group, limit);
        stop_all(result, running)
    })
}

/// Returns the servers that are not written in Rust.
fn foreign(workspace: &Workspace, every_version: bool) -> Result<Vec<Peer>> {
    let servers = peers::javascript(workspace)?.join("servers");
    let npm = |name: &str, package: &str| Peer {
        name: name.to_owned(),
        words: vec![
            "node".into(),
            servers.join("engineio.mjs").into(),
            "--package".into(),
            package.into(),
        ],
    };
    let python = |name: &str, interpreter: &Path, server: &[&str]| {
        let mut words = vec![interpreter.into(), servers.join(server[0]).into()];
        words.extend(server[1..].iter().map(Into::into));
        Peer {
            name: name.to_owned(),
            words,
        }
    };
    let asgi = &["engineio_asgi.py"][..];
    let threads = &["engineio_wsgi.py", "--mode", "threading"];
    let gevent = &["engineio_wsgi.py", "--mode", "gevent"];
    let newest = peers::python(workspace)?;
    let mut peers = vec![
        npm("npm", "engine.io"),
        npm("npm-4.1", "engine.io-4.1"),
        python("python", &newest, asgi),
        python("python-threads", &newest, threads),
    ];
    if every_version {
        let oldest = peers::python_with(workspace, "requirements-4.0.txt", "venv-4.0")?;
        let middle = peers::python_with(workspace, "requirements-4.8.txt", "venv-4.8")?;
        peers.extend([
            npm("npm-5.2", "engine.io-5.2"),
            npm("npm-6.0", "engine.io-6.0"),
            python("python-gevent", &newest, gevent),
            python("python-4.0", &oldest, asgi),
            python("python-4.0-gevent", &oldest, gevent),
            python("python-4.8", &middle, asgi),
        ]);
    }
    Ok(peers)
}

/// Returns the line of the server over WebTransport, which each test starts for itself.
fn aioquic(workspace: &Workspace) -> Result<String> {
    let servers = peers::javascript(workspace)?.join("servers");
    let interpreter = peers::aioquic(workspace)?;
    let peer = Peer {
        name: "aioquic".to_owned(),
        words: vec![
            interpreter.into(),
            servers.join("engineio_aioquic.py").into(),
        ],
    };
    peer.line("started by the tests")
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
