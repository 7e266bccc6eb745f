//! Rules about documents: links lead somewhere, Rust code is compiled, programs are short.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::files::read;
use super::sources::code_lines;
use crate::fences::{Fence, fences};
use crate::workspace::Workspace;

/// The file that includes the documents whose Rust code is compiled.
const COMPILED: &str = "examples/src/lib.rs";

/// A complete program in the README of a crate has fewer lines than this.
const PROGRAM_LINES: usize = 15;

/// The document with programs for hosts without an adapter, and the most lines of code of each. Where one needs more, the
/// interface for such hosts lacks something.
const HOSTS: &str = "docs/HOSTS.md";
const MOST_HOST_LINES: usize = 40;

pub(super) fn check(workspace: &Workspace, found: &mut Vec<String>) -> Result<()> {
    let readme = read(&workspace.root.join("README.md"))?;
    let mut directories = vec![workspace.root.clone(), workspace.root.join("docs")];
    for member in workspace.members()? {
        directories.push(member.directory.clone());
        if !member.is_published()? {
            continue;
        }
        let name = &member.name;
        match read(&member.directory.join("README.md")) {
            Ok(text) if longest_program(&text) >= PROGRAM_LINES => {
                found.push(format!(
                    "{name}/README.md: a program of {PROGRAM_LINES} lines or more"
                ));
            }
            Ok(_) => {}
            Err(_) => found.push(format!("{name}: no README.md")),
        }
        if !readme.contains(&format!("`{name}`")) {
            found.push(format!("README.md: does not name {name}"));
        }
    }
    let hosts = read(&workspace.root.join(HOSTS))?;
    for program in fences(&hosts).into_iter().filter(Fence::is_program) {
        let lines = code_lines(program.text).count();
        if lines > MOST_HOST_LINES {
            found.push(format!(
                "{HOSTS}:{}: a program of {lines} lines of code, at most {MOST_HOST_LINES}",
                program.line
            ));
        }
    }
    let compiled = read(&workspace.root.join(COMPILED))?;
    for path in directories.iter().flat_map(|directory| texts(directory)) {
        let text = read(&path)?;
        let name = workspace.relative(&path).to_string();
        let here = path.parent().unwrap_or(&workspace.root);
        for link in links(&text).filter(|link| !here.join(link).exists()) {
            found.push(format!("{name}: broken link to {link}"));
        }
        let is_compiled = compiled.contains(&format!("\"../../{name}\""));
        if !is_compiled && fences(&text).iter().any(|fence| fence.language() == "rust") {
            found.push(format!(
                "{name}: has Rust code, but {COMPILED} does not include it"
            ));
        }
    }
    Ok(())
}

/// Returns the Markdown files of a directory, without those in subdirectories.
fn texts(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut texts: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    texts.sort();
    texts
}

/// Returns the files that a text links to, without anchors. Web addresses are not checked.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| {
        let (target, _) = rest.split_once(')')?;
        let file = target.split('#').next().unwrap_or_default();
        let is_file =
            !file.is_empty() && !file.contains("://") && !file.contains(['`', ' ', '<', '"']);
        is_file.then_some(file)
    })
}

/// Counts the lines of the longest complete program in a text.
fn longest_program(text: &str) -> usize {
    let programs = fences(text).into_iter().filter(Fence::is_program);
    programs
        .map(|program| program.text.lines().count())
        .max()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_files_and_no_addresses() {
        let text =
            "[a](docs/A.md#part) [b](https://b) [c](#part) [d](`x`) f[0](\"x\") ![e](images/e.png)";
        let found: Vec<_> = links(text).collect();
        assert_eq!(found, ["docs/A.md", "images/e.png"]);
    }

    #[test]
    fn a_program_is_as_long_as_its_code() {
        let text =
            "Text.\n\n```rust,no_run\nfn main() {\n    run();\n}\n```\n\n```rust\nfn f() {}\n```\n";
        assert_eq!(longest_program(text), 3);
        assert_eq!(longest_program("None."), 0);
    }
}
