//! The programs of others that the guides show beside ours. They are not run, but they are programs: a typing error in
//! one is found.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::fences::{Fence, fences};
use crate::process;
use crate::workspace::Workspace;

const LIMIT: Duration = Duration::from_secs(30);

/// Compiles a program in which `await` may stand outside of functions, as in the parts of programs that guides show.
const PYTHON: &str = "import ast, sys; \
    compile(sys.stdin.read(), sys.argv[1], 'exec', ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)";

pub(super) fn run(workspace: &Workspace) -> Result<()> {
    let here = workspace.target.join("trial/foreign");
    fs::create_dir_all(&here)?;
    for (language, documents) in super::RUN {
        for document in *documents {
            let text = fs::read_to_string(workspace.root.join(document))
                .with_context(|| format!("cannot read {document}"))?;
            for fence in fences(&text) {
                if fence.language() != *language {
                    continue;
                }
                let name = format!("{document}:{}", fence.line);
                let checked = match *language {
                    "python" => parse_python(&fence, &name),
                    "js" => {
                        let file = here.join(format!("{}.mjs", fence.line));
                        fs::write(&file, fence.text)?;
                        let mut node = Command::new("node");
                        node.arg("--check").arg(file);
                        process::output(node, "", LIMIT)
                    }
                    _ => continue,
                };
                checked.with_context(|| format!("{name} is no {language}"))?;
            }
        }
    }
    Ok(())
}

fn parse_python(fence: &Fence<'_>, name: &str) -> Result<String> {
    let mut python = Command::new("python3");
    python.args(["-c", PYTHON, name]);
    process::output(python, fence.text, LIMIT)
}
