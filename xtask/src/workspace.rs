//! The workspace as `cargo metadata` describes it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The workspace as `cargo metadata` describes it.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// The build directory, as cargo reports it, because users move it.
    pub(crate) target: PathBuf,
    /// The whole description, dependency graph included.
    pub(crate) metadata: Value,
}

/// A crate of this workspace.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
    pub(crate) manifest: PathBuf,
    pub(crate) rust_version: Option<String>,
}

impl Workspace {
    pub(crate) fn load() -> Result<Self> {
        // A task must not change the lock file that everybody tests with.
        let output = cargo()
            .args(["metadata", "--format-version", "1", "--locked"])
            .current_dir(manifest_directory()?)
            .output()
            .context("cannot run cargo metadata")?;
        if !output.status.success() {
            bail!(
                "cargo metadata failed:\n{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let metadata: Value =
            serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")?;
        let path = |key: &str| {
            metadata[key]
                .as_str()
                .map(PathBuf::from)
                .with_context(|| format!("cargo metadata printed no {key}"))
        };
        Ok(Self {
            root: path("workspace_root")?,
            target: path("target_directory")?,
            metadata,
        })
    }

    pub(crate) fn members(&self) -> Result<Vec<Member>> {
        let ids = list(&self.metadata["workspace_members"]);
        let mut members = Vec::new();
        for package in list(&self.metadata["packages"]) {
            if ids.contains(&package["id"]) {
                members.push(Member::from_metadata(package)?);
            }
        }
        Ok(members)
    }

    /// Formats a path relative to the root.
    pub(crate) fn relative<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}

impl Member {
    pub(crate) fn is_published(&self) -> Result<bool> {
        let manifest = fs::read_to_string(&self.manifest)
            .with_context(|| format!("cannot read {}", self.manifest.display()))?;
        Ok(!manifest.contains("publish = false"))
    }

    fn from_metadata(package: &Value) -> Result<Self> {
        let name = package["name"].as_str().context("a package has no name")?;
        let manifest = package["manifest_path"]
            .as_str()
            .map(PathBuf::from)
            .with_context(|| format!("{name} has no manifest"))?;
        Ok(Self {
            name: name.to_owned(),
            directory: manifest.parent().map(Path::to_owned).unwrap_or_default(),
            manifest,
            rust_version: package["rust_version"].as_str().map(str::to_owned),
        })
    }
}

/// Returns the cargo that runs this task, so that all steps use one toolchain.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Cargo sets these for xtask. Build scripts that watch them, such as ring's, would run again, and everything that
    // depends on them would be rebuilt, each time a cargo command inside xtask follows one outside of it.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// Returns the elements of a JSON list, or none if the value is something else.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Returns the directory of xtask at run time: the path known at compile time may be that of another checkout.
fn manifest_directory() -> Result<PathBuf> {
    env::var_os("CARGO_MANIFEST_DIR")
        .map(PathBuf::from)
        .context("CARGO_MANIFEST_DIR is not set: run this as `cargo xtask …`")
}
