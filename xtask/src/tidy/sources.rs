//! Rules about the text of source files: their length, unfinished code, and tests that sleep.

use std::path::Path;

use anyhow::Result;

use super::files::{read, rust_files};
use crate::workspace::{Member, Workspace};

/// The longest source file, so that a file holds one idea.
const MOST_LINES: usize = 450;

/// The adapter crates, which only convert. One that grows has probably started to implement the protocol.
const ADAPTERS: &[&str] = &["engineio-axum", "engineio-actix", "engineio-warp"];
const MOST_ADAPTER_LINES: usize = 250;

/// Markers of unfinished code, and of tests that do not run. (Split, so that this file passes its own check.)
const UNFINISHED: &[&str] = &[
    concat!("to", "do!"),
    concat!("unimpl", "emented!"),
    concat!("d", "bg!"),
    concat!("#[ig", "nore"),
];

pub(super) fn check(workspace: &Workspace, found: &mut Vec<String>) -> Result<()> {
    for member in workspace.members()? {
        let mut adapter_lines = 0;
        for path in rust_files(&member.directory)? {
            let text = read(&path)?;
            let name = workspace.relative(&path).to_string();
            let in_src = path.starts_with(member.directory.join("src"));
            if in_src {
                adapter_lines += code_lines(&text).count();
                let lines = text.lines().count();
                if lines > MOST_LINES {
                    found.push(format!("{name}: {lines} lines, at most {MOST_LINES}"));
                }
            }
            for (number, what) in unfinished(&text) {
                found.push(format!("{name}:{number}: `{what}`"));
            }
            if waits_are_forbidden(&member) {
                for number in waits(&text, in_src && !is_test_file(&path)) {
                    found.push(format!(
                        "{name}:{number}: a test sleeps instead of waiting for an event"
                    ));
                }
            }
        }
        if ADAPTERS.contains(&member.name.as_str()) && adapter_lines >= MOST_ADAPTER_LINES {
            found.push(format!(
                "{}: {adapter_lines} lines of code, an adapter has fewer than {MOST_ADAPTER_LINES}",
                member.name
            ));
        }
    }
    Ok(())
}

/// Returns the lines that are neither blank nor comments, with their numbers.
pub(super) fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with("//"))
}

fn unfinished(text: &str) -> Vec<(usize, &'static str)> {
    code_lines(text)
        .flat_map(|(number, line)| {
            let hits = UNFINISHED.iter().filter(move |word| line.contains(**word));
            hits.map(move |word| (number, *word))
        })
        .collect()
}

/// Returns whether tests must not sleep: in the library crates and in `e2e`, but not in examples and tasks.
fn waits_are_forbidden(member: &Member) -> bool {
    let is_library = member.name.starts_with("engineio-") && member.name != "engineio-examples";
    is_library || member.directory.ends_with("e2e")
}

fn is_test_file(path: &Path) -> bool {
    path.components()
        .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
}

/// Returns the lines of test code that call `sleep`. In a source file the tests come last, after `cfg(test)`. The code before
/// it may use timers.
fn waits(text: &str, is_source: bool) -> Vec<usize> {
    let mut in_tests = !is_source;
    let mut numbers = Vec::new();
    for (number, line) in code_lines(text) {
        in_tests |= line.starts_with("#[cfg(test)]");
        if in_tests && calls_sleep(line) {
            numbers.push(number);
        }
    }
    numbers
}

/// Returns whether a line calls `thread::sleep(…)`, `time::sleep(…)` or an imported `sleep(…)`. `sleep_until(…)`, which has a
/// deadline, does not count, nor does another name that ends in `sleep`.
fn calls_sleep(line: &str) -> bool {
    line.match_indices("sleep(").any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|before| before.is_alphanumeric() || before == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blank_lines_do_not_count_as_code() {
        let text = "//! Doc.\n\n/// More.\nfn a() {}\n    // why\n}\n";
        assert_eq!(code_lines(text).count(), 2);
    }

    #[test]
    fn unfinished_code_is_found_where_it_stands() {
        let text = format!("fn a() {{\n    {}()\n}}\n", UNFINISHED[0]);
        assert_eq!(unfinished(&text), [(2, UNFINISHED[0])]);
        assert_eq!(unfinished(&format!("// {}\n", UNFINISHED[0])), []);
    }

    #[test]
    fn waiting_is_found_in_tests_only() {
        let text =
            "fn a() { tokio::time::sleep(d) }\n#[cfg(test)]\nmod t { fn b() { sleep(d) } }\n";
        assert_eq!(waits(text, true), [3]);
        assert_eq!(waits(text, false), [1, 3]);
        assert_eq!(waits("sleep_until(d); fall_asleep(d);", false), [0; 0]);
    }
}
