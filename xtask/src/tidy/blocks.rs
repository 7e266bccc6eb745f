//! Rules about the fenced blocks of documents: each is compiled, run, or known to be neither.

use std::path::Path;

use anyhow::Result;

use super::read;
use crate::fences::{Fence, fences};
use crate::proxies;
use crate::trial;
use crate::workspace::Workspace;

/// Compiled as documentation tests: the documents that this file includes.
const COMPILED: &str = "examples/src/lib.rs";

/// Run through proxies by `cargo xtask interop --only proxies`.
const PROXIES: &[&str] = &["nginx", "haproxy"];

/// Read by people only: what travels, a picture, a formula. Their commands are checked, see `commands`.
const READ: &[&str] = &["sh", "text"];

/// The crates whose README shows a server and a command to try it with.
const SERVERS: &[&str] = &[
    "engineio-axum",
    "engineio-actix",
    "engineio-warp",
    "engineio-tower",
];

pub(super) fn check(
    workspace: &Workspace,
    path: &Path,
    text: &str,
    found: &mut Vec<String>,
) -> Result<()> {
    let compiled = read(&workspace.root.join(COMPILED))?;
    let document = workspace.relative(path).to_string();
    let is_compiled = compiled.contains(&format!("\"../../{document}\""));
    for fence in fences(text) {
        if let Some(what) = violation(&document, &fence, is_compiled) {
            found.push(format!("{document}:{}: {what}", fence.line));
        }
    }
    let has_program = fences(text).iter().any(Fence::is_program);
    let is_tried = projects_of("toml").contains(&document.as_str());
    if document.ends_with("/README.md") && has_program && !is_tried {
        found.push(format!(
            "{document}: its program is not tried by `cargo xtask trial`"
        ));
    }
    Ok(())
}

fn violation(document: &str, fence: &Fence<'_>, is_compiled: bool) -> Option<String> {
    let language = fence.language();
    if language == "rust" {
        return of_rust(fence, is_compiled);
    }
    if language.is_empty() {
        return Some("a block without a language".to_owned());
    }
    let is_checked = READ.contains(&language)
        || (PROXIES.contains(&language) && document == proxies::GUIDE)
        || projects_of(language).contains(&document);
    if !is_checked {
        return Some(format!("nothing runs or checks a block of {language} here"));
    }
    let is_typed = SERVERS
        .iter()
        .any(|name| document == format!("{name}/README.md"));
    let is_command = |line: &str| line.starts_with("$ ");
    if fence.text.lines().any(is_command) && !is_typed {
        return Some("nothing types a command with a `$` here".to_owned());
    }
    None
}

fn of_rust(fence: &Fence<'_>, is_compiled: bool) -> Option<String> {
    if !is_compiled {
        return Some(format!(
            "Rust that nothing compiles: name the document in {COMPILED}"
        ));
    }
    if fence.info.contains("ignore") || fence.info.contains("compile_fail") {
        return Some("Rust that is not compiled".to_owned());
    }
    // What rustdoc hides others show, and whoever copies it has a mistake in his program.
    let hidden = |line: &str| line == "#" || line.starts_with("# ");
    let hidden = fence.text.lines().any(hidden);
    hidden.then(|| "a line that begins with `# `, which is shown and copied".to_owned())
}

/// The documents whose blocks of a language the trial looks after.
fn projects_of(language: &str) -> &'static [&'static str] {
    let run = trial::RUN.iter().find(|(known, _)| *known == language);
    run.map_or(&[], |(_, documents)| documents)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(document: &str, text: &str, is_compiled: bool) -> usize {
        let fences = fences(text);
        let found = fences
            .iter()
            .filter_map(|fence| violation(document, fence, is_compiled));
        found.count()
    }

    #[test]
    fn a_block_that_nothing_looks_after_is_a_violation() {
        let yaml = "```yaml\na: b\n```\n";
        assert_eq!(complaints("README.md", yaml, true), 1);
        let toml = "```toml\na = 1\n```\n";
        assert_eq!(complaints("README.md", toml, true), 1);
        assert_eq!(complaints("engineio-axum/README.md", toml, true), 0);
        assert_eq!(complaints("README.md", "```nginx\n```\n", true), 1);
        assert_eq!(complaints(proxies::GUIDE, "```nginx\n```\n", true), 0);
        assert_eq!(complaints("README.md", "```\nls\n```\n", true), 1);
        assert_eq!(
            complaints("README.md", "```text\nA picture.\n```\n", true),
            0
        );
        assert_eq!(complaints("README.md", "```text\n$ ls\nx\n```\n", true), 1);
    }

    #[test]
    fn rust_is_compiled_and_shown_as_it_is() {
        let rust = "```rust,no_run\nfn main() {}\n```\n";
        assert_eq!(complaints("README.md", rust, true), 0);
        assert_eq!(complaints("README.md", rust, false), 1);
        assert_eq!(complaints("README.md", "```rust,ignore\n```\n", true), 1);
        let hidden = "```rust\nlet a = 1;\n# let _ = a;\n#[derive(Debug)]\n```\n";
        assert_eq!(complaints("README.md", hidden, true), 1);
    }
}
