//! Foreign clients through nginx and HAProxy that give each request to the next of three nodes, over each broker.

use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::broker;
use crate::interop::peers;
use crate::process::{self, Reach, SUITE_LIMIT};
use crate::programs::{Build, LISTEN};
use crate::proxy::{self, Programs, Source};
use crate::running::{Running, free_address, stop_all};
use crate::step::step;
use crate::workspace::Workspace;

/// The hosts of the nodes, so that every host is an entry and an owner.
const NODES: [[&str; 3]; 2] = [["axum", "actix", "warp"], ["hyper", "axum", "actix"]];

/// The load balancers, which name three servers.
const BALANCERS: [(&str, Source); 2] = [
    ("nginx", Source::File("e2e/interop/cluster/nginx.conf")),
    ("haproxy", Source::File("e2e/interop/cluster/haproxy.cfg")),
];

pub(super) fn run(workspace: &Workspace, seconds: u64) -> Result<()> {
    let fetched = step("fetch the clients, nginx, HAProxy and Chromium", || {
        Ok(Fetched {
            programs: Programs::find(workspace)?,
            javascript: peers::javascript(workspace)?,
            python: peers::python(workspace)?,
            chromium: peers::debian(workspace, "chromium")?,
        })
    })?;
    step(
        &format!("foreign clients talk for {seconds} s through balancers without stickiness"),
        || converse(workspace, &fetched, seconds),
    )
}

struct Fetched {
    programs: Programs,
    javascript: std::path::PathBuf,
    python: std::path::PathBuf,
    chromium: std::path::PathBuf,
}

fn converse(workspace: &Workspace, fetched: &Fetched, seconds: u64) -> Result<()> {
    let mut nodes = Vec::new();
    let mut others = Vec::new();
    let mut lines = Vec::new();
    for ((scheme, program), hosts) in broker::SCHEMES.into_iter().zip(NODES) {
        let address = free_address()?;
        others.push(broker::start(
            workspace,
            program,
            &format!("conversed-{scheme}"),
            address,
        )?);
        let bus = format!("{scheme}://{address}");
        let started = cluster(workspace, scheme, &bus, &hosts)?;
        let urls: Vec<_> = started.iter().map(Running::url).collect();
        for (name, source) in &BALANCERS {
            let name = format!("{name}-over-{scheme}");
            let balancer = proxy::start(workspace, &fetched.programs, &name, source, &urls)?;
            lines.push(format!("{name}\t{}", balancer.url()));
            others.push(balancer);
        }
        nodes.extend(started);
    }
    let lines = lines.join("\n");
    let limit = SUITE_LIMIT + Duration::from_secs(seconds);
    let mut node = Command::new("node");
    node.args(["--test", "--test-reporter=spec"])
        .arg(format!("--test-timeout={}", limit.as_millis()))
        .args(peers::test_files(&fetched.javascript.join("cluster"))?)
        .env("CHROMIUM", &fetched.chromium)
        .current_dir(&fetched.javascript);
    let mut python = Command::new(&fetched.python);
    python
        .arg("e2e/interop/cluster/conversations.py")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(&workspace.root);
    // At the same time: they mostly wait.
    let results = thread::scope(|scope| {
        let running = [node, python].map(|mut command| {
            command
                .env("BALANCERS", &lines)
                .env("SECONDS", seconds.to_string());
            scope.spawn(move || process::run(&mut command, Reach::Group, limit))
        });
        running.map(|running| running.join().ok().context("a thread panicked")?)
    });
    let result = results.into_iter().collect::<Result<Vec<()>>>().map(drop);
    if result.is_err() {
        others.iter().for_each(Running::show_log);
    }
    // The nodes first: a node without its broker is no clean stop to test.
    let result = stop_all(result, nodes);
    drop(others);
    result
}

/// Starts three nodes at the same time, since each looks for others for a while before it joins.
fn cluster(workspace: &Workspace, scheme: &str, bus: &str, hosts: &[&str]) -> Result<Vec<Running>> {
    let start = |(id, host): (char, &&str)| {
        let mut command = Build::Debug.program(workspace, "echo");
        command
            .args(["--host", host, "--node", &id.to_string()])
            .args(["--node-listen", "127.0.0.1:0", "--bus", bus])
            .args(["--eio3", "--max-payload", "2000000"])
            .args(LISTEN);
        Running::server(workspace, &format!("conversing-{scheme}-{id}"), command)
    };
    thread::scope(|scope| {
        let starting: Vec<_> = ('a'..)
            .zip(hosts)
            .map(|node| scope.spawn(move || start(node)))
            .collect();
        let started = starting
            .into_iter()
            .map(|node| node.join().ok().context("a thread panicked")?);
        started.collect()
    })
}
