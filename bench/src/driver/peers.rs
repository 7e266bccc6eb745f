//! The peers that are no part of this program, installed under `target/peers` when they are first measured.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The files that the peers are installed from.
const SOURCES: &[(&str, &str)] = &[
    ("package.json", include_str!("../../peers/package.json")),
    (
        "package-lock.json",
        include_str!("../../peers/package-lock.json"),
    ),
    (
        "requirements.txt",
        include_str!("../../peers/requirements.txt"),
    ),
    ("server.js", include_str!("../../peers/server.js")),
    ("client.js", include_str!("../../peers/client.js")),
    ("server.py", include_str!("../../peers/server.py")),
];

/// The directory of the peers, and which of them are known to be installed.
pub(super) struct Peers {
    root: PathBuf,
    node: bool,
    python: bool,
    rust: bool,
}

impl Peers {
    pub(super) fn new(target: &Path) -> Self {
        Self {
            root: target.join("peers/bench"),
            node: false,
            python: false,
            rust: false,
        }
    }

    fn write_sources(&self) -> Result<()> {
        fs::create_dir_all(&self.root)?;
        for (name, text) in SOURCES {
            fs::write(self.root.join(name), text)?;
        }
        Ok(())
    }

    /// The directory of the scripts for Node.js.
    pub(super) fn node(&mut self) -> Result<PathBuf> {
        if !self.node {
            self.write_sources()?;
            self.install("npm.complete", SOURCES[1].1, |root| {
                let mut npm = Command::new("npm");
                npm.args(["ci", "--no-audit", "--no-fund"])
                    .current_dir(root);
                run(&mut npm).context("cannot install engine.io and its client; is npm there?")
            })?;
            self.node = true;
        }
        Ok(self.root.clone())
    }

    /// The program whose clients are those of rust_engineio, built if it has changed.
    pub(super) fn rust_engineio(&mut self) -> Result<PathBuf> {
        let target = self.root.join("rust_engineio");
        if !self.rust {
            let manifest = concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/peers/rust_engineio/Cargo.toml"
            );
            let mut cargo = Command::new(env!("CARGO"));
            cargo
                .args(["build", "--quiet", "--release", "--locked"])
                .args(["--manifest-path", manifest])
                .arg("--target-dir")
                .arg(&target);
            run(&mut cargo).context("cannot build rust_engineio; are OpenSSL's headers there?")?;
            self.rust = true;
        }
        Ok(target.join("release/bench-rust-engineio"))
    }

    /// The interpreter and the script of the server in Python.
    pub(super) fn python(&mut self) -> Result<(PathBuf, PathBuf)> {
        let interpreter = self.root.join("venv/bin/python");
        if !self.python {
            self.write_sources()?;
            self.install("pip.complete", SOURCES[2].1, |root| {
                let venv = ["-m", "venv", "--clear", "venv"];
                run(Command::new("python3").args(venv).current_dir(root))
                    .context("cannot make a virtual environment; is python3-venv there?")?;
                let pip = ["-m", "pip", "install", "--quiet", "-r", "requirements.txt"];
                run(Command::new(&interpreter).args(pip).current_dir(root))
                    .context("cannot install python-engineio")
            })?;
            self.python = true;
        }
        Ok((interpreter, self.root.join("server.py")))
    }

    /// Installs what is not there in this very version.
    fn install(
        &self,
        stamp: &str,
        wanted: &str,
        install: impl Fn(&Path) -> Result<()>,
    ) -> Result<()> {
        let stamp = self.root.join(stamp);
        if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
            return Ok(());
        }
        install(&self.root)?;
        Ok(fs::write(stamp, wanted)?)
    }
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.stdout(std::process::Stdio::null()).status()?;
    if !status.success() {
        bail!("{command:?} failed");
    }
    Ok(())
}
