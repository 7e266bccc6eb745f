//! Checks the direction of dependencies between crates.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use crate::workspace::list;

/// The families of crates that must not be in the dependency tree of a crate. A family is a crate and all crates whose name
/// begins with its name and a hyphen or underscore.
const FORBIDDEN: &[(&str, &[&str])] = &[
    // The protocol has no I/O, no clock and no randomness, so its tests need none.
    (
        "engineio-core",
        &[
            "tokio",
            "http",
            "hyper",
            "tower",
            "futures",
            "tracing",
            "rand",
            "getrandom",
        ],
    ),
    (
        "engineio-websocket",
        &[
            "axum",
            "actix",
            "warp",
            "hyper",
            "tower",
            "engineio-tower",
            "engineio-client",
        ],
    ),
    // The server works with every framework, so it depends on none. Server and client do not depend on each other.
    // QUIC and TLS come with engineio-webtransport alone.
    (
        "engineio-tower",
        &[
            "axum",
            "actix",
            "warp",
            "engineio-client",
            "quinn",
            "rustls",
            "web-transport",
        ],
    ),
    (
        "engineio-client",
        &["axum", "actix", "warp", "engineio-tower"],
    ),
];

/// The crates that must exist, because without them the rules above would hold trivially.
const REQUIRED: &[&str] = &["engineio-core", "engineio-tower"];

pub(super) fn check(metadata: &Value, found: &mut Vec<String>) {
    let graph = Graph::new(metadata);
    for (name, families) in FORBIDDEN {
        let Some(tree) = graph.tree(name) else {
            if REQUIRED.contains(name) {
                found.push(format!("the workspace has no crate {name}"));
            }
            continue;
        };
        for dependency in tree {
            if families.iter().any(|family| belongs(dependency, family)) {
                found.push(format!("{name}: depends on {dependency}"));
            }
        }
    }
}

fn belongs(name: &str, family: &str) -> bool {
    name.strip_prefix(family)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
}

/// The dependency graph, without development and build dependencies.
struct Graph<'a> {
    names: HashMap<&'a str, &'a str>,
    edges: HashMap<&'a str, Vec<&'a str>>,
}

impl<'a> Graph<'a> {
    fn new(metadata: &'a Value) -> Self {
        let names = list(&metadata["packages"])
            .iter()
            .filter_map(|package| Some((package["id"].as_str()?, package["name"].as_str()?)))
            .collect();
        let edges = list(&metadata["resolve"]["nodes"])
            .iter()
            .filter_map(|node| {
                let normal = list(&node["deps"])
                    .iter()
                    .filter(|dependency| is_normal(dependency))
                    .filter_map(|dependency| dependency["pkg"].as_str());
                Some((node["id"].as_str()?, normal.collect()))
            })
            .collect();
        Self { names, edges }
    }

    /// Returns the names of all dependencies of `name`, or `None` if the graph does not have it.
    fn tree(&self, name: &str) -> Option<BTreeSet<&'a str>> {
        let (start, _) = self.names.iter().find(|(_, found)| **found == name)?;
        let mut seen = BTreeSet::new();
        let mut open = vec![*start];
        while let Some(id) = open.pop() {
            for next in self.edges.get(id).into_iter().flatten() {
                if seen.insert(*next) {
                    open.push(next);
                }
            }
        }
        Some(
            seen.iter()
                .filter_map(|id| self.names.get(id).copied())
                .collect(),
        )
    }
}

fn is_normal(dependency: &Value) -> bool {
    list(&dependency["dep_kinds"])
        .iter()
        .any(|kind| kind["kind"].is_null())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A dependency and its kind.
    type Edge<'a> = (&'a str, Option<&'a str>);

    /// Builds the metadata of a graph, in which the identifier of a crate is its name.
    fn metadata(edges: &[(&str, &[Edge<'_>])]) -> Value {
        let packages: Vec<Value> = edges
            .iter()
            .map(|(name, _)| json!({ "id": name, "name": name }))
            .collect();
        let nodes: Vec<Value> = edges
            .iter()
            .map(|(name, dependencies)| {
                let deps: Vec<Value> = dependencies
                    .iter()
                    .map(|(name, kind)| json!({ "pkg": name, "dep_kinds": [{ "kind": kind }] }))
                    .collect();
                json!({ "id": name, "deps": deps })
            })
            .collect();
        json!({ "packages": packages, "resolve": { "nodes": nodes } })
    }

    fn complaints(metadata: &Value) -> Vec<String> {
        let mut found = Vec::new();
        check(metadata, &mut found);
        found
    }

    #[test]
    fn an_indirect_dependency_is_found() {
        let metadata = metadata(&[
            ("engineio-core", &[("helper", None)]),
            ("helper", &[("tokio-util", None)]),
            ("tokio-util", &[]),
            ("engineio-tower", &[("engineio-core", None)]),
        ]);
        assert_eq!(
            complaints(&metadata),
            ["engineio-core: depends on tokio-util"]
        );
    }

    #[test]
    fn a_development_dependency_is_ignored() {
        let metadata = metadata(&[
            ("engineio-core", &[("rand", Some("dev"))]),
            ("rand", &[]),
            ("engineio-tower", &[("httparse", None)]),
            ("httparse", &[]),
        ]);
        assert_eq!(complaints(&metadata), [""; 0]);
    }

    #[test]
    fn a_missing_crate_is_a_complaint() {
        assert_eq!(complaints(&metadata(&[])).len(), 2);
    }
}
