//! Rules about the commands in documents: what they name exists.

use std::path::Path;

use anyhow::Result;

use super::{read, rust_files};
use crate::fences::fences;
use crate::workspace::{Workspace, list};

/// The subcommands of cargo that documents tell to run, beside those that build; their arguments are cargo's own.
const OTHERS: &[&str] = &[
    "new",
    "doc",
    "fuzz",
    "deny",
    "hack",
    "update",
    "semver-checks",
    "publish",
    "package",
    "yank",
];

/// Those that name a package and a target of it.
const BUILDING: &[&str] = &["run", "build", "test", "bench", "check", "clippy"];

/// The options that name a target, and its kind.
const TARGETS: &[(&str, &str)] = &[
    ("--bin", "bin"),
    ("--example", "example"),
    ("--test", "test"),
    ("--bench", "bench"),
];

/// Commands that belong to others, and are not run.
const FOREIGN: &[&str] = &["pip install ", "npm install "];

/// The program whose first argument is a command.
const BENCH: &str = "engineio-bench";

/// A package by its name, with its targets: their kind and their name.
type Package = (String, Vec<(String, String)>);

pub(super) struct Commands {
    packages: Vec<Package>,
    /// The source of the program that measures.
    bench: String,
}

impl Commands {
    pub(super) fn new(workspace: &Workspace) -> Result<Self> {
        let members = workspace.members()?;
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let mut packages = Vec::new();
        let mut bench = String::new();
        for package in list(&workspace.metadata["packages"]) {
            let Some(member) = members
                .iter()
                .find(|member| package["name"] == *member.name)
            else {
                continue;
            };
            let targets = list(&package["targets"]).iter();
            let targets = targets.map(|target| (text(&target["kind"][0]), text(&target["name"])));
            packages.push((member.name.clone(), targets.collect()));
            if member.name == BENCH {
                for file in rust_files(&member.directory.join("src"))? {
                    bench += &read(&file)?;
                }
            }
        }
        Ok(Self { packages, bench })
    }

    pub(super) fn check(&self, document: impl AsRef<Path>, text: &str, found: &mut Vec<String>) {
        let document = document.as_ref().display();
        for command in commands(text) {
            if let Some(what) = self.violation(command) {
                found.push(format!("{document}: `{command}`: {what}"));
            }
        }
    }

    fn violation(&self, command: &str) -> Option<String> {
        if FOREIGN.iter().any(|start| command.starts_with(start)) {
            return None;
        }
        let command = command.split('#').next().unwrap_or_default();
        let mut words = without_choices(command).into_iter();
        // In front of it there may be variables for its environment.
        let Some(_) = words.find(|word| *word == "cargo") else {
            return Some("no command that is known here".to_owned());
        };
        let subcommand = words.next()?;
        let words: Vec<&str> = words.collect();
        match subcommand {
            "xtask" => {
                let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
                crate::parse(&words).err()
            }
            name if BUILDING.contains(&name) => self.of_building(&words),
            name if OTHERS.contains(&name) => self.packages_of(&words).err(),
            name => Some(format!("`cargo {name}` is not known here")),
        }
    }

    /// The packages that a command names; all, if it names none.
    fn packages_of(&self, words: &[&str]) -> Result<Vec<&Package>, String> {
        let mut chosen = Vec::new();
        for name in values(words, "-p").chain(values(words, "--package")) {
            let package = self.packages.iter().find(|(known, _)| known == name);
            chosen.push(package.ok_or_else(|| format!("there is no package {name}"))?);
        }
        if chosen.is_empty() {
            chosen.extend(&self.packages);
        }
        Ok(chosen)
    }

