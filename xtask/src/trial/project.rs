//! Packages made from the dependencies and programs that the documents show.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::compiler;
use crate::fences::{fences, of_language};
use crate::process::{self, BUILD_LIMIT, Reach};
use crate::running::{Running, lasting_port};
use crate::workspace::{Workspace, cargo};

/// The page that the ported servers serve, a file in the directory where they start.
pub(super) const PAGE: &str = "<p>a page of its own";

/// The sources of a project.
pub(super) struct Blueprint {
    pub(super) name: &'static str,
    /// The document whose `toml` block is pasted, and the index of the block.
    pub(super) manifest: &'static str,
    block: usize,
    /// The programs: a name, the document, and the index among its complete programs.
    programs: &'static [(&'static str, &'static str, usize)],
}

/// The projects of the READMEs and guides. The names of programs are unique, since all are built into one directory. The program with the name of its
/// package is `src/main.rs`.
pub(super) const BLUEPRINTS: &[Blueprint] = &[
    Blueprint {
        name: "my-axum",
        manifest: "engineio-axum/README.md",
        block: 0,
        programs: &[
            ("my-axum", "engineio-axum/README.md", 0),
            ("front_page", "README.md", 0),
        ],
    },
    Blueprint {
        name: "my-actix",
        manifest: "engineio-actix/README.md",
        block: 0,
        programs: &[("my-actix", "engineio-actix/README.md", 0)],
    },
    Blueprint {
        name: "my-warp",
        manifest: "engineio-warp/README.md",
        block: 0,
        programs: &[("my-warp", "engineio-warp/README.md", 0)],
    },
    Blueprint {
        name: "my-tower",
        manifest: "engineio-tower/README.md",
        block: 0,
        programs: &[("my-tower", "engineio-tower/README.md", 0)],
    },
    Blueprint {
        name: "my-client",
        manifest: "engineio-client/README.md",
        block: 0,
        programs: &[("my-client", "engineio-client/README.md", 0)],
    },
    Blueprint {
        name: "my-port",
        manifest: "docs/FROM_PYTHON.md",
        block: 0,
        programs: &[
            ("threads", "docs/FROM_PYTHON.md", 0),
            ("asyncio", "docs/FROM_PYTHON.md", 1),
            ("client", "docs/FROM_PYTHON.md", 5),
            ("client_asyncio", "docs/FROM_PYTHON.md", 6),
        ],
    },
    Blueprint {
        name: "my-engine-io",
        manifest: "docs/FROM_ENGINE_IO.md",
        block: 0,
        programs: &[
            ("greeter", "docs/FROM_ENGINE_IO.md", 0),
            ("greeted", "docs/FROM_ENGINE_IO.md", 1),
        ],
    },
    Blueprint {
        name: "my-node",
        manifest: "docs/DEPLOYMENT.md",
        block: 0,
        programs: &[("my-node", "docs/DEPLOYMENT.md", 0)],
    },
    Blueprint {
        name: "my-server",
        manifest: "docs/DEPLOYMENT.md",
        block: 1,
        programs: &[("my-server", "docs/DEPLOYMENT.md", 1)],
    },
];

/// The programs of `docs/HOSTS.md`, one for each framework without an adapter.
pub(super) const FRAMEWORKS: &[Blueprint] = &[
    framework("my-salvo", 0, &[("my-salvo", HOSTS, 0)]),
    framework("my-poem", 1, &[("my-poem", HOSTS, 1)]),
    framework("my-rocket", 2, &[("my-rocket", HOSTS, 2)]),
    framework("my-pingora", 3, &[("my-pingora", HOSTS, 3)]),
    framework("my-hyper", 4, &[("my-hyper", HOSTS, 4)]),
];

const HOSTS: &str = "docs/HOSTS.md";

/// The directory of the package whose lock file has the versions of the frameworks.
const FRAMEWORK_LOCK: &str = "xtask/frameworks";

/// The profile `dev` of this workspace, so that cargo finds what was compiled with it.
const PROFILE: &str = "[profile.dev]\ndebug = \"line-tables-only\"\n";

const fn framework(
    name: &'static str,
    block: usize,
    programs: &'static [(&'static str, &'static str, usize)],
) -> Blueprint {
    Blueprint {
        name,
        manifest: HOSTS,
        block,
        programs,
    }
}

/// A new package.
pub(super) struct Project {
    pub(super) name: &'static str,
    /// The document with its dependencies.
    pub(super) document: &'static str,
    /// The text of that document, and the index of its `toml` block.
    pub(super) text: String,
    block: usize,
    /// The directory with the lock file that its versions come from.
    locked_in: PathBuf,
    /// The address that its programs listen on or connect to.
    pub(super) address: SocketAddr,
    pub(super) programs: Vec<Program>,
    pub(super) directory: PathBuf,
    /// The program that cargo runs in front of the compiler.
    compiler: PathBuf,
    /// The target directory, the same for all projects, so that shared dependencies are built once.
    pub(super) target: PathBuf,
}

