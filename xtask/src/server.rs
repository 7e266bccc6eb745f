//! Runs a server under test as a process: one of the example programs, or a foreign server.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process;

const START_LIMIT: Duration = Duration::from_secs(10);

/// How long a clean stop may take.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// How many lines of the log are shown after a failure. The log file has all of them.
const LOG_LINES: usize = 30;

/// The text that a program prints before its address once it accepts connections.
const READY: &str = "listening on ";

/// A running server. It is killed when dropped, unless it was stopped.
#[derive(Debug)]
pub(crate) struct Server {
    name: String,
    child: Child,
    url: String,
    log: PathBuf,
}

impl Server {
    /// Starts `program` on a free port and waits until it says where it listens.
    pub(crate) fn start(
        name: &str,
        program: &Path,
        arguments: &[&str],
        logs: &Path,
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments);
        Self::start_command(name, command, logs)
    }

    /// Does the same as `start` for a command with arguments of its own, such as an interpreter and a script.
    pub(crate) fn start_command(name: &str, mut command: Command, logs: &Path) -> Result<Self> {
        command.args(["--listen", "127.0.0.1:0"]);
        Self::start_ready(name, command, logs)
    }

    /// Does the same as `start` for a single-file example, which takes its address as the only argument.
    pub(crate) fn start_example(program: &Path, logs: &Path) -> Result<Self> {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let mut command = Command::new(program);
        command.arg("127.0.0.1:0");
        Self::start_ready(&name, command, logs)
    }

    fn start_ready(name: &str, mut command: Command, logs: &Path) -> Result<Self> {
        fs::create_dir_all(logs)?;
        let log = logs.join(format!("{name}.log"));
        let file = File::create(&log)?;
        let mut child = command
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file.try_clone()?)
            .spawn()
            .with_context(|| format!("cannot run server `{name}`"))?;
        let stdout = child.stdout.take().context("the server has no stdout")?;
        // Constructed before waiting, so that a server that never becomes ready is killed when this returns.
        let mut server = Self {
            name: name.to_owned(),
            child,
            url: String::new(),
            log,
        };
        server.url = wait_until_ready(stdout, file).map_err(|error| server.blame(error))?;
        Ok(server)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The file that collects its output.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Stops the server with SIGTERM. It must exit with status 0 within the limit, and must not have panicked.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.try_stop().map_err(|error| self.blame(error))
    }

    fn try_stop(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("it exited on its own ({status})");
        }
        process::terminate(&self.child)?;
        match process::wait(&mut self.child, STOP_LIMIT)? {
            None => bail!("it still ran {} s after SIGTERM", STOP_LIMIT.as_secs()),
            Some(status) if !status.success() => bail!("after SIGTERM it exited with {status}"),
            Some(_) => {}
        }
        // A panic in a task does not end the process, and the clients may not have noticed it.
        if fs::read_to_string(&self.log)?.contains("panicked at") {
            bail!("it panicked");
        }
        Ok(())
    }

    /// Shows the last lines of the log, which may explain a failure.
    pub(crate) fn show_log(&self) {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
        eprintln!("-- last output of server `{}`:", self.name);
        for line in last {
            eprintln!("   {line}");
        }
    }

    fn blame(&self, error: anyhow::Error) -> anyhow::Error {
        self.show_log();
        error.context(format!("server `{}`", self.name))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail if it has already exited, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the address from the line that announces it. All other output goes to the log until the pipe closes, because a
/// full pipe would block the server.
fn wait_until_ready(stdout: ChildStdout, mut log: File) -> Result<String> {
    let (found, address) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(url) = line.strip_prefix(READY) {
                let _ = found.send(url.trim().to_owned());
            }
            let _ = writeln!(log, "{line}");
        }
    });
    match address.recv_timeout(START_LIMIT) {
        Ok(url) => Ok(url),
        Err(RecvTimeoutError::Disconnected) => bail!("it exited before it was ready"),
        Err(RecvTimeoutError::Timeout) => {
            bail!(
                "it did not print `{READY}…` within {} s",
                START_LIMIT.as_secs()
            )
        }
    }
}

/// Combines the result of a suite with those of its servers, each of which must stop cleanly.
pub(crate) fn stop_all(suite: Result<()>, servers: impl IntoIterator<Item = Server>) -> Result<()> {
    let mut result = suite;
    for server in servers {
        match result {
            Ok(()) => result = server.stop(),
            // The first failure is the one to report. The server is killed when it is dropped.
            Err(_) => server.show_log(),
        }
    }
    result
}
