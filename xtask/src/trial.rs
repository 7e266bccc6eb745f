//! `cargo xtask trial`: what a new user does, from an empty directory.
//!
//! The dependencies and the programs of the READMEs and guides are pasted into new packages under `target/trial`, built,
//! started and tried. They are what the documents show to the letter, but for the address, which has a free port, and for
//! the crates of the family, which come from this checkout because the registry does not have them yet.
//!
//! Each package is built for itself, with the features that its own `Cargo.toml` asks for: built together, one would have
//! what another has asked for.

mod checks;
mod deployment;
mod foreign;
mod project;

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

use self::checks::Running;
use self::project::{PAGE, Project, projects};
use crate::interop::{self, logs};
use crate::listener::Listener;
use crate::peers;
use crate::steps::step;
use crate::workspace::Workspace;

/// What is done here with the blocks of which language, in which documents: others would be run by nobody.
pub(crate) const RUN: &[(&str, &[&str])] = &[
    // Built as they stand, with the programs beside them.
    (
        "toml",
        &[
            "engineio-axum/README.md",
            "engineio-actix/README.md",
            "engineio-warp/README.md",
            "engineio-tower/README.md",
            "engineio-client/README.md",
            "docs/FROM_PYTHON.md",
            "docs/FROM_ENGINE_IO.md",
            "docs/DEPLOYMENT.md",
        ],
    ),
    // Verified by systemd.
    ("ini", &["docs/DEPLOYMENT.md"]),
    // Its commands are run.
    ("dockerfile", &["docs/DEPLOYMENT.md"]),
    // The programs of others: parsed, no more.
    ("python", &["docs/FROM_PYTHON.md"]),
    ("js", &["docs/FROM_ENGINE_IO.md"]),
];

const SIGTERM: i32 = 15;

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    step("build the clients that try the programs", || {
        interop::build(workspace)
    })?;
    step("look for curl and systemd", || {
        peers::debian("curl")?;
        peers::debian_in("systemd-analyze", "systemd")
    })?;
    let projects = projects(workspace)?;
    for project in &projects {
        let (name, document) = (project.name, project.document);
        // The container's own command builds that one.
        if name != "my-server" {
            step(&format!("build {name}, as {document} shows it"), || {
                project.build(workspace)
            })?;
        }
    }
    let find = |name: &str| {
        let found = projects.iter().find(|project| project.name == name);
        found.with_context(|| format!("there is no project {name}"))
    };
    for name in ["my-axum", "my-actix", "my-warp", "my-tower"] {
        let project = find(name)?;
        step(&format!("{name} answers, echoes and stops"), || {
            servers(workspace, project)
        })?;
    }
    let client = find("my-client")?;
    step("my-client sends, receives and ends", || {
        with_echo(workspace, client)
    })?;
    step("the programs that were ported from Python", || {
        ported(workspace, find("my-port")?, find("my-engine-io")?)
    })?;
    let server = find("my-server")?;
    step("what the container file says", || {
        deployment::container(workspace, server, client)
    })?;
    step("systemd verifies the unit", || {
        deployment::unit(workspace, server)
    })?;
    step("the programs of others are such", || {
        foreign::run(workspace)
    })
}

/// The servers of a README: what it shows comes, and so do the messages of clients.
fn servers(workspace: &Workspace, project: &Project) -> Result<()> {
    for program in &project.programs {
        let server = project.start(program.name)?;
        checks::commands(project)?;
        if program.source.contains("\"hello\"") {
            let page = checks::page(&server, "/")?;
            if !page.ends_with("\r\n\r\nhello") {
                bail!("the page beside Engine.IO is\n{page}");
            }
        }
        checks::echo(workspace, &server)?;
        stop(server)?;
    }
    Ok(())
}

/// A program without a handler of signals dies of SIGTERM, one with it exits with 0. None has panicked.
fn stop(server: Listener) -> Result<()> {
    let printed = server.printed();
    let status = server.stop()?;
    if !status.success() && status.signal() != Some(SIGTERM) {
        bail!("after SIGTERM it ended with {status}");
    }
    if printed.contains("panicked at") {
        bail!("it panicked:\n{printed}");
    }
    Ok(())
}

/// The client of the README prints the echo, waits for more, and ends when the server does.
fn with_echo(workspace: &Workspace, project: &Project) -> Result<()> {
    let mut command = Command::new(workspace.target.join("release/echo"));
    command.args(["--listen", &project.address.to_string()]);
    let server = Listener::start("trial-echo", command, project.address, &logs(workspace))?;
    let mut client = Running::start(workspace, project, "my-client")?;
    client.wait_for("Text(\"hello\")")?;
    stop(server)?;
    client.wait_for("over: Some(Server)")?;
    client.end()
}

/// The servers with threads and with asyncio and the clients of the guide from Python; the clients wait for a word of the
/// server's, so they are connected to one that greets: that of the guide from engine.io.
fn ported(workspace: &Workspace, python: &Project, javascript: &Project) -> Result<()> {
    for name in ["threads", "asyncio"] {
        let server = python.start(name)?;
        let page = checks::page(&server, "/")?.to_lowercase();
        if !page.contains("content-type: text/html") || !page.ends_with(PAGE) {
            bail!("{name}: the page is\n{page}");
        }
        checks::reply(workspace, &server)?;
        let printed = server.printed();
        for line in ["connect ", "message Text(\"hello\")\n", "disconnect "] {
            let lines = printed.split_inclusive('\n');
            if lines.filter(|found| found.starts_with(line)).count() != 3 {
                bail!("{name}: not three times `{line}` for three clients:\n{printed}");
            }
        }
        stop(server)?;
    }
    let server = javascript.start("greeter")?;
    let mut client = Running::start(workspace, python, "client")?;
    client.wait_for("connected\nreceived Text(\"welcome\")\n")?;
    client.wait_for(r#"received Text("{\"response\":\"mine\"}")"#)?;
    let mut other = Running::start(workspace, python, "client_asyncio")?;
    other.wait_for("my sid is Some(")?;
    let mut third = Running::start(workspace, javascript, "greeted")?;
    third.wait_for("Text(\"hello\")")?;
    stop(server)?;
    client.wait_for("disconnect reason: ")?;
    client.end()?;
    third.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_with_dependencies_has_a_project() {
        let (_, documents) = RUN[0];
        for document in documents {
            let mut projects = project::BLUEPRINTS.iter();
            assert!(
                projects.any(|blueprint| blueprint.manifest == *document),
                "{document}"
            );
        }
    }
}