/// A program with the address of this run.
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) source: String,
}

/// Creates the projects, without remains of an earlier run.
pub(super) fn projects(workspace: &Workspace, blueprints: &[Blueprint]) -> Result<Vec<Project>> {
    // One port for all, since they run one after the other and the clients must find the servers.
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, lasting_port()?));
    let here = workspace.target.join("trial");
    let mut projects = Vec::new();
    for blueprint in blueprints {
        let project = Project::new(workspace, blueprint, address)
            .with_context(|| format!("{}, from {}", blueprint.name, blueprint.manifest))?;
        if project.directory.exists() {
            fs::remove_dir_all(&project.directory)?;
        }
        project.write()?;
        projects.push(project);
    }
    // The patch for the crates of this workspace goes into the parent directory, where cargo looks too, so that the
    // projects themselves are as users have them.
    fs::create_dir_all(here.join(".cargo"))?;
    fs::write(here.join(".cargo/config.toml"), settings(workspace)?)?;
    compiler::with_flags(&here, "-Dwarnings")?;
    take_over(&workspace.target.join("debug"), &here.join("target"))?;
    Ok(projects)
}

/// Starts a target directory with what the workspace has compiled. Cargo uses those dependencies for which a project asks with
/// the same features. It is not the same directory, because cargo locks that one while it builds.
fn take_over(compiled: &Path, target: &Path) -> Result<()> {
    let start = target.join("debug");
    if start.exists() {
        return Ok(());
    }
    fs::create_dir_all(&start)?;
    // Cargo writes into existing files of the first two. What it replaces in the third are whole files.
    for (part, option) in [
        (".fingerprint", "--archive"),
        ("build", "--archive"),
        ("deps", "--archive --link"),
    ] {
        let mut copy = Command::new("cp");
        copy.args(option.split(' '))
            .arg(compiled.join(part))
            .arg(&start);
        process::run(&mut copy, Reach::Program, BUILD_LIMIT)?;
    }
    Ok(())
}

fn settings(workspace: &Workspace) -> Result<String> {
    let mut text = format!("{PROFILE}\n[patch.crates-io]\n");
    for member in workspace.members()? {
        if member.is_published()? {
            let path = member.directory.display();
            text += &format!("{} = {{ path = \"{path}\" }}\n", member.name);
        }
    }
    Ok(text)
}

impl Project {
    fn new(workspace: &Workspace, blueprint: &Blueprint, address: SocketAddr) -> Result<Self> {
        let read = |document: &str| {
            let path = workspace.root.join(document);
            fs::read_to_string(path).with_context(|| format!("cannot read {document}"))
        };
        let mut programs = Vec::new();
        for (name, document, number) in blueprint.programs {
            let text = read(document)?;
            let fences = fences(&text).into_iter();
            let source = fences.filter(|fence| fence.is_program()).nth(*number);
            let source = source.with_context(|| format!("{document} has no program {number}"))?;
            programs.push(Program {
                name,
                source: readdress(source.text, address).with_context(|| (*document).to_owned())?,
            });
        }
        let here = workspace.target.join("trial");
        Ok(Self {
            name: blueprint.name,
            document: blueprint.manifest,
            text: read(blueprint.manifest)?,
            block: blueprint.block,
            locked_in: match blueprint.manifest {
                HOSTS => workspace.root.join(FRAMEWORK_LOCK),
                _ => workspace.root.clone(),
            },
            address,
            programs,
            directory: here.join(blueprint.name),
            compiler: here.join("rustc"),
            target: here.join("target"),
        })
    }