    fn of_building(&self, words: &[&str]) -> Option<String> {
        let end = words.iter().position(|word| *word == "--");
        let (ours, rest) = words.split_at(end.unwrap_or(words.len()));
        let packages = match self.packages_of(ours) {
            Ok(packages) => packages,
            Err(what) => return Some(what),
        };
        for (option, kind) in TARGETS {
            for name in values(ours, option) {
                let mut targets = packages.iter().flat_map(|(_, targets)| targets);
                if !targets.any(|(known, target)| known == kind && target == name) {
                    return Some(format!("there is no {kind} {name}"));
                }
            }
        }
        let is_bench = values(ours, "-p").eq([BENCH]);
        let subcommand = rest.get(1).filter(|_| is_bench)?;
        let is_known = self.bench.contains(&format!("\"{subcommand}\""));
        (!is_known).then(|| format!("{BENCH} has no command {subcommand}"))
    }
}

/// The words behind an option, each time that it is given.
fn values<'a>(words: &'a [&'a str], option: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = words.windows(2).filter(move |pair| pair[0] == option);
    pairs.map(|pair| pair[1])
}

/// The words of a command without the parts that may be left out: `[--seconds N]`.
fn without_choices(command: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let mut words = Vec::new();
    for word in command.split_whitespace() {
        depth += word.matches('[').count();
        if depth == 0 {
            words.push(word);
        }
        depth = depth.saturating_sub(word.matches(']').count());
    }
    words
}

/// The commands of a text: every line of a `sh` block; in a `text` block, and in backticks, what begins with cargo or with
/// a variable for it.
fn commands(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for fence in fences(text) {
        let lines = fence.text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        match fence.language() {
            "sh" => found.extend(lines),
            // The rest of the line, behind a wide gap, tells what it does.
            "text" => found.extend(
                lines
                    .filter(|line| line.starts_with("cargo "))
                    .filter_map(|line| line.split("   ").next()),
            ),
            _ => {}
        }
    }
    let mut is_code = false;
    for line in text.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            let spans = line.split('`').skip(1).step_by(2).map(str::trim);
            found.extend(spans.filter(|span| is_command(span)));
        }
    }
    found
}

/// `cargo …`, or variables and then `cargo …`.
fn is_command(span: &str) -> bool {
    let mut words = span.split_whitespace();
    let command = words.find(|word| !word.contains('='));
    command == Some("cargo") && words.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Commands {
        let target = |kind: &str, name: &str| (kind.to_owned(), name.to_owned());
        Commands {
            packages: vec![
                ("engineio-examples".to_owned(), vec![target("bin", "demo")]),
                (BENCH.to_owned(), vec![target("bin", BENCH)]),
            ],
            bench: "match word { \"quick\" => {} }".to_owned(),
        }
    }

    #[test]
    fn commands_are_found_in_blocks_and_in_backticks() {
        let text = "Run `A=b cargo test --workspace` or `cargo`.\n\n```sh\nls\n```\n\n\
                    ```text\ncargo run   runs it\na picture\n```\n\n```rust\nlet a = \"`cargo x y`\";\n```\n";
        assert_eq!(
            commands(text),
            ["ls", "cargo run", "A=b cargo test --workspace"]
        );
    }

    #[test]
    fn what_a_command_names_exists() {
        let commands = known();
        for command in [
            "cargo run --release -p engineio-examples --bin demo -- --host axum",
            "cargo run --release -p engineio-bench -- quick",
            "cargo xtask soak [--minutes N \\| --seconds N] [--host axum]",
            "cargo xtask interop --only proxies",
            "cargo test --workspace",
            "cargo run -p engineio-examples --bin demo   # then",
            "RUSTC_BOOTSTRAP=1 cargo update -Z direct-minimal-versions",
            "pip install python-engineio",
        ] {
            assert_eq!(commands.violation(command), None, "{command}");
        }
        for command in [
            "cargo run --release -p engineio-example --bin demo",
            "cargo run --release -p engineio-examples --bin demoo",
            "cargo run --release -p engineio-bench -- quickly",
            "cargo run --example demo",
            "cargo xtask interop --only proxy",
            "cargo xtask tried",
            "cargo tset",
            "make install",
        ] {
            assert!(commands.violation(command).is_some(), "{command}");
        }
    }
}
