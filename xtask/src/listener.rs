//! Runs a server whose address is fixed in advance instead of printed: a proxy, or a program from a guide.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process;

const START_LIMIT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Ports below the ephemeral range, so that the system does not assign one of them to somebody else.
const FIRST_PORT: u16 = 10_000;
const PORTS_OF_A_RUN: u16 = 20;

/// A running server. It is killed when dropped, unless it was stopped.
#[derive(Debug)]
pub(crate) struct Listener {
    name: String,
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Listener {
    /// Starts `command` and waits until it accepts connections at `address`.
    pub(crate) fn start(
        name: &str,
        mut command: Command,
        address: SocketAddr,
        logs: &Path,
    ) -> Result<Self> {
        fs::create_dir_all(logs)?;
        let log = logs.join(format!("{name}.log"));
        let output = File::create(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot run `{name}`"))?;
        let name = name.to_owned();
        let mut listener = Self {
            name,
            child,
            address,
            log,
        };
        listener.wait_until_ready()?;
        Ok(listener)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let end = Instant::now() + START_LIMIT;
        while TcpStream::connect(self.address).is_err() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() >= end {
                self.show_log();
                bail!("`{}` did not become ready ({ended:?})", self.name);
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Stops the server with SIGTERM and returns its exit status.
    pub(crate) fn stop(mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            self.show_log();
            bail!("`{}` exited on its own ({status})", self.name);
        }
        process::terminate(&self.child)?;
        match process::wait(&mut self.child, START_LIMIT)? {
            Some(status) => Ok(status),
            None => bail!(
                "`{}` still ran {} s after SIGTERM",
                self.name,
                START_LIMIT.as_secs()
            ),
        }
    }

    /// Returns the output so far.
    pub(crate) fn printed(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    pub(crate) fn show_log(&self) {
        let text = self.printed();
        let lines: Vec<&str> = text.lines().collect();
        for line in &lines[lines.len().saturating_sub(20)..] {
            eprintln!("   {}: {line}", self.name);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // After a wait the process id may belong to another program.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // SIGTERM first, because a killed nginx leaves its workers behind.
        let _ = process::terminate(&self.child);
        if !matches!(process::wait(&mut self.child, START_LIMIT), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
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
    free.with_context(|| format!("{PORTS_OF_A_RUN} ports in a row are taken"))
}