    /// Writes what `cargo new` creates, with the pasted parts and a lock file of the checkout, so that versions are not
    /// resolved again.
    fn write(&self) -> Result<()> {
        let tables = of_language(&self.text, "toml");
        let tables = tables.get(self.block).context("no toml block")?;
        let name = self.name;
        // The empty table keeps cargo from taking it for a member of the workspace around the target directory.
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n{tables}\n[workspace]\n"
        );
        let sources = self.directory.join("src");
        fs::create_dir_all(sources.join("bin"))?;
        fs::write(self.directory.join("Cargo.toml"), manifest)?;
        fs::write(self.directory.join("index.html"), PAGE)?;
        for program in &self.programs {
            let file = match program.name == name {
                true => sources.join("main.rs"),
                false => sources.join(format!("bin/{}.rs", program.name)),
            };
            fs::write(file, &program.source)?;
        }
        fs::copy(
            self.locked_in.join("Cargo.lock"),
            self.directory.join("Cargo.lock"),
        )?;
        Ok(())
    }

    /// Builds its programs with the versions of the lock file. Warnings are errors.
    pub(super) fn build(&self) -> Result<()> {
        self.lock()?;
        let mut build = cargo();
        build.args(["build", "--locked"]);
        self.prepare(&mut build);
        process::run(&mut build, Reach::Program, BUILD_LIMIT)
    }

    /// Adds the package to its lock file and removes unused entries. It may not add any other package.
    pub(super) fn lock(&self) -> Result<()> {
        let mut update = cargo();
        update.args(["update", "--workspace"]);
        self.prepare(&mut update);
        process::run(&mut update, Reach::Program, BUILD_LIMIT)?;
        let ours = fs::read_to_string(self.locked_in.join("Cargo.lock"))?;
        let found = fs::read_to_string(self.directory.join("Cargo.lock"))?;
        let ours = versions(&ours);
        for version in versions(&found) {
            if !ours.contains(version) && !version.contains(&format!("\"{}\"", self.name)) {
                bail!(
                    "{} needs a package that is not in the lock file; name it in `xtask/Cargo.toml` or `{FRAMEWORK_LOCK}`:\n{version}",
                    self.name
                );
            }
        }
        Ok(())
    }

    /// Sets what every cargo command in the project has in common.
    pub(super) fn prepare(&self, command: &mut Command) {
        command
            .current_dir(&self.directory)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_TERM_QUIET", "true")
            .env("RUSTC_WRAPPER", &self.compiler);
    }

    /// Starts one of its programs.
    pub(super) fn run(&self, workspace: &Workspace, program: &str) -> Result<Running> {
        let name = format!("trial-{}-{program}", self.name);
        Running::start(workspace, &name, self.command(program))
    }

    /// Starts one of its servers.
    pub(super) fn serve(&self, workspace: &Workspace, program: &str) -> Result<Running> {
        self.serve_by(workspace, program, self.command(program))
    }

    /// Starts one of its servers by a command of [`command`](Self::command).
    pub(super) fn serve_by(
        &self,
        workspace: &Workspace,
        program: &str,
        command: Command,
    ) -> Result<Running> {
        let name = format!("trial-{program}");
        Running::server_at(workspace, &name, command, self.address)
    }

    /// Returns the command that runs one of its programs, in its directory.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.target.join("debug").join(program));
        command.current_dir(&self.directory);
        command
    }
}

/// Returns the name and the version of each package in a lock file.
fn versions(lock: &str) -> BTreeSet<&str> {
    let packages = lock.split("[[package]]\n").skip(1);
    let versions = packages.filter_map(|package| {
        let end = package.match_indices('\n').nth(1)?.0;
        Some(&package[..end])
    });
    versions.collect()
}

/// The addresses that documents show.
const SHOWN: &[&str] = &[
    "\"127.0.0.1:5000\"",
    "(\"127.0.0.1\", 5000)",
    "\"0.0.0.0:5000\"",
    "\"0.0.0.0:3000\"",
    "//localhost:5000\"",
    "//localhost:3000\"",
    "(\"port\", 5000)",
];

/// Replaces the address that a program shows with the one of this run.
fn readdress(source: &str, address: SocketAddr) -> Result<String> {
    let mut shown = SHOWN.iter().filter(|shown| source.contains(**shown));
    let (Some(found), None) = (shown.next(), shown.next()) else {
        bail!("the program does not name exactly one address of {SHOWN:?}");
    };
    let port = address.port().to_string();
    let ours = found.replace("0.0.0.0", "127.0.0.1");
    let ours = ours.replace("5000", &port).replace("3000", &port);
    Ok(source.replacen(found, &ours, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_replaced_in_the_form_in_which_it_stands() {
        let address = SocketAddr::from(([127, 0, 0, 1], 7));
        let change = |text: &str| readdress(text, address).unwrap();
        assert_eq!(change("bind(\"0.0.0.0:5000\")"), "bind(\"127.0.0.1:7\")");
        assert_eq!(
            change("bind((\"127.0.0.1\", 5000))"),
            "bind((\"127.0.0.1\", 7))"
        );
        assert_eq!(change("\"ws://localhost:3000\""), "\"ws://localhost:7\"");
        assert!(readdress("bind(address)", address).is_err());
    }

    #[test]
    fn no_program_takes_the_place_of_another() {
        let blueprints = BLUEPRINTS.iter().chain(FRAMEWORKS);
        let programs = blueprints.flat_map(|blueprint| blueprint.programs);
        let mut names = BTreeSet::new();
        for (name, ..) in programs {
            assert!(names.insert(name), "{name}");
        }
    }

    #[test]
    fn versions_are_read_from_a_lock_file() {
        let lock = "# x\n\n[[package]]\nname = \"a\"\nversion = \"1\"\nsource = \"r\"\n\n[[package]]\nname = \"b\"\nversion = \"2\"\n";
        let found: Vec<_> = versions(lock).into_iter().collect();
        assert_eq!(
            found,
            [
                "name = \"a\"\nversion = \"1\"",
                "name = \"b\"\nversion = \"2\""
            ]
        );
    }
}
