//! Runs other programs to their end, within a time limit.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The time limit of one cargo command. No build takes this long on a slow machine with an empty cache; one that does hangs.
pub(crate) const BUILD_LIMIT: Duration = Duration::from_secs(20 * 60);

/// The time limit of one suite of tests, about ten times what a suite takes.
pub(crate) const SUITE_LIMIT: Duration = Duration::from_secs(300);

/// How often a running program is polled: the standard library cannot wait with a time limit.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// Which processes are killed when the time limit has passed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reach {
    /// The program alone. It stays in the process group of this task, so that Ctrl-C ends both.
    Program,
    /// The program and everything it started, because test runners and browsers leave children behind.
    Group,
}

/// Runs `command` and shows its output. An exit status other than 0 is an error.
pub(crate) fn run(command: &mut Command, reach: Reach, limit: Duration) -> Result<()> {
    let name = describe(command);
    if let Reach::Group = reach {
        command.process_group(0);
    }
    let mut child = command
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run `{name}`"))?;
    match wait(&mut child, limit)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("`{name}` failed ({status})"),
        None => {
            match reach {
                Reach::Program => child.kill()?,
                Reach::Group => signal("KILL", &format!("-{}", child.id()))?,
            }
            child.wait()?;
            bail!("`{name}` still ran after {} s", limit.as_secs());
        }
    }
}

/// Runs `command` with `input` on its standard input and returns its standard output. The standard error is shown.
pub(crate) fn output(mut command: Command, input: &str, limit: Duration) -> Result<String> {
    let name = describe(&command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{name}`"))?;
    let mut stdin = child.stdin.take().context("no input")?;
    let mut stdout = child.stdout.take().context("no output")?;
    // Read concurrently, since a full pipe would block the program.
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).map(|_| bytes)
    });
    // A program may ignore its input.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let Some(status) = wait(&mut child, limit)? else {
        child.kill()?;
        child.wait()?;
        bail!("`{name}` still ran after {} s", limit.as_secs());
    };
    let bytes = match reader.join() {
        Ok(bytes) => bytes?,
        Err(_) => bail!("the output of `{name}` was not read"),
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if !status.success() {
        bail!("`{name}` failed ({status}):\n{text}");
    }
    Ok(text)
}

/// Waits for the exit status. Returns `None` if the program still runs after `limit`.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        thread::sleep(POLL_EVERY);
    }
}

/// Sends SIGTERM, as a service manager does. (The standard library can only kill.)
pub(crate) fn terminate(child: &Child) -> Result<()> {
    signal("TERM", &child.id().to_string())
}

fn signal(name: &str, target: &str) -> Result<()> {
    let status = Command::new("kill")
        .args([&format!("-{name}"), "--", target])
        .status()
        .context("cannot run kill")?;
    if !status.success() {
        bail!("kill -{name} -- {target} failed ({status})");
    }
    Ok(())
}

/// Returns the first line that a program prints, or `None` if it cannot be run or fails.
pub(crate) fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next().unwrap_or_default().trim().to_owned();
    output.status.success().then_some(line)
}

/// Formats a command as it would be typed.
fn describe(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy()];
    words.extend(
        command
            .get_args()
            .map(|argument| argument.to_string_lossy()),
    );
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_end_is_killed_with_its_children() {
        let began = Instant::now();
        let error = run(
            Command::new("sh").args(["-c", "sleep 60 & wait"]),
            Reach::Group,
            Duration::from_millis(50),
        )
        .unwrap_err();
        assert!(error.to_string().contains("still ran"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_failure_names_the_command() {
        let error = run(
            &mut Command::new("false"),
            Reach::Program,
            Duration::from_secs(30),
        )
        .unwrap_err();
        assert!(error.to_string().contains("`false` failed"), "{error}");
    }
}
