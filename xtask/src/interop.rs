//! `cargo xtask interop`: our server and clients that other people wrote, our client and their servers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::browser;
use crate::client;
use crate::peers;
use crate::process::{self, Reach};
use crate::proxies;
use crate::server::Server;
use crate::steps::step;
use crate::workspace::{Workspace, cargo};

/// The hosts that the `echo` example can be mounted in; every suite must pass on each.
pub(crate) const HOSTS: &[&str] = &["axum", "actix", "warp", "hyper"];

/// How long a suite may take; they need a tenth of it.
pub(crate) const SUITE_LIMIT: Duration = Duration::from_secs(300);

/// The `maxPayload` that has room for the base64 form of a message of one megabyte.
pub(crate) const ROOM: &str = "2000000";

pub(crate) const BUILD_LIMIT: Duration = Duration::from_secs(20 * 60);

/// A set of tests that one client runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Suite {
    JavaScript,
    Python,
    Browser,
    /// Ours, and it is the server that is foreign.
    Client,
    /// Ours and a foreign one, with foreign proxies between them and our servers.
    Proxies,
}

impl Suite {
    const ALL: [Self; 5] = [
        Self::JavaScript,
        Self::Python,
        Self::Browser,
        Self::Client,
        Self::Proxies,
    ];

    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        match name {
            "js" => Ok(Self::JavaScript),
            "python" => Ok(Self::Python),
            "browser" => Ok(Self::Browser),
            "client" => Ok(Self::Client),
            "proxies" => Ok(Self::Proxies),
            _ => Err(format!(
                "no suite `{name}`; there is js, python, browser, client, proxies"
            )),
        }
    }
}

/// Runs one suite, or all of them, against the servers mounted in `hosts`.
pub(crate) fn run(workspace: &Workspace, only: Option<Suite>, hosts: &[&str]) -> Result<()> {
    step("build the programs under test", || build(workspace))?;
    let is_wanted = |suite| only.is_none_or(|wanted| wanted == suite);
    for suite in Suite::ALL.into_iter().filter(|suite| is_wanted(*suite)) {
        match suite {
            // These have servers enough to be run once.
            Suite::Client => client::run(workspace, hosts)?,
            Suite::Proxies => proxies::run(workspace)?,
            Suite::JavaScript => on_each(hosts, |host| javascript(workspace, host))?,
            Suite::Python => on_each(hosts, |host| python(workspace, host))?,
            Suite::Browser => {
                browser::run_once(workspace)?;
                on_each(hosts, |host| browser::run(workspace, host))?;
            }
        }
    }
    Ok(())
}

fn on_each(hosts: &[&str], suite: impl Fn(&str) -> Result<()>) -> Result<()> {
    hosts.iter().try_for_each(|host| suite(host))
}

/// Builds the example programs, which are what is tested.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    // As users run it: optimised, so that the timing of heartbeats is that of the real thing.
    let mut command = cargo();
    command
        .args([
            "build",
            "--release",
            "--locked",
            "-p",
            "engineio-examples",
            "--bins",
        ])
        .current_dir(&workspace.root);
    process::run(&mut command, Reach::Program, BUILD_LIMIT)
}

fn javascript(workspace: &Workspace, host: &str) -> Result<()> {
    let peers = step("fetch engine.io-client", || peers::javascript(workspace))?;
    step(&format!("engine.io-client against {host}"), || {
        let mut node = Command::new("node");
        // One file at a time: the heartbeat tests measure time, and the machine may have two cores.
        node.args(["--test", "--test-concurrency=1", "--test-timeout=120000"])
            .arg("--test-reporter=spec")
            .args(test_files(&peers.join("js"))?)
            .current_dir(&peers);
        with_echo(workspace, host, &mut node)
    })
}

fn python(workspace: &Workspace, host: &str) -> Result<()> {
    let interpreter = step("fetch python-engineio", || peers::python(workspace))?;
    step(&format!("python-engineio against {host}"), || {
        let mut python = Command::new(interpreter);
        python
            .arg("e2e/interop/python/run.py")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(&workspace.root);
        with_echo(workspace, host, &mut python)
    })
}

/// Runs `suite` with the echo servers at hand, and stops them whatever comes of it.
fn with_echo(workspace: &Workspace, host: &str, suite: &mut Command) -> Result<()> {
    let program = workspace.target.join("release/echo");
    let logs = logs(workspace);
    let start = |variable: &str, options: &[&str]| -> Result<(String, Server)> {
        let arguments = [&["--host", host], options].concat();
        let name = variable.to_lowercase().replace("_url", "");
        let mut command = Command::new(&program);
        // Each poll that came leaves a line, by which a test knows that it waits.
        command
            .args(arguments)
            .env("RUST_LOG", "engineio::poll=trace")
            .env("NO_COLOR", "1");
        let server = Server::start_command(&name, command, &logs)?;
        Ok((variable.to_owned(), server))
    };
    let servers = [
        start("ECHO_URL", &["--max-payload", ROOM])?,
        // What the official protocol suite asks for.
        start(
            "ECHO_QUICK_URL",
            &["--ping-interval-ms", "300", "--ping-timeout-ms", "200"],
        )?,
        start("ECHO_SMALL_URL", &["--max-payload", "1000"])?,
        start(
            "ECHO_DEFLATE_URL",
            &["--max-payload", ROOM, "--ws-compression", "1024"],
        )?,
        start(
            "ECHO_EIO3_URL",
            &[
                "--eio3",
                "--ping-interval-ms",
                "300",
                "--ping-timeout-ms",
                "200",
            ],
        )?,
    ];
    for (variable, server) in &servers {
        suite.env(variable, server.url());
        suite.env(variable.replace("_URL", "_LOG"), server.log());
    }
    let result = process::run(suite, Reach::Group, SUITE_LIMIT);
    finish(result, servers.into_iter().map(|(_, server)| server))
}

/// The outcome of a suite together with that of its servers, each of which must stop in good order.
pub(crate) fn finish(suite: Result<()>, servers: impl IntoIterator<Item = Server>) -> Result<()> {
    let mut result = suite;
    for server in servers {
        match result {
            Ok(()) => result = server.stop(),
            // The first failure is the one to report; the server is killed when it is dropped.
            Err(_) => server.show_log(),
        }
    }
    result
}

pub(crate) fn test_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".test.mjs") {
            files.push(path);
        }
    }
    // Without a file node would look for tests by itself, find none, and be content.
    if files.is_empty() {
        bail!("there are no tests in {}", directory.display());
    }
    files.sort();
    Ok(files)
}

pub(crate) fn logs(workspace: &Workspace) -> PathBuf {
    workspace.target.join("peers/logs")
}
