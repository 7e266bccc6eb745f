//! `cargo xtask tidy`: the rules of this workspace that no compiler checks. It is also a unit test.

mod circles;
mod conformance;
mod dependencies;
mod documents;
mod files;
mod imports;
mod manifests;
mod sources;

use anyhow::{Result, bail};

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
    circles::check(workspace, &mut found)?;
    conformance::check(workspace, &mut found)?;
    documents::check(workspace, &mut found)?;
    manifests::check(workspace, &mut found)?;
    dependencies::check(&workspace.metadata, &mut found);
    Ok(found)
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
