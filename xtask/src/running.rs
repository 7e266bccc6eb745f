//! A program that runs in the background: a server under test, a proxy, or a client of the trial.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process;
use crate::workspace::Workspace;

const START_LIMIT: Duration = Duration::from_secs(10);

/// How long a clean stop may take.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// The time limit for output that a test waits for.
const OUTPUT_LIMIT: Duration = Duration::from_secs(30);

const POLL_EVERY: Duration = Duration::from_millis(20);

/// How many lines of the log are shown after a failure. The log file has all of them.
const LOG_LINES: usize = 30;

/// The text that a server prints before its address once it accepts connections.
const READY: &str = "listening on ";

/// Ports below the ephemeral range, so that the system does not assign one of them to somebody else.
const FIRST_PORT: u16 = 10_000;
const PORTS_OF_A_RUN: u16 = 20;

/// A running program. It is stopped when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    name: String,
    child: Child,
    url: String,
    log: PathBuf,
}

impl Running {
    /// Starts `command`, with its output in a log file.
    pub(crate) fn start(workspace: &Workspace, name: &str, mut command: Command) -> Result<Self> {
        let logs = workspace.target.join("peers/logs");
        fs::create_dir_all(&logs)?;
        let log = logs.join(format!("{name}.log"));
        let output = File::create(&log)?;
        let child = command
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot run `{name}`"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            url: String::new(),
            log,
        })
    }

    /// Starts a server and waits until it prints its address.
    pub(crate) fn server(workspace: &Workspace, name: &str, command: Command) -> Result<Self> {
        let mut running = Self::start(workspace, name, command)?;
        let url = running.wait(START_LIMIT, &format!("print `{READY}…`"), |running| {
            let printed = running.printed();
            let lines = printed.split_inclusive('\n');
            let mut lines = lines.filter_map(|line| line.strip_prefix(READY)?.strip_suffix('\n'));
            lines.next().map(|url| url.trim().to_owned())
        })?;
        running.url = url;
        Ok(running)
    }

    /// Starts a server at a fixed address and waits until it accepts connections.
    pub(crate) fn server_at(
        workspace: &Workspace,
        name: &str,
        command: Command,
        address: SocketAddr,
    ) -> Result<Self> {
        let mut running = Self::start(workspace, name, command)?;
        running.url = format!("http://{address}");
        running.wait(START_LIMIT, "accept connections", |_| {
            TcpStream::connect(address).ok()
        })?;
        Ok(running)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The file with its output.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the output so far.
    pub(crate) fn printed(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Waits until the output contains `text`.
    pub(crate) fn wait_for(&mut self, text: &str) -> Result<()> {
        self.wait(OUTPUT_LIMIT, &format!("print {text:?}"), |running| {
            running.printed().contains(text).then_some(())
        })
    }

    /// Waits until it exits on its own, which must be with status 0.
    pub(crate) fn wait_for_exit(mut self) -> Result<()> {
        match process::wait(&mut self.child, OUTPUT_LIMIT)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.blame(&format!("exited with {status}"))),
            None => Err(self.blame("still runs")),
        }
    }

    /// Sends it SIGTERM.
    pub(crate) fn terminate(&self) -> Result<()> {
        process::terminate(&self.child)
    }

    /// Stops it with SIGTERM. It must exit with status 0, and must not have panicked.
    pub(crate) fn stop(self) -> Result<()> {
        self.stop_if(|status| status.success())
    }

    /// Stops it with SIGTERM. Its exit status must pass the check, and it must not have panicked.
    pub(crate) fn stop_if(mut self, is_clean: impl FnOnce(ExitStatus) -> bool) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            return Err(self.blame(&format!("exited on its own ({status})")));
        }
        process::terminate(&self.child)?;
        match process::wait(&mut self.child, STOP_LIMIT)? {
            None => Err(self.blame("still runs after SIGTERM")),
            Some(status) if !is_clean(status) => {
                Err(self.blame(&format!("exited with {status} after SIGTERM")))
            }
            // A panic in a task does not end the process, and the clients may not have noticed it.
            Some(_) if self.printed().contains("panicked at") => Err(self.blame("panicked")),
            Some(_) => Ok(()),
        }
    }

    /// Shows the last lines of the log, which may explain a failure.
    pub(crate) fn show_log(&self) {
        let text = self.printed();
        let lines: Vec<&str> = text.lines().collect();
        eprintln!("-- last output of `{}`:", self.name);
        for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
            eprintln!("   {line}");
        }
    }

    fn wait<T>(
        &mut self,
        limit: Duration,
        event: &str,
        look: impl Fn(&Self) -> Option<T>,
    ) -> Result<T> {
        let end = Instant::now() + limit;
        loop {
            // Before looking, so that the last output of a program is not missed.
            let exited = self.child.try_wait()?;
            if let Some(found) = look(self) {
                return Ok(found);
            }
            if let Some(status) = exited {
                return Err(self.blame(&format!("exited with {status} and did not {event}")));
            }
            if Instant::now() >= end {
                return Err(self.blame(&format!("did not {event} within {} s", limit.as_secs())));
            }
            thread::sleep(POLL_EVERY);
        }
    }

    fn blame(&self, fault: &str) -> anyhow::Error {
        self.show_log();
        anyhow::anyhow!("`{}` {fault}", self.name)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After a wait the process id may belong to another program.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // SIGTERM first, because a killed nginx leaves its workers behind.
        let _ = process::terminate(&self.child);
        if !matches!(process::wait(&mut self.child, STOP_LIMIT), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Combines the result of a suite with those of its servers, each of which must stop cleanly.
pub(crate) fn stop_all(
    suite: Result<()>,
    servers: impl IntoIterator<Item = Running>,
) -> Result<()> {
    let mut result = suite;
    for server in servers {
        match result {
            Ok(()) => result = server.stop(),
            // The first failure is the one to report.
            Err(_) => server.show_log(),
        }
    }
    result
}

/// Returns a free address, for a server that is started immediately.
pub(crate) fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}

/// Returns a free port outside the ephemeral range, for a program that has yet to be built.
pub(crate) fn lasting_port() -> Result<u16> {
    // Another run on this machine starts at another port.
    let run = u16::try_from(std::process::id() % 1_000)?;
    let mut ports = (0..PORTS_OF_A_RUN).map(|n| FIRST_PORT + run * PORTS_OF_A_RUN + n);
    let free = ports.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    match free {
        Some(port) => Ok(port),
        None => bail!("{PORTS_OF_A_RUN} ports in a row are taken"),
    }
}
