//! Checks that every row of `docs/CONFORMANCE.md` and `SECURITY.md` has the tests that it names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::Result;

use super::files::{read, rust_files};
use crate::workspace::Workspace;

/// The tests with row numbers in the comments above them.
const ROWS: &str = "engineio-tower/tests";

/// The page with the table of advisories.
const SECURITY: &str = "SECURITY.md";

/// The last column of rows that the tests of the client cover.
const OF_THE_CLIENT: &str = "of `engineio-client`";

pub(super) fn check(workspace: &Workspace, found: &mut Vec<String>) -> Result<()> {
    let page = read(&workspace.root.join("docs/CONFORMANCE.md"))?;
    let mut sources = Vec::new();
    for path in rust_files(&workspace.root.join(ROWS))? {
        sources.push(read(&path)?);
    }
    let tested: BTreeSet<String> = sources.iter().flat_map(|text| markers(text)).collect();
    let rows = rows(&page, found);
    for (row, here) in &rows {
        if here == OF_THE_CLIENT {
            continue;
        }
        if !tested.contains(row) {
            found.push(format!("docs/CONFORMANCE.md: no test names row {row}"));
        }
    }
    for row in tested.iter().filter(|row| !rows.contains_key(*row)) {
        found.push(format!(
            "{ROWS}: a test names row {row}, which does not exist"
        ));
    }
    let mut expected: BTreeSet<String> = (1..=99).map(|row| row.to_string()).collect();
    expected.insert("75b".to_owned());
    expected.extend((1..=17).map(|row| format!("B{row}")));
    for row in expected.iter().filter(|row| !rows.contains_key(*row)) {
        found.push(format!("docs/CONFORMANCE.md: row {row} is missing"));
    }
    let known = functions(workspace)?;
    check_promises(workspace, "docs/CONFORMANCE.md", &page, &known, found);
    let page = read(&workspace.root.join(SECURITY))?;
    check_promises(workspace, SECURITY, &page, &known, found);
    if promised_tests(&page).next().is_none() {
        found.push(format!("{SECURITY}: no table of advisories"));
    }
    Ok(())
}

fn check_promises(
    workspace: &Workspace,
    file: &str,
    page: &str,
    known: &BTreeSet<String>,
    found: &mut Vec<String>,
) {
    for (behaviour, name) in promised_tests(page) {
        let Some(name) = name else {
            found.push(format!("{file}: no test is named for: {behaviour}"));
            continue;
        };
        let exists = if name.contains('/') {
            workspace.root.join(name).is_file()
        } else {
            known.contains(name)
        };
        if !exists {
            found.push(format!("{file}: no such test: `{name}`"));
        }
    }
}

/// Returns the cells of the tables, line by line.
fn table_lines(page: &str) -> impl Iterator<Item = Vec<&str>> {
    page.lines().filter_map(|line| {
        let line = line.strip_prefix("| ")?.strip_suffix('|')?;
        Some(line.split(" |").map(str::trim).collect())
    })
}

/// Returns the numbered rows with the text of their last column.
fn rows(page: &str, found: &mut Vec<String>) -> BTreeMap<String, String> {
    let mut rows = BTreeMap::new();
    for cells in table_lines(page) {
        let Some(number) = cells.first().filter(|cell| is_row(cell)) else {
            continue;
        };
        let here = cells.iter().rfind(|cell| !cell.is_empty());
        let here = here.copied().unwrap_or_default().to_owned();
        if rows.insert((*number).to_owned(), here).is_some() {
            found.push(format!("docs/CONFORMANCE.md: row {number} appears twice"));
        }
    }
    rows
}

/// Returns whether a cell is a row number: digits, with a `B` before or a lower-case letter after them.
fn is_row(cell: &str) -> bool {
    let number = cell.strip_prefix('B').unwrap_or(cell);
    let number = number.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns the rows named in comments directly above a test. Comments elsewhere do not count.
fn markers(source: &str) -> Vec<String> {
    let mut waiting = Vec::new();
    let mut rows = Vec::new();
    for line in source.lines().map(str::trim) {
        let comment = line.strip_prefix("// ").unwrap_or_default();
        let row = comment.strip_prefix("python row ").unwrap_or(comment);
        if is_row(row) && row != comment || row.starts_with('B') && is_row(row) {
            waiting.push(row.to_owned());
        } else if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            rows.append(&mut waiting);
        } else {
            waiting.clear();
        }
    }
    rows
}

/// Returns each behaviour of the tables without row numbers, with the tests in its last column, or `None` if there are none.
fn promised_tests(page: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    table_lines(page)
        .filter(|cells| cells.len() == 3 && !["behaviour", "advisory", "#"].contains(&cells[0]))
        .filter(|cells| !is_row(cells[0]) && cells[1] != "later work")
        .flat_map(|cells| {
            let mut names: Vec<_> = cells[2].split('`').skip(1).step_by(2).map(Some).collect();
            if names.is_empty() {
                names.push(None);
            }
            names.into_iter().map(move |name| (cells[0], name))
        })
}

/// Returns the names of the functions without arguments in the library crates and in `e2e`.
fn functions(workspace: &Workspace) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(&workspace.root)? {
        let directory = entry?.path();
        let name = directory.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with("engineio-") && name != "e2e" {
            continue;
        }
        for path in rust_files(&directory)? {
            let text = read(&path)?;
            let functions = text.lines().filter_map(|line| {
                let (_, rest) = line.split_once("fn ")?;
                let name = rest.split_once("()")?.0;
                // A scenario is generic over the host.
                Some(name.split('<').next()?.to_owned())
            });
            names.extend(functions);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_numbers_with_at_most_a_letter() {
        for row in ["1", "99", "75b", "B17"] {
            assert!(is_row(row), "{row}");
        }
        for other in ["", "#", "---", "B", "b", "the same", "1.5"] {
            assert!(!is_row(other), "{other}");
        }
    }

    #[test]
    fn markers_count_above_a_test_only() {
        let source = "// python row 1\n// python row 2\n#[tokio::test]\nfn a() {}\n// python row 3\nfn b() {}\n\
                      // B4\n#[test]\nfn c() {}\n// 5\n#[test]\nfn d() {}\n";
        assert_eq!(markers(source), ["1", "2", "B4"]);
    }

    #[test]
    fn tests_are_taken_from_the_last_column_of_the_table_without_numbers() {
        let page =
            "| 1 | `a` | `b` |\n| `c` | x | `d`, `e/f` |\n| g | `h` | |\n| i | later work | |\n";
        let promised: Vec<_> = promised_tests(page).collect();
        assert_eq!(
            promised,
            [("`c`", Some("d")), ("`c`", Some("e/f")), ("g", None)]
        );
        assert_eq!(rows(page, &mut Vec::new())["1"], "`b`");
    }
}
