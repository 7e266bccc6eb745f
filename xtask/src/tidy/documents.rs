//! Rules about the documents: what they point to is there, and what is public is named in them.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::commands::Commands;
use super::{blocks, read};
use crate::workspace::Workspace;

const API: &str = "docs/API.md";

/// A whole program in the README of a crate is shorter: what a user copies to see the first message come back.
const MOST_PROGRAM_LINES: usize = 15;

pub(super) fn check(workspace: &Workspace, found: &mut Vec<String>) -> Result<()> {
    let readme = read(&workspace.root.join("README.md"))?;
    let api = read(&workspace.root.join(API))?;
    let mut directories = vec![workspace.root.clone(), workspace.root.join("docs")];
    for member in workspace.members()? {
        directories.push(member.directory.clone());
        if !member.is_published()? {
            continue;
        }
        let name = &member.name;
        match read(&member.directory.join("README.md")) {
            Ok(text) if longest_program(&text) >= MOST_PROGRAM_LINES => {
                found.push(format!(
                    "{name}/README.md: a program of {MOST_PROGRAM_LINES} lines or more"
                ));
            }
            Ok(_) => {}
            Err(_) => found.push(format!("{name}: no README.md")),
        }
        if !readme.contains(&format!("`{name}`")) {
            found.push(format!("README.md: does not name {name}"));
        }
        let exports = exports(&read(&member.directory.join("src/lib.rs"))?);
        for export in unnamed(&exports, section(&api, name)) {
            found.push(format!("{API}: does not name {name}'s {export}"));
        }
    }
    let commands = Commands::new(workspace)?;
    for path in directories.iter().flat_map(|directory| texts(directory)) {
        let text = read(&path)?;
        let name = workspace.relative(&path);
        let here = path.parent().unwrap_or(&workspace.root);
        for link in links(&text).filter(|link| !here.join(link).exists()) {
            found.push(format!("{name}: the link to {link} leads nowhere"));
        }
        blocks::check(workspace, &path, &text, found)?;
        commands.check(name.to_string(), &text, found);
    }
    Ok(())
}

/// The Markdown files of a directory, not those below it.
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

/// The files that a text links to, without their anchors; addresses on the web are not looked at.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| {
        let (target, _) = rest.split_once(')')?;
        let file = target.split('#').next().unwrap_or_default();
        let is_file =
            !file.is_empty() && !file.contains("://") && !file.contains(['`', ' ', '<', '"']);
        is_file.then_some(file)
    })
}

/// The lines of the longest program in a text, one with a `main`.
fn longest_program(text: &str) -> usize {
    let blocks = text.split("\n```rust").skip(1);
    let programs = blocks.filter_map(|rest| rest.split_once('\n')?.1.split("```").next());
    programs
        .filter(|program| program.contains("fn main"))
        .map(|program| program.lines().count())
        .max()
        .unwrap_or_default()
}

/// The names that a `lib.rs` exports by `pub use`, modules by `pub mod`.
fn exports(lib: &str) -> Vec<String> {
    let code: String = lib
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join(" ");
    let mut names = Vec::new();
    for item in code.split("pub use ").skip(1) {
        let item = item.split(';').next().unwrap_or_default();
        let list = match item.split_once('{') {
            Some((_, list)) => list.trim_end_matches([' ', '}']),
            None => item.rsplit("::").next().unwrap_or_default(),
        };
        names.extend(list.split(',').map(|name| name.trim().to_owned()));
    }
    for item in code.split("pub mod ").skip(1) {
        names.extend(item.split([';', ' ']).next().map(str::to_owned));
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The part of a document below a heading of the second level.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let Some((_, rest)) = text.split_once(&format!("\n## {heading}\n")) else {
        return "";
    };
    rest.split("\n## ").next().unwrap_or_default()
}

/// The names that a text does not have in backticks.
fn unnamed<'a>(names: &'a [String], text: &str) -> Vec<&'a str> {
    let is_named =
        |name: &String| text.contains(&format!("`{name}`")) || text.contains(&format!("::{name}`"));
    let missing = names.iter().filter(|name| !is_named(name));
    missing.map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_are_found_in_all_their_forms() {
        let lib = "//! pub use nothing::Here;\npub mod blocking;\nmod private;\n\
                   pub use one::One;\npub use two::{\n    Two, Three,\n};\n";
        assert_eq!(exports(lib), ["One", "Two", "Three", "blocking"]);
    }

    #[test]
    fn a_public_item_is_named_below_the_heading_of_its_crate() {
        let api = "\n## one\n`One`, `two::Two`\n\n## other\n`Three`\n";
        let names = ["One", "Two", "Three"].map(str::to_owned);
        assert_eq!(unnamed(&names, section(api, "one")), ["Three"]);
        assert_eq!(unnamed(&names, section(api, "none")).len(), 3);
    }

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
