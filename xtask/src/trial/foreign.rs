//! Parses the Python and JavaScript programs that the guides show beside the Rust ones. They are not run.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::fences::{Fence, fences};
use crate::process;
use crate::workspace::Workspace;

/// The documents with programs in another language.
const GUIDES: [(&str, &str); 2] = [
    ("python", "docs/FROM_PYTHON.md"),
    ("js", "docs/FROM_ENGINE_IO.md"),
];

const LIMIT: Duration = Duration::from_secs(30);

/// Compiles a program that may use `await` outside of functions, as the fragments in guides do.
const PYTHON: &str = "import ast, sys; \
    compile(sys.stdin.read(), sys.argv[1], 'exec', ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)";

pub(super) fn run(workspace: &Workspace) -> Result<()> {
    let here = workspace.target.join("trial/foreign");
    fs::create_dir_all(&here)?;
    for (language, document) in GUIDES {
        let text = fs::read_to_string(workspace.root.join(document))
            .with_context(|| format!("cannot read {document}"))?;
        let programs = fences(&text).into_iter();
        for fence in programs.filter(|fence| fence.language() == language) {
            let name = format!("{document}:{}", fence.line);
            let parsed = match language {
                "python" => parse_python(&fence, &name),
                _ => parse_javascript(&fence, &here),
            };
            parsed.with_context(|| format!("{name} does not parse as {language}"))?;
        }
    }
    Ok(())
}

fn parse_javascript(fence: &Fence<'_>, directory: &Path) -> Result<String> {
    let file = directory.join(format!("{}.mjs", fence.line));
    fs::write(&file, fence.text)?;
    let mut node = Command::new("node");
    node.arg("--check").arg(file);
    process::output(node, "", LIMIT)
}

fn parse_python(fence: &Fence<'_>, name: &str) -> Result<String> {
    let mut python = Command::new("python3");
    python.args(["-c", PYTHON, name]);
    process::output(python, fence.text, LIMIT)
}
