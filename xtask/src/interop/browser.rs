//! The server in Chromium: the demo page, engine.io-client in pages of its own, and the pages of the examples.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::peers;
use crate::process::{self, Reach, SUITE_LIMIT};
use crate::programs::{Build, LISTEN};
use crate::running::{Running, stop_all};
use crate::step::step;
use crate::workspace::Workspace;

/// A test, and the programs that it runs against, each with the option that passes its address.
struct Drive<'a> {
    test: &'a str,
    servers: &'a [(&'a str, &'a str, &'a [&'a str])],
}

/// A short ping interval, with a timeout that suits a browser on a busy machine.
const QUICK: &[&str] = &["--ping-interval-ms", "300", "--ping-timeout-ms", "2000"];

/// The single-file examples that have a page.
const EXAMPLES: &[&str] = &["metrics", "chat", "auth", "static_site", "axum_app"];

/// Runs what does not depend on the host: WebSockets over HTTP/2, for which browsers require TLS, a server of WebTransport
/// that is restarted, and the pages of the examples.
pub(super) fn pages(workspace: &Workspace) -> Result<()> {
    let fetched = fetch(workspace)?;
    step("WebSockets over HTTP/2 in Chromium", || {
        let drive = Drive {
            test: "h2.mjs",
            servers: &[("--url", "tls", &[])],
        };
        run_one(workspace, &fetched, "pages", &drive)
    })?;
    step("a server of WebTransport that is restarted", || {
        restart(workspace, &fetched)
    })?;
    step("the pages of the examples in Chromium", || {
        examples(workspace, &fetched)
    })
}

/// Runs the test that starts the server itself, because it kills it.
fn restart(workspace: &Workspace, (peers, chromium): &Fetched) -> Result<()> {
    let mut node = Command::new("node");
    node.arg("restart.mjs")
        .arg("--chromium")
        .arg(chromium)
        .arg("--echo")
        .arg(Build::Debug.programs(workspace).join("echo"))
        .current_dir(peers.join("browser"));
    process::run(&mut node, Reach::Group, SUITE_LIMIT)
}

fn examples(workspace: &Workspace, (peers, chromium): &Fetched) -> Result<()> {
    let mut node = Command::new("node");
    node.args(["pages.mjs", "--chromium"])
        .arg(chromium)
        .arg("--out")
        .arg(workspace.target.join("screenshots"))
        .current_dir(peers.join("browser"));
    // They are stopped when dropped: most of them do not handle SIGTERM.
    let mut servers = Vec::new();
    for name in EXAMPLES {
        let program = Build::Debug.programs(workspace).join("examples").join(name);
        let mut command = Command::new(program);
        command.arg("127.0.0.1:0");
        let server = Running::server(workspace, name, command)?;
        node.args([format!("--{name}").as_str(), server.url()]);
        servers.push(server);
    }
    let result = process::run(&mut node, Reach::Group, SUITE_LIMIT);
    if result.is_err() {
        servers.iter().for_each(Running::show_log);
    }
    result
}

/// Runs the tests for one host.
pub(super) fn run(workspace: &Workspace, host: &str) -> Result<()> {
    let fetched = fetch(workspace)?;
    let on_host = ["--host", host];
    let quick = [&on_host, QUICK].concat();
    let deflating = [&on_host[..], &["--ws-compression", "1024"]].concat();
    // Another port than that of the page, so another origin.
    let with_udp = ["--webtransport", "127.0.0.1:0", "--origins", "any"];
    let with_udp = [&on_host[..], &with_udp].concat();
    let quick_with_udp = [&with_udp[..], QUICK].concat();
    let demo_with_udp = [&on_host[..], &["--webtransport"]].concat();
    let guarded = ["--origins", "http://app.example.test", "--cookie", "io"];
    let guarded = [&on_host[..], &guarded].concat();
    let drives = [
        Drive {
            test: "demo.mjs",
            servers: &[
                ("--url", "demo", &on_host),
                ("--webtransport", "demo", &demo_with_udp),
            ],
        },
        Drive {
            test: "transports.mjs",
            servers: &[
                ("--url", "echo", &on_host),
                ("--deflate", "echo", &deflating),
            ],
        },
        Drive {
            test: "webtransport.mjs",
            servers: &[
                ("--url", "echo", &with_udp),
                ("--quick", "echo", &quick_with_udp),
            ],
        },
        Drive {
            test: "origins.mjs",
            servers: &[("--url", "echo", &guarded)],
        },
        Drive {
            test: "lifetime.mjs",
            servers: &[("--url", "echo", &on_host), ("--quick", "echo", &quick)],
        },
        Drive {
            test: "background.mjs",
            servers: &[("--url", "echo", &quick)],
        },
    ];
    for drive in drives {
        step(&format!("{} on {host} in Chromium", drive.test), || {
            run_one(workspace, &fetched, host, &drive)
        })?;
    }
    Ok(())
}

/// The directory of the JavaScript peers, and the browser.
type Fetched = (PathBuf, PathBuf);

fn fetch(workspace: &Workspace) -> Result<Fetched> {
    step("fetch a browser", || {
        Ok((
            peers::javascript(workspace)?,
            peers::debian(workspace, "chromium")?,
        ))
    })
}

/// Runs one test. Another run at the same time has another `name`.
fn run_one(
    workspace: &Workspace,
    (peers, chromium): &Fetched,
    name: &str,
    drive: &Drive<'_>,
) -> Result<()> {
    let mut node = Command::new("node");
    node.arg(drive.test)
        .arg("--chromium")
        .arg(chromium)
        .current_dir(peers.join("browser"));
    if drive.test == "demo.mjs" {
        node.arg("--out")
            .arg(workspace.target.join("screenshots").join(name));
    }
    let mut servers = Vec::new();
    for (option, program, arguments) in drive.servers {
        let name = format!("browser-{name}-{program}{option}");
        let mut command = Build::Debug.program(workspace, program);
        // Every poll that arrives leaves a line in the log, from which a test learns that it is parked.
        command
            .args(*arguments)
            .args(LISTEN)
            .env("RUST_LOG", "engineio::poll=trace")
            .env("NO_COLOR", "1");
        let server = Running::server(workspace, &name, command)?;
        node.args([option, format!("{}/", server.url()).as_str()]);
        node.env(format!("LOG_OF_{}", server.url()), server.log());
        servers.push(server);
    }
    let result = process::run(&mut node, Reach::Group, SUITE_LIMIT);
    stop_all(result, servers)
}
