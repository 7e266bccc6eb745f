//! Clients through nginx and HAProxy, configured well and badly.
//!
//! The good configurations are those of `deploy` and `docs/DEPLOYMENT.md`, which users copy. The bad ones are in
//! `e2e/interop/proxies`. Each proxy has two servers behind it.

use std::process::Command;

use anyhow::Result;

use super::peers;
use crate::process::{self, BUILD_LIMIT, Reach, SUITE_LIMIT};
use crate::programs::{Build, LISTEN as ANY_PORT};
use crate::proxy::{self, Programs, Source};
use crate::running::{Running, stop_all};
use crate::step::step;
use crate::workspace::{Workspace, cargo};

/// The proxies by the names that the tests use, with the source of each configuration.
const PROXIES: &[(&str, Source)] = &[
    ("nginx", Source::File("deploy/nginx.conf")),
    ("haproxy", Source::File("deploy/haproxy.cfg")),
    // The same, in front of servers whose session ids do not name a server.
    ("nginx-by-address", Source::File("deploy/nginx.conf")),
    ("haproxy-by-cookie", Source::File("deploy/haproxy.cfg")),
    // The configurations that the guide shows.
    ("guide-nginx", Source::Guide("nginx", 0)),
    ("guide-haproxy-by-cookie", Source::Guide("haproxy", 0)),
    ("guide-haproxy-by-sid", Source::Guide("haproxy", 1)),
    ("guide-nginx-by-node", Source::Guide("nginx", 1)),
    ("guide-haproxy-by-node", Source::Guide("haproxy", 2)),
    (
        "buffering",
        Source::File("e2e/interop/proxies/buffering.nginx.conf"),
    ),
    (
        "no-upgrade",
        Source::File("e2e/interop/proxies/no-upgrade.nginx.conf"),
    ),
    (
        "impatient",
        Source::File("e2e/interop/proxies/impatient.nginx.conf"),
    ),
    (
        "round-robin",
        Source::File("e2e/interop/proxies/round-robin.nginx.conf"),
    ),
    ("cut", Source::File("e2e/interop/proxies/cut.haproxy.cfg")),
];

pub(super) fn run(workspace: &Workspace) -> Result<()> {
    let (programs, peers) = step("fetch nginx and HAProxy, and engine.io-client", || {
        Ok((Programs::find(workspace)?, peers::javascript(workspace)?))
    })?;
    // Built first, so that the time limit applies to the tests alone.
    step("build the tests through proxies", || {
        process::run(
            tests(workspace).arg("--no-run"),
            Reach::Program,
            BUILD_LIMIT,
        )
    })?;
    step(
        "the client and engine.io-client through nginx and HAProxy",
        || {
            let server = |name: &str, options: &[&str]| {
                let name = format!("proxied-{name}");
                let mut command = Build::Debug.program(workspace, "echo");
                command.args(options).args(ANY_PORT);
                Running::server(workspace, &name, command)
            };
            let named = [
                server("a", &["--name", "a"])?,
                server("b", &["--name", "b"])?,
            ];
            let plain = [server("c", &[])?, server("d", &[])?];
            let with_cookie = ["--cookie", "io"];
            let cookie = [server("e", &with_cookie)?, server("f", &with_cookie)?];
            // Nodes that know no other: requests that go astray fail.
            let nodes = [
                server("g", &["--node", "a"])?,
                server("h", &["--node", "b"])?,
            ];
            let mut running = Vec::new();
            let mut lines = Vec::new();
            for (name, source) in PROXIES {
                let behind = match *name {
                    "guide-haproxy-by-sid" => &cookie,
                    name if name.ends_with("-by-node") => &nodes,
                    name if name.starts_with("guide-") || name.contains("-by-") => &plain,
                    _ => &named,
                };
                let behind = behind.each_ref().map(Running::url);
                let proxy = proxy::start(workspace, &programs, name, source, &behind)?;
                lines.push(format!("{name}\t{}", proxy.url()));
                running.push(proxy);
            }
            lines.extend(
                named
                    .iter()
                    .enumerate()
                    .map(|(at, server)| format!("server-{}\t{}", ["a", "b"][at], server.url())),
            );
            let lines = lines.join("\n");
            let mut node = Command::new("node");
            node.args(["--test", "--test-concurrency=1", "--test-timeout=120000"])
                .arg("--test-reporter=spec")
                .args(peers::test_files(&peers.join("proxies"))?)
                .env("PROXIES", &lines)
                .current_dir(&peers);
            let result = process::run(
                tests(workspace).env("PROXIES", &lines),
                Reach::Group,
                SUITE_LIMIT,
            )
            .and_then(|()| process::run(&mut node, Reach::Group, SUITE_LIMIT));
            for proxy in running {
                if result.is_err() {
                    proxy.show_log();
                }
                proxy.stop_if(|_| true)?;
            }
            stop_all(
                result,
                named.into_iter().chain(plain).chain(cookie).chain(nodes),
            )
        },
    )
}

/// The cargo command for the tests. It names the whole workspace, so that its features are those of `cargo test --workspace`.
fn tests(workspace: &Workspace) -> Command {
    let mut command = cargo();
    command
        .args(["test", "--workspace", "--locked", "--test", "proxies"])
        .current_dir(&workspace.root);
    command
}
