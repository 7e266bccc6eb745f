//! `cargo xtask trial`: does what a new user does, starting from an empty directory.
//!
//! The dependencies and programs of the READMEs and guides are pasted into new packages under `target/trial`, built,
//! started and tried. They are exactly as the documents show them, except for the address, which gets a free port, and the
//! crates of this workspace, which come from the checkout because the registry does not have them yet.
//!
//! The programs of `docs/HOSTS.md` have a part of their own, since four more web frameworks take minutes to compile.
//!
//! Each package is built on its own, with the features that its `Cargo.toml` asks for: in one build, one package would get
//! the features of another.

mod checks;
mod deployment;
mod foreign;
mod project;

use std::os::unix::process::ExitStatusExt;

use anyhow::{Context, Result, bail};

use self::project::{BLUEPRINTS, Blueprint, FRAMEWORKS, PAGE, Project, projects};
use crate::interop::peers;
use crate::programs::Build;
use crate::running::Running;
use crate::step::step;
use crate::workspace::Workspace;

const SIGTERM: i32 = 15;

/// The programs that are tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Part {
    /// Those of the READMEs and guides.
    Guides,
    /// Those of `docs/HOSTS.md`, for web frameworks without an adapter.
    Frameworks,
    /// The first two of these, which build quickest.
    SomeFrameworks,
}

/// The parts by the names that `--part` takes.
const PARTS: [(&str, Part); 3] = [
    ("guides", Part::Guides),
    ("frameworks", Part::Frameworks),
    ("some-frameworks", Part::SomeFrameworks),
];

impl Part {
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        let known = PARTS.iter().find(|(known, _)| *known == name);
        let names = PARTS.map(|(known, _)| known);
        known
            .map(|(_, part)| *part)
            .ok_or_else(|| format!("unknown part `{name}`; expected {}", names.join(", ")))
    }
}

pub(crate) fn run(workspace: &Workspace, part: Part) -> Result<()> {
    step("build the clients that try the programs", || {
        Build::Debug.make(workspace)
    })?;
    step("find or install curl", || peers::debian(workspace, "curl"))?;
    match part {
        Part::Guides => guides(workspace),
        Part::Frameworks => frameworks(workspace, FRAMEWORKS),
        Part::SomeFrameworks => frameworks(workspace, &FRAMEWORKS[..2]),
    }
}

/// Builds and tries the programs for frameworks without an adapter.
fn frameworks(workspace: &Workspace, blueprints: &[Blueprint]) -> Result<()> {
    for project in projects(workspace, blueprints)? {
        let (name, document) = (project.name, project.document);
        if name == "my-pingora" {
            // It compiles a C library.
            step("find or install cmake", || {
                peers::debian(workspace, "cmake")
            })?;
        }
        step(&format!("build {name}, as {document} shows it"), || {
            project.build()
        })?;
        step(&format!("{name} answers, echoes and stops"), || {
            servers(workspace, &project)
        })?;
    }
    Ok(())
}

/// Builds and tries the programs of the READMEs and guides.
fn guides(workspace: &Workspace) -> Result<()> {
    let projects = projects(workspace, BLUEPRINTS)?;
    for project in &projects {
        let (name, document) = (project.name, project.document);
        // The command in the container file builds that one.
        if name != "my-server" {
            step(&format!("build {name}, as {document} shows it"), || {
                project.build()
            })?;
        }
    }
    let find = |name: &str| {
        let found = projects.iter().find(|project| project.name == name);
        found.with_context(|| format!("unknown project {name}"))
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
    step("my-node serves, drains and leaves", || {
        deployment::node(workspace, find("my-node")?)
    })?;
    let server = find("my-server")?;
    step("the container file builds and runs my-server", || {
        deployment::container(workspace, server, client)
    })?;
    step("systemd verifies the unit", || {
        deployment::unit(workspace, server)
    })?;
    step(
        "the Python and JavaScript programs in the guides parse",
        || foreign::run(workspace),
    )
}

/// Tries the servers of a README: its commands print what it shows, and clients get their messages back.
fn servers(workspace: &Workspace, project: &Project) -> Result<()> {
    for program in &project.programs {
        let server = project.serve(workspace, program.name)?;
        checks::commands(project)?;
        if program.source.contains("\"hello\"") {
            let page = checks::page(&server, "/")?;
            if !page.ends_with("\r\n\r\nhello") {
                bail!("the app's own page is\n{page}");
            }
        }
        checks::echo(workspace, &server)?;
        stop(server)?;
    }
    Ok(())
}

/// Stops a server. A program without a signal handler dies of SIGTERM, one with a handler exits with 0. Neither may panic.
fn stop(server: Running) -> Result<()> {
    server.stop_if(|status| status.success() || status.signal() == Some(SIGTERM))
}

/// Tries the client of a README: it prints the echo, waits for more, and exits when the server does.
fn with_echo(workspace: &Workspace, project: &Project) -> Result<()> {
    let mut command = Build::Debug.program(workspace, "echo");
    command.args(["--listen", &project.address.to_string()]);
    let server = Running::server_at(workspace, "trial-echo", command, project.address)?;
    let mut client = project.run(workspace, "my-client")?;
    client.wait_for("Text(\"hello\")")?;
    stop(server)?;
    client.wait_for("over: Some(Server)")?;
    client.wait_for_exit()
}

/// Tries the servers and clients of the guides for users of python-engineio and engine.io. The Python clients wait for a
/// greeting, so they connect to the server of the other guide, which sends one.
fn ported(workspace: &Workspace, python: &Project, javascript: &Project) -> Result<()> {
    for name in ["threads", "asyncio"] {
        let server = python.serve(workspace, name)?;
        let page = checks::page(&server, "/")?.to_lowercase();
        if !page.contains("content-type: text/html") || !page.ends_with(PAGE) {
            bail!("{name}: the page is\n{page}");
        }
        checks::reply(workspace, &server)?;
        let printed = server.printed();
        for line in ["connect ", "message Text(\"hello\")\n", "disconnect "] {
            let lines = printed.split_inclusive('\n');
            if lines.filter(|found| found.starts_with(line)).count() != 3 {
                bail!("{name}: expected `{line}` three times, once for each client:\n{printed}");
            }
        }
        stop(server)?;
    }
    let server = javascript.serve(workspace, "greeter")?;
    let mut client = python.run(workspace, "client")?;
    client.wait_for("connected\nreceived Text(\"welcome\")\n")?;
    client.wait_for(r#"received Text("{\"response\":\"mine\"}")"#)?;
    let mut other = python.run(workspace, "client_asyncio")?;
    other.wait_for("my sid is Some(")?;
    let mut third = javascript.run(workspace, "greeted")?;
    third.wait_for("Text(\"hello\")")?;
    stop(server)?;
    client.wait_for("disconnect reason: ")?;
    client.wait_for_exit()?;
    third.wait_for_exit()
}
