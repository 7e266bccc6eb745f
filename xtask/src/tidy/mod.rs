//! `cargo xtask tidy`: the rules of this workspace that no compiler checks. It is also a unit test.

mod conformance;
mod dependencies;
mod documents;
mod manifests;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// Prints every violation, and fails if there is one.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let violations = violations(workspace)?;
    for violation in &violations {
        eprintln!("tidy: {violation}");
    }
    match violations.len() {
        0 => Ok(()),
        count => bail!("tidy found {count} violation(s)"),
    }
}

fn violations(workspace: &Workspace) -> Result<Vec<String>> {
    let mut found = Vec::new();
    sources::check(workspace, &mut found)?;
    conformance::check(workspace, &mut found)?;
    documents::check(workspace, &mut found)?;
    manifests::check(workspace, &mut found)?;
    dependencies::check(&workspace.metadata, &mut found);
    Ok(found)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Returns every Rust file below `directory`, without build output.
fn rust_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        if !directory.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_ours = !name.starts_with('.') && name != "target" && name != "node_modules";
            if path.is_dir() && is_ours {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_is_tidy() {
        let workspace = Workspace::load().unwrap();
        let violations = violations(&workspace).unwrap();
        assert!(violations.is_empty(), "\n{}", violations.join("\n"));
    }
}
