//! The foreign clients and servers, fetched by the command that needs them and kept under `target/peers`.
//!
//! What is missing and cannot be fetched is an error of one line that says how to get it: a run that
//! skips a client would look like one that passed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{self, Reach, first_line};
use crate::workspace::Workspace;

const FETCH_LIMIT: Duration = Duration::from_secs(600);

/// The first Node with the test runner options that we use.
const NODE_AT_LEAST: (u32, u32) = (20, 10);

/// Installs the packages of `e2e/interop/package-lock.json` and puts our scripts beside them, where
/// their imports resolve. Gives the directory.
pub(crate) fn javascript(workspace: &Workspace) -> Result<PathBuf> {
    check_node()?;
    let source = workspace.root.join("e2e/interop");
    let peers = workspace.target.join("peers");
    fs::create_dir_all(&peers)?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(source.join(file), peers.join(file))
            .with_context(|| format!("cannot copy {file}"))?;
    }
    for directory in ["js", "browser", "servers", "proxies"] {
        copy_afresh(&source.join(directory), &peers.join(directory))?;
    }
    // `npm ci` begins by deleting node_modules, and the stamp with it: no half-done install is kept.
    let stamp = Stamp::new(
        peers.join("node_modules/.complete"),
        &peers.join("package-lock.json"),
    )?;
    if !stamp.is_current() {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund"])
            .current_dir(&peers);
        process::run(&mut npm, Reach::Group, FETCH_LIMIT)
            .context("cannot install the JavaScript peers")?;
        stamp.write()?;
    }
    Ok(peers)
}

/// Makes a virtual environment with what `e2e/interop/python/requirements.txt` names. Gives its
/// interpreter.
pub(crate) fn python(workspace: &Workspace) -> Result<PathBuf> {
    if first_line("python3", &["--version"]).is_none() {
        bail!("python3 is missing: install Python 3 with its venv module (Debian: python3-venv)");
    }
    let requirements = workspace.root.join("e2e/interop/python/requirements.txt");
    let venv = workspace.target.join("peers/venv");
    let interpreter = venv.join("bin/python");
    let stamp = Stamp::new(venv.join("complete"), &requirements)?;
    if !stamp.is_current() {
        let mut create = Command::new("python3");
        create.args(["-m", "venv", "--clear"]).arg(&venv);
        process::run(&mut create, Reach::Group, FETCH_LIMIT)
            .context("cannot make a virtual environment (Debian: install python3-venv)")?;
        let mut pip = Command::new(&interpreter);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
        ])
        .arg(&requirements);
        process::run(&mut pip, Reach::Group, FETCH_LIMIT)
            .context("cannot install the Python peers")?;
        stamp.write()?;
    }
    Ok(interpreter)
}

/// A program from the Debian package of the same name, installed if it is missing and we may.
pub(crate) fn debian(name: &str) -> Result<PathBuf> {
    debian_in(name, name)
}

/// A program from a Debian package of another name.
pub(crate) fn debian_in(name: &str, package: &str) -> Result<PathBuf> {
    if let Some(path) = find(name) {
        return Ok(path);
    }
    let is_root = first_line("id", &["-u"]).as_deref() == Some("0");
    if !is_root || first_line("apt-get", &["--version"]).is_none() {
        bail!("{name} is missing: install it (Debian: apt-get install {package}) and try again");
    }
    // The list of packages of a fresh container is empty.
    for arguments in [&["update"][..], &["install", "-y", package]] {
        let mut apt = Command::new("apt-get");
        apt.args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            // No service is started in it, and a proxy is one.
            .env("RUNLEVEL", "1");
        process::run(&mut apt, Reach::Group, FETCH_LIMIT)
            .with_context(|| format!("cannot install {package}"))?;
    }
    find(name).with_context(|| format!("{package} was installed, and still there is no {name}"))
}

fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Programs of the administrator's are not in everybody's path.
    [PathBuf::from("/usr/bin"), PathBuf::from("/usr/sbin")]
        .into_iter()
        .chain(env::split_paths(&path))
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
}

fn check_node() -> Result<()> {
    let (major, minor) = NODE_AT_LEAST;
    let version = first_line("node", &["--version"])
        .with_context(|| format!("node is missing: install Node.js {major}.{minor} or later"))?;
    if node_version(&version).is_none_or(|found| found < NODE_AT_LEAST) {
        bail!("node {version} is too old: install Node.js {major}.{minor} or later");
    }
    if first_line("npm", &["--version"]).is_none() {
        bail!("npm is missing: install the one that belongs to Node.js (Debian: npm)");
    }
    Ok(())
}

fn node_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix('v')?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Copies the files of a flat directory, and removes what an earlier copy has left.
fn copy_afresh(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir_all(to)?;
    let entries = fs::read_dir(from).with_context(|| format!("there is no {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// A file that says what an installation was made from: it is current while the two are equal.
struct Stamp {
    path: PathBuf,
    wanted: Vec<u8>,
}

impl Stamp {
    fn new(path: PathBuf, made_from: &Path) -> Result<Self> {
        let wanted =
            fs::read(made_from).with_context(|| format!("cannot read {}", made_from.display()))?;
        Ok(Self { path, wanted })
    }

    fn is_current(&self) -> bool {
        fs::read(&self.path).is_ok_and(|found| found == self.wanted)
    }

    fn write(&self) -> Result<()> {
        fs::write(&self.path, &self.wanted)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_versions_are_compared_as_numbers() {
        assert_eq!(node_version("v20.9.1"), Some((20, 9)));
        assert!(node_version("v20.9.1").unwrap() < NODE_AT_LEAST);
        assert!(node_version("v22.0.0").unwrap() > NODE_AT_LEAST);
        assert_eq!(node_version("20.10"), None);
    }
}
