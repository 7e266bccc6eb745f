//! The server against engine.io-client and python-engineio, with echo servers configured for what their suites need.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{peers, socketio};
use crate::process::{self, Reach, SUITE_LIMIT};
use crate::programs::{Build, LISTEN};
use crate::running::{Running, stop_all};
use crate::step::step;
use crate::workspace::Workspace;

/// A `maxPayload` that fits the base64 form of a message of one megabyte.
pub(super) const MAX_PAYLOAD: &str = "2000000";

/// The heartbeat that the official protocol suites expect.
pub(super) const QUICK: [&str; 4] = ["--ping-interval-ms", "300", "--ping-timeout-ms", "200"];

/// As frequent, but patient with clients beside builds: the threads of python-engineio's client answered after more than
/// 200 ms, as did ten clients in one process of Node.js.
const PATIENT: [&str; 4] = ["--ping-interval-ms", "300", "--ping-timeout-ms", "3000"];

pub(super) fn javascript(workspace: &Workspace, host: &str) -> Result<()> {
    let directory = step("fetch engine.io-client", || peers::javascript(workspace))?;
    step(&format!("engine.io-client against {host}"), || {
        let files = peers::test_files(&directory.join("js"))?;
        with_echo(workspace, host, "js", &mut node(&directory, files))
    })
}

/// Runs our version of the official protocol suites: of the JavaScript tests, the files whose names begin with `protocol`.
pub(super) fn protocol(workspace: &Workspace, host: &str) -> Result<()> {
    let directory = peers::javascript(workspace)?;
    let mut files = peers::test_files(&directory.join("js"))?;
    files.retain(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("protocol")
    });
    with_echo(workspace, host, "protocol", &mut node(&directory, files))
}

fn node(directory: &Path, files: Vec<PathBuf>) -> Command {
    let mut node = Command::new("node");
    // One file at a time: the heartbeat tests measure time, and the machine may have two cores.
    node.args(["--test", "--test-concurrency=1", "--test-timeout=120000"])
        .arg("--test-reporter=spec")
        .args(files)
        .current_dir(directory);
    node
}

pub(super) fn python(workspace: &Workspace, host: &str) -> Result<()> {
    let interpreter = step("fetch python-engineio", || peers::python(workspace))?;
    step(&format!("python-engineio against {host}"), || {
        let mut python = Command::new(interpreter);
        python
            .arg("e2e/interop/python/run.py")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(&workspace.root);
        with_echo(workspace, host, "python", &mut python)
    })
}

/// Runs a suite with echo servers on `host`, and stops them whether it passes or fails.
fn with_echo(workspace: &Workspace, host: &str, suite: &str, tests: &mut Command) -> Result<()> {
    let start = |variable: &str, options: &[&str]| -> Result<(String, Running)> {
        let mut command = Build::Debug.program(workspace, "echo");
        // Every poll that arrives leaves a line in the log, from which a test learns that it is parked.
        command
            .args(["--host", host])
            .args(options)
            .args(LISTEN)
            .env("RUST_LOG", "engineio::poll=trace")
            .env("NO_COLOR", "1");
        let echo = variable.to_lowercase().replace("_url", "");
        let name = format!("{suite}-{host}-{echo}");
        let server = Running::server(workspace, &name, command)?;
        Ok((variable.to_owned(), server))
    };
    let heartbeat = match suite {
        "python" => PATIENT,
        _ => QUICK,
    };
    let mut servers = vec![
        start("ECHO_URL", &["--max-payload", MAX_PAYLOAD])?,
        start("ECHO_QUICK_URL", &heartbeat)?,
        start("ECHO_SMALL_URL", &["--max-payload", "1000"])?,
        start(
            "ECHO_DEFLATE_URL",
            &["--max-payload", MAX_PAYLOAD, "--ws-compression", "1024"],
        )?,
        start("ECHO_EIO3_URL", &[&["--eio3"], &PATIENT[..]].concat())?,
        start(
            "ECHO_EIO3_QUICK_URL",
            &[&["--eio3"], &heartbeat[..]].concat(),
        )?,
    ];
    if suite == "js" {
        servers.push(socketio::start(workspace, host)?);
    }
    for (variable, server) in &servers {
        tests.env(variable, server.url());
        tests.env(variable.replace("_URL", "_LOG"), server.log());
    }
    let result = process::run(tests, Reach::Group, SUITE_LIMIT);
    stop_all(result, servers.into_iter().map(|(_, server)| server))
}
