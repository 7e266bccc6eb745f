//! Rules about `Cargo.toml` files and the documents that repeat them.

use std::fmt::Display;

use anyhow::Result;

use super::files::read;
use crate::workspace::Workspace;

pub(super) fn check(workspace: &Workspace, found: &mut Vec<String>) -> Result<()> {
    let root = read(&workspace.root.join("Cargo.toml"))?;
    let Some(minimum) = rust_version(&root) else {
        found.push("Cargo.toml: the workspace states no rust-version".to_owned());
        return Ok(());
    };
    for member in workspace.members()? {
        let readme = member.directory.join("README.md");
        if readme.exists() && !member.directory.ends_with("examples") {
            check_readme(workspace.relative(&readme), &read(&readme)?, minimum, found);
        }
        let name = workspace.relative(&member.manifest);
        let manifest = read(&member.manifest)?;
        if !inherits_lints(&manifest) {
            found.push(format!("{name}: no `[lints]` with `workspace = true`"));
        }
        if rust_version(&manifest).is_some() {
            found.push(format!(
                "{name}: states a rust-version of its own; write `rust-version.workspace = true`"
            ));
        } else if member.rust_version.as_deref() != Some(minimum) {
            found.push(format!("{name}: no `rust-version.workspace = true`"));
        }
    }
    let clippy = workspace.root.join("clippy.toml");
    if clippy.exists() && read(&clippy)?.contains("msrv") {
        found.push("clippy.toml: states a minimum Rust version of its own".to_owned());
    }
    let readme = read(&workspace.root.join("README.md"))?;
    check_readme("README.md", &readme, minimum, found);
    Ok(())
}

/// Returns the version in a line `rust-version = "…"`, or `None` if it is inherited.
fn rust_version(manifest: &str) -> Option<&str> {
    manifest.lines().find_map(|line| {
        let value = line.trim().strip_prefix("rust-version")?.trim_start();
        value
            .strip_prefix('=')?
            .trim()
            .strip_prefix('"')?
            .split('"')
            .next()
    })
}

fn inherits_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim);
    lines.any(|line| line == "[lints]") && {
        let mut section = lines.take_while(|line| !line.starts_with('['));
        section.any(|line| line == "workspace = true")
    }
}

/// Checks that a README says `Rust 1.NN` at least once, and always with the version of the manifest.
fn check_readme(name: impl Display, readme: &str, minimum: &str, found: &mut Vec<String>) {
    let stated: Vec<String> = readme
        .match_indices("Rust 1.")
        .map(version_at(readme))
        .collect();
    if stated.is_empty() {
        found.push(format!("{name}: does not say `Rust {minimum}`"));
    }
    for version in stated {
        if version != minimum {
            found.push(format!(
                "{name}: says Rust {version}, the manifest {minimum}"
            ));
        }
    }
}

fn version_at(text: &str) -> impl Fn((usize, &str)) -> String {
    move |(at, _)| {
        let version = &text[at + "Rust ".len()..];
        let end = version
            .find(|character: char| !character.is_ascii_digit() && character != '.')
            .unwrap_or(version.len());
        version[..end].trim_end_matches('.').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_literal_rust_version_counts() {
        assert_eq!(rust_version("rust-version = \"1.95\"\n"), Some("1.95"));
        assert_eq!(rust_version("rust-version.workspace = true\n"), None);
    }

    #[test]
    fn lints_are_inherited_by_their_own_section_only() {
        assert!(inherits_lints("[lints]\nworkspace = true\n"));
        assert!(!inherits_lints(
            "[lints]\n\n[dependencies]\nworkspace = true\n"
        ));
        assert!(!inherits_lints("[dependencies]\n"));
    }

    #[test]
    fn the_readme_states_the_same_version_everywhere() {
        let complaints = |readme: &str| {
            let mut found = Vec::new();
            check_readme("README.md", readme, "1.95", &mut found);
            found.len()
        };
        assert_eq!(complaints("Needs Rust 1.95. Also on Rust 1.95, yes."), 0);
        assert_eq!(complaints("Needs Rust 1.94 or Rust 1.95"), 1);
        assert_eq!(complaints("Needs a compiler."), 1);
    }
}
