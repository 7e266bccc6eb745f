//! Checks that a program works, as a user would.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use super::project::Project;
use crate::fences::fences;
use crate::process;
use crate::programs::Build;
use crate::running::Running;
use crate::workspace::Workspace;

/// The time limit of each command, at least ten times what it takes.
const LIMIT: Duration = Duration::from_secs(30);

/// How many messages a client sends and expects back.
const MESSAGES: &str = "200";

/// The address that the documents show in commands.
const SHOWN: &str = "127.0.0.1:5000";

/// Runs the commands that a document shows, and compares their output with the one shown.
pub(super) fn commands(project: &Project) -> Result<()> {
    let typed = typed(&project.text);
    if typed.is_empty() {
        bail!(
            "{} shows no command that tries the server",
            project.document
        );
    }
    for (command, shown) in typed {
        let mut shell = Command::new("sh");
        let ours = command.replace(SHOWN, &project.address.to_string());
        // Without the progress meter.
        let ours = ours.replacen("curl ", "curl --silent --show-error ", 1);
        shell.args(["-c", &ours]);
        let came = process::output(shell, "", LIMIT)?;
        if !is_like(came.trim_end(), shown) {
            bail!(
                "`{command}` prints\n{came}\nand {} shows\n{shown}",
                project.document
            );
        }
    }
    Ok(())
}

/// Returns the commands of a document that follow a `$`, and the line that each prints.
fn typed(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for fence in fences(text) {
        let mut lines = fence.text.lines();
        while let Some(line) = lines.next() {
            if let Some(command) = line.strip_prefix("$ ") {
                found.push((command, lines.next().unwrap_or_default()));
            }
        }
    }
    found
}

/// Returns whether a line matches the one in a document, where `…` stands for a part that varies.
fn is_like(line: &str, shown: &str) -> bool {
    match shown.split_once('…') {
        None => line == shown,
        Some((start, end)) => {
            let inner = line
                .strip_prefix(start)
                .and_then(|rest| rest.strip_suffix(end));
            inner.is_some_and(|inner| !inner.is_empty() && !inner.contains('"'))
        }
    }
}

/// Fetches a page of the app itself.
pub(super) fn page(server: &Running, path: &str) -> Result<String> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--include"])
        .arg(format!("{}{path}", server.url()));
    process::output(curl, "", LIMIT)
}

/// Runs a client on each transport and one that upgrades. Each must get all of its messages back.
pub(super) fn echo(workspace: &Workspace, server: &Running) -> Result<()> {
    for transports in ["polling", "websocket", "polling,websocket"] {
        let mut client = example(workspace, "client");
        client
            .arg("--url")
            .arg(format!("{}/engine.io/", server.url()))
            .args(["--count", MESSAGES, "--transports", transports]);
        let printed = process::output(client, "", LIMIT)?;
        let last = transports.rsplit(',').next().unwrap_or_default();
        if printed.trim() != format!("ok: {MESSAGES} echoed over {last}") {
            bail!("a client with {transports}: {printed}");
        }
    }
    Ok(())
}

/// Runs clients that send `hello` and expect `reply`.
pub(super) fn reply(workspace: &Workspace, server: &Running) -> Result<()> {
    for transports in ["polling", "websocket", "polling,websocket"] {
        let mut client = example(workspace, "eio");
        client.args(["--quiet", "--transports", transports, server.url()]);
        let printed = process::output(client, "hello\n", LIMIT)?;
        if printed != "reply\n" {
            bail!("a client with {transports} got {printed:?} instead of a reply");
        }
    }
    Ok(())
}

fn example(workspace: &Workspace, name: &str) -> Command {
    Build::Debug.program(workspace, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_like_the_one_that_is_shown() {
        assert!(is_like("0{\"sid\":\"abc\"}", "0{\"sid\":\"…\"}"));
        assert!(!is_like("0{\"sid\":\"\"}", "0{\"sid\":\"…\"}"));
        assert!(!is_like("0{\"sid\":\"a\",\"b\":\"c\"}", "0{\"sid\":\"…\"}"));
        assert!(!is_like("0{\"sid\":\"abc\"}", "0{\"id\":\"…\"}"));
    }

    #[test]
    fn commands_are_those_behind_a_dollar() {
        let text = "```text\n$ curl x\n0{…}\n```\n\n$ not in a block\n";
        assert_eq!(typed(text), [("curl x", "0{…}")]);
    }
}
