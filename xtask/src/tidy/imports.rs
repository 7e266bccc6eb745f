//! The paths in the source files of a crate, and the files where they lead.

use std::collections::BTreeMap;

/// The path of a module or of an item.
pub(super) type Path = Vec<String>;

/// The paths in a file, and the names that it gives to those that it imports.
/// The path of a module or of an item.
pub(super) type Paths = Vec<(Path, Option<String>)>;

/// The files of a crate by module, with their names.
pub(super) type Modules<'a> = BTreeMap<Path, (&'a str, Paths)>;

/// Returns the module where a path leads from a module, through imports and re-exports. What is not of the crate stays there.
pub(super) fn origin(
    modules: &Modules<'_>,
    from: &[String],
    path: &[String],
    steps: u8,
) -> Option<Path> {
    let Some((first, rest)) = path.split_first() else {
        return Some(from.to_vec());
    };
    let child = [from, std::slice::from_ref(first)].concat();
    match first.as_str() {
        "crate" => origin(modules, &[], rest, steps),
        "super" => origin(modules, from.split_last()?.1, rest, steps),
        "self" => origin(modules, from, rest, steps),
        _ if modules.contains_key(&child) => origin(modules, &child, rest, steps),
        _ => {
            let mut paths = modules.get(from)?.1.iter();
            match paths.find(|(_, name)| name.as_ref() == Some(first)) {
                Some((import, _)) if steps < 8 => {
                    origin(modules, from, &[import, rest].concat(), steps + 1)
                }
                _ => Some(from.to_vec()),
            }
        }
    }
}

/// Returns the text without comments and tests, and the modules of tests that have files of their own.
pub(super) fn code(text: &str) -> (String, Vec<&str>) {
    let (mut code, mut tests, mut of_tests, mut in_module) =
        (String::new(), Vec::new(), false, false);
    for line in text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
    {
        let module = line
            .split_once("mod ")
            .filter(|(before, _)| before.is_empty() || before.starts_with("pub"));
        match module {
            Some((_, name)) if of_tests && name.ends_with(';') => {
                tests.push(name.trim_end_matches(';'))
            }
            // They come last.
            Some(_) if of_tests => break,
            Some((_, name)) => in_module = name.ends_with('{'),
            None if line.starts_with("#[") => {
                of_tests |= line.starts_with("#[cfg")
                    && line.contains("(test")
                    && !line.contains("not(test");
                continue;
            }
            None => in_module &= !line.starts_with('}'),
        }
        of_tests = false;
        // To a module within the file, `super` is the file.
        let line = if in_module {
            line.replace("super::", "self::")
        } else {
            line.to_owned()
        };
        code += &(line + "\n");
    }
    (code, tests)
}

/// Returns the paths in a text of [`code`].
pub(super) fn paths(code: &str) -> Paths {
    let mut paths = Paths::new();
    for statement in code.split(';') {
        let is_tree = |tree: &str| {
            tree.chars()
                .all(|c| c.is_alphanumeric() || c.is_whitespace() || "_:,*{}".contains(c))
        };
        let import = statement
            .rsplit_once("use ")
            .filter(|(_, tree)| is_tree(tree));
        let (rest, tree) = import.unwrap_or((statement, ""));
        expand(tree, &[], &mut paths);
        let words = rest.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
        paths.extend(
            words
                .filter(|word| word.contains("::"))
                .map(|word| (names(word), None)),
        );
    }
    paths
}

/// Adds the paths of the tree of a `use`.
fn expand(tree: &str, before: &[String], paths: &mut Paths) {
    let mut depth = 0;
    for part in tree.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    }) {
        if let Some((head, tree)) = part.split_once('{') {
            let tree = tree.rsplit_once('}').map_or(tree, |(tree, _)| tree);
            expand(tree, &[before, &names(head)].concat(), paths);
        } else if !part.trim().is_empty() {
            let (path, name) = part.split_once(" as ").unwrap_or((part, ""));
            let path = [before, &names(path)].concat();
            let last = path.iter().rfind(|name| *name != "self").cloned();
            paths.push((path, names(name).pop().or(last)));
        }
    }
}

fn names(path: &str) -> Path {
    path.split("::")
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}
