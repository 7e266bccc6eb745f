//! Fetches the foreign clients, servers and proxies, and keeps them under `target/peers`.
//!
//! A peer that is missing and cannot be fetched is an error that says how to install it: a run that skipped a peer would
//! look like one that passed. Suites may run side by side, so a lock guards each fetch.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{self, Reach, first_line};
use crate::workspace::Workspace;

const FETCH_LIMIT: Duration = Duration::from_secs(600);

/// The first version of Node.js with the test runner options that the suites use.
const NODE_AT_LEAST: (u32, u32) = (20, 10);

/// Installs the packages of `e2e/interop/package-lock.json`, copies the test scripts beside them, where their imports
/// resolve, and returns the directory.
pub(crate) fn javascript(workspace: &Workspace) -> Result<PathBuf> {
    check_node()?;
    let source = workspace.root.join("e2e/interop");
    let peers = workspace.target.join("peers");
    let _lock = lock(workspace)?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(source.join(file), peers.join(file))
            .with_context(|| format!("cannot copy {file}"))?;
    }
    for directory in ["js", "browser", "servers", "proxies", "cluster"] {
        copy_changed(&source.join(directory), &peers.join(directory))?;
    }
    // `npm ci` first deletes node_modules, and the stamp with it: no incomplete installation is kept.
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

/// Creates a virtual environment with the newest python-engineio and returns its interpreter.
pub(crate) fn python(workspace: &Workspace) -> Result<PathBuf> {
    python_with(workspace, "requirements.txt", "venv")
}

/// Creates a virtual environment with aioquic and returns its interpreter.
pub(crate) fn aioquic(workspace: &Workspace) -> Result<PathBuf> {
    python_with(workspace, "requirements-aioquic.txt", "venv-aioquic")
}

/// Creates a virtual environment with the packages of a file in `e2e/interop/python` and returns its interpreter.
pub(crate) fn python_with(workspace: &Workspace, packages: &str, name: &str) -> Result<PathBuf> {
    if first_line("python3", &["--version"]).is_none() {
        bail!("python3 is missing: install Python 3 with its venv module (Debian: python3-venv)");
    }
    let _lock = lock(workspace)?;
    let requirements = workspace.root.join("e2e/interop/python").join(packages);
    let venv = workspace.target.join("peers").join(name);
    let interpreter = venv.join("bin/python");
    let stamp = Stamp::new(venv.join("complete"), &requirements)?;
    if !stamp.is_current() {
        let mut create = Command::new("python3");
        create.args(["-m", "venv", "--clear"]).arg(&venv);
        process::run(&mut create, Reach::Group, FETCH_LIMIT)
            .context("cannot create a virtual environment (Debian: install python3-venv)")?;
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

/// Finds a program of the Debian package with the same name, or installs it.
pub(crate) fn debian(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    debian_in(workspace, name, name)
}

/// Finds a program, or installs the Debian package that has it, which takes root.
pub(crate) fn debian_in(workspace: &Workspace, name: &str, package: &str) -> Result<PathBuf> {
    let _lock = lock(workspace)?;
    if let Some(path) = find(name) {
        return Ok(path);
    }
    let is_root = first_line("id", &["-u"]).as_deref() == Some("0");
    if !is_root || first_line("apt-get", &["--version"]).is_none() {
        bail!("{name} is missing: install it (Debian: apt-get install {package}) and try again");
    }
    // The package list of a fresh container is empty.
    for arguments in [&["update"][..], &["install", "-y", package]] {
        let mut apt = Command::new("apt-get");
        apt.args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            // Keeps the package from starting its proxy as a service.
            .env("RUNLEVEL", "1");
        process::run(&mut apt, Reach::Group, FETCH_LIMIT)
            .with_context(|| format!("cannot install {package}"))?;
    }
    find(name).with_context(|| format!("{package} was installed, but {name} is still missing"))
}

fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // /usr/sbin is not in every user's path.
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
        bail!("npm is missing: install the version that comes with Node.js (Debian: npm)");
    }
    Ok(())
}

fn node_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix('v')?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Waits until no other suite fetches anything. Dropping the file releases the lock.
fn lock(workspace: &Workspace) -> Result<File> {
    let peers = workspace.target.join("peers");
    fs::create_dir_all(&peers)?;
    let file = File::create(peers.join("lock"))?;
    file.lock().context("cannot lock the peers")?;
    Ok(file)
}

/// Makes a flat directory a copy of another. Files that are equal stay untouched, since another suite may be reading them.
fn copy_changed(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(to)? {
        let copy = entry?;
        if copy.file_type()?.is_file() && !from.join(copy.file_name()).exists() {
            fs::remove_file(copy.path())?;
        }
    }
    let entries = fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        if !entry.file_type()?.is_file() {
            continue;
        }
        let (wanted, copy) = (fs::read(entry.path())?, to.join(entry.file_name()));
        if fs::read(&copy).ok().as_ref() != Some(&wanted) {
            fs::write(copy, wanted)?;
        }
    }
    Ok(())
}

/// Returns the test files of a directory for `node --test`.
pub(crate) fn test_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".test.mjs") {
            files.push(path);
        }
    }
    // Given no file, node searches for tests itself, finds none, and passes.
    if files.is_empty() {
        bail!("there are no tests in {}", directory.display());
    }
    files.sort();
    Ok(files)
}

/// A copy of the file that an installation was made from. The installation is current while the two are equal.
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
