//! Circles of imports: files of a library crate that import each other, directly or through others.
//!
//! A re-export counts as an import of the file that has the item. Tests do not count.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::files::{read, rust_files};
use super::imports::{Modules, Path, code, origin, paths};
use crate::workspace::Workspace;

/// The library crates, and the groups of files in them that may import each other: the beginnings of their names.
const CRATES: &[(&str, &[&str])] = &[
    ("engineio-core", &[]),
    ("engineio-websocket", &[]),
    // The domain: the server holds its sessions, and a session leads to its server.
    // The static files are a module and its parts.
    (
        "engineio-tower",
        &["server/ session/", "hosting/static_files/"],
    ),
    // A client, its builder and its driver lead to each other. An error names the attempt that failed, whose parts have
    // errors. The other two are a module and its parts.
    (
        "engineio-client",
        &[
            "lib.rs builder/ client/ driver/ handlers.rs settings.rs shared.rs state.rs",
            "error.rs net/attempt.rs net/headers.rs redirect.rs target.rs",
            "blocking/",
            "net/webtransport/",
        ],
    ),
    // A type and its builder.
    ("engineio-cluster", &["builder.rs cluster.rs"]),
    ("engineio-webtransport", &[]),
    ("engineio-axum", &[]),
    ("engineio-actix", &[]),
    ("engineio-warp", &[]),
];

pub(super) fn check(workspace: &Workspace, found: &mut Vec<String>) -> Result<()> {
    for member in workspace.members()? {
        let Some((name, allowed)) = CRATES.iter().find(|(name, _)| *name == member.name) else {
            continue;
        };
        let root = member.directory.join("src");
        let mut files = Vec::new();
        for path in rust_files(&root)? {
            let file = path.strip_prefix(&root)?.to_string_lossy().into_owned();
            files.push((file, read(&path)?));
        }
        let is_in = |file: &String, group: &str| group.split(' ').any(|at| file.starts_with(at));
        let is_allowed = |circle: &Vec<String>| {
            let mut groups = allowed.iter();
            groups.any(|group| circle.iter().all(|file| is_in(file, group)))
        };
        for circle in circles(&files).iter().filter(|circle| !is_allowed(circle)) {
            let circle = circle.join(", ");
            found.push(format!(
                "{name}/src: import each other in a circle: {circle}"
            ));
        }
    }
    Ok(())
}

/// Returns the circles among files, of which each has a name and a text.
fn circles(files: &[(String, String)]) -> BTreeSet<Vec<String>> {
    let mut modules = Modules::new();
    let mut tests = BTreeSet::new();
    for (file, text) in files {
        let module = file.trim_end_matches(".rs").split('/').map(str::to_owned);
        let module: Path = module
            .filter(|name| name != "mod" && name != "lib")
            .collect();
        let (code, names) = code(text);
        for name in names {
            tests.insert([&module[..], &[name.to_owned()]].concat());
        }
        modules.insert(module, (file, paths(&code)));
    }
    modules.retain(|module, _| !tests.iter().any(|test: &Path| module.starts_with(test)));
    let imports = |module: &Path| -> BTreeSet<Path> {
        let paths = modules[module].1.iter();
        paths
            .filter_map(|(path, _)| origin(&modules, module, path, 0))
            .filter(|to| to != module)
            .collect()
    };
    let imports: BTreeMap<&Path, _> = modules.keys().map(|from| (from, imports(from))).collect();
    let mut reached: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
    for from in modules.keys() {
        let mut open = vec![from];
        while let Some(module) = open.pop() {
            let seen = reached.entry(from).or_default();
            open.extend(imports[module].iter().filter(|to| seen.insert(*to)));
        }
    }
    let circle = |from: &Path| {
        let back = |to: &&Path| reached[*to].contains(from);
        let circle = reached[from].iter().copied().filter(back);
        circle.map(|to| modules[to].0.to_owned()).collect()
    };
    let circles = modules.keys().map(circle);
    circles
        .filter(|circle: &Vec<_>| !circle.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_found_through_re_exports_and_not_through_tests() {
        let files = [
            (
                "lib.rs",
                "mod a;\npub mod b;\npub use a::{One as A, Two};\n#[cfg(test)]\nmod trials;",
            ),
            (
                "a/mod.rs",
                "mod part;\nfn f() { part::go() }\npub use crate::b::c::D;",
            ),
            (
                "a/part.rs",
                "pub use std::{fmt, io};\n#[cfg(test)]\nmod tests {\n    use super::super::One;\n}",
            ),
            ("b/mod.rs", "mod c;\n// use crate::A;"),
            (
                "b/c.rs",
                "use {std::fmt, crate::{Two}};\nmod inner {\n    use super::D;\n}",
            ),
            ("trials.rs", "use crate::b;"),
        ];
        let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(
            circles(&files),
            BTreeSet::from([vec!["a/mod.rs".to_owned(), "b/c.rs".to_owned()]])
        );
    }
}
