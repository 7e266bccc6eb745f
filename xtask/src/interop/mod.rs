//! `cargo xtask interop`: our server against foreign clients, and our client against foreign servers and proxies.

mod browser;
mod client;
mod foreign_clients;
pub(crate) mod peers;
mod protocol;
mod proxies;
mod socketio;

use anyhow::Result;

pub(crate) use self::protocol::Repetition;
use crate::programs::Build;
use crate::step::step;
use crate::workspace::Workspace;

/// A set of tests that one peer runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Suite {
    /// engine.io-client against our server, and socket.io-client against an example.
    JavaScript,
    /// python-engineio against our server.
    Python,
    /// Chromium against our server.
    Browser,
    /// The part of the browser tests that does not depend on the host.
    Pages,
    /// Our client against foreign servers and ours.
    Client,
    /// Our client and engine.io-client against our servers behind nginx and HAProxy.
    Proxies,
    /// The official suites of the protocol. Our version of their cases is a part of the JavaScript suite too, so this one
    /// runs only if it is asked for.
    Protocol,
}

/// The suites by the names that `--only` takes, in the order in which they run.
const SUITES: [(&str, Suite); 7] = [
    ("js", Suite::JavaScript),
    ("python", Suite::Python),
    ("pages", Suite::Pages),
    ("browser", Suite::Browser),
    ("client", Suite::Client),
    ("proxies", Suite::Proxies),
    ("protocol", Suite::Protocol),
];

impl Suite {
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        let known = SUITES.iter().find(|(known, _)| *known == name);
        let names = SUITES.map(|(known, _)| known);
        known
            .map(|(_, suite)| *suite)
            .ok_or_else(|| format!("unknown suite `{name}`; expected {}", names.join(", ")))
    }
}

/// What is to be run.
#[derive(Debug, PartialEq)]
pub(crate) struct Scope {
    /// One suite instead of all.
    pub(crate) only: Option<Suite>,
    /// The hosts that the servers are mounted in.
    pub(crate) hosts: &'static [&'static str],
    /// The client meets old versions and other kinds of the foreign servers too.
    pub(crate) every_version: bool,
    /// How the suites of the protocol are run.
    pub(crate) protocol: Repetition,
}

/// Runs one suite, or all of them.
pub(crate) fn run(workspace: &Workspace, scope: &Scope) -> Result<()> {
    let hosts = scope.hosts;
    step("build the programs under test", || {
        Build::Debug.make(workspace)
    })?;
    let suites = SUITES.map(|(_, suite)| suite).into_iter();
    for suite in suites.filter(|suite| match scope.only {
        Some(wanted) => wanted == *suite,
        None => *suite != Suite::Protocol,
    }) {
        match suite {
            // These two start servers on several hosts themselves.
            Suite::Client => client::run(workspace, hosts, scope.every_version)?,
            Suite::Proxies => proxies::run(workspace)?,
            Suite::Protocol => protocol::run(workspace, hosts, &scope.protocol)?,
            Suite::JavaScript => {
                on_each(hosts, |host| foreign_clients::javascript(workspace, host))?;
            }
            Suite::Python => on_each(hosts, |host| foreign_clients::python(workspace, host))?,
            Suite::Pages => browser::pages(workspace)?,
            Suite::Browser => on_each(hosts, |host| browser::run(workspace, host))?,
        }
    }
    Ok(())
}

/// Fetches every peer, so that suites that run side by side find them in place.
pub(crate) fn fetch(workspace: &Workspace) -> Result<()> {
    step("fetch the JavaScript peers", || {
        peers::javascript(workspace)
    })?;
    step("fetch the Python peers", || peers::python(workspace))?;
    step("fetch aioquic", || peers::aioquic(workspace))?;
    for (program, package) in [
        ("nginx", "nginx"),
        ("haproxy", "haproxy"),
        ("chromium", "chromium"),
        ("curl", "curl"),
        ("systemd-analyze", "systemd"),
        ("nats-server", "nats-server"),
        ("redis-server", "redis-server"),
    ] {
        step(&format!("find or install {program}"), || {
            peers::debian_in(workspace, program, package)
        })?;
    }
    Ok(())
}

fn on_each(hosts: &[&str], suite: impl Fn(&str) -> Result<()>) -> Result<()> {
    hosts.iter().try_for_each(|host| suite(host))
}
