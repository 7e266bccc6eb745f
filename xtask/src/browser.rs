//! The part of `cargo xtask interop` that needs a browser: the demo page, and the official client in pages of its own.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::interop::{SUITE_LIMIT, finish, logs};
use crate::peers;
use crate::process::{self, Reach};
use crate::server::Server;
use crate::steps::step;
use crate::workspace::Workspace;

/// A program of ours with its arguments, and the test that is driven against it.
struct Subject<'a> {
    program: &'a str,
    arguments: &'a [&'a str],
    test: &'a str,
}

/// What is the same for every host: WebSockets over HTTP/2, for which browsers want TLS.
pub(crate) fn run_once(workspace: &Workspace) -> Result<()> {
    let subject = Subject {
        program: "tls",
        arguments: &[],
        test: "h2.mjs",
    };
    let fetched = fetch(workspace)?;
    step("WebSockets over HTTP/2 in Chromium", || {
        drive(workspace, &fetched, &subject)
    })
}

/// The tests for one host.
pub(crate) fn run(workspace: &Workspace, host: &str) -> Result<()> {
    let fetched = fetch(workspace)?;
    let subject = Subject {
        program: "demo",
        arguments: &["--host", host],
        test: "demo.mjs",
    };
    step(&format!("the demo page on {host} in Chromium"), || {
        drive(workspace, &fetched, &subject)
    })
}

/// The directory of the JavaScript peers, and the browser.
type Fetched = (PathBuf, PathBuf);

fn fetch(workspace: &Workspace) -> Result<Fetched> {
    step("fetch a browser", || {
        Ok((peers::javascript(workspace)?, peers::chromium()?))
    })
}

fn drive(workspace: &Workspace, (peers, chromium): &Fetched, subject: &Subject<'_>) -> Result<()> {
    let program = workspace.target.join("release").join(subject.program);
    let logs = logs(workspace);
    let server = Server::start(subject.program, &program, subject.arguments, &logs)?;
    let mut node = Command::new("node");
    node.args([subject.test, "--url", &format!("{}/", server.url())])
        .arg("--chromium")
        .arg(chromium)
        .current_dir(peers.join("browser"));
    if subject.program == "demo" {
        node.arg("--out").arg(workspace.target.join("screenshots"));
    }
    let result = process::run(&mut node, Reach::Group, SUITE_LIMIT);
    finish(result, [server])
}
