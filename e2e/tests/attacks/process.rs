//! A host in a process of its own.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use engineio_e2e::within;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// It ends when this is dropped.
pub(crate) struct Process {
    pub(crate) address: SocketAddr,
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts a host with this heartbeat, for both the interval and the timeout.
    pub(crate) async fn start(host: &str, beat: Duration) -> Self {
        Self::run("exec \"$0\" \"$@\"", host, beat).await
    }

    /// Does the same with message handlers that run concurrently.
    pub(crate) async fn start_concurrent(host: &str, beat: Duration) -> Self {
        Self::run("exec \"$0\" \"$@\" concurrent", host, beat).await
    }

    /// Does the same with a limit of `descriptors`.
    pub(crate) async fn start_narrow(host: &str, beat: Duration, descriptors: usize) -> Self {
        let script = format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"");
        Self::run(&script, host, beat).await
    }

    async fn run(script: &str, host: &str, beat: Duration) -> Self {
        let beat = beat.as_millis().to_string();
        let mut child = Command::new("sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_attacked")])
            .args([host, &beat, &beat])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = within("the address", output.next_line()).await.unwrap();
        Self {
            address: address.unwrap().parse().unwrap(),
            input: child.stdin.take().unwrap(),
            child,
            output,
        }
    }

    /// Returns the number of connected clients.
    pub(crate) async fn clients(&mut self) -> usize {
        self.input.write_all(b"\n").await.unwrap();
        let count = within("the count", self.output.next_line()).await;
        count.unwrap().unwrap().parse().unwrap()
    }

    /// Waits until at most this many clients are connected.
    pub(crate) async fn has_clients(&mut self, count: usize) {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        let down = async {
            while self.clients().await > count {
                look.tick().await;
            }
        };
        within("the end of the sessions", down).await;
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id().unwrap())
    }

    /// Its memory that is resident, in KiB.
    pub(crate) fn resident_kib(&self) -> usize {
        self.status_kib("VmRSS:")
    }

    /// Returns its peak memory in KiB.
    pub(crate) fn peak_kib(&self) -> usize {
        self.status_kib("VmHWM:")
    }

    fn status_kib(&self, line_name: &str) -> usize {
        let status = std::fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find(|line| line.starts_with(line_name));
        let mut words = line.unwrap().split_whitespace();
        words.nth(1).unwrap().parse().unwrap()
    }

    /// Returns the number of open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(self.proc("fd")).unwrap().count()
    }

    /// Waits until at most this many descriptors are open.
    pub(crate) async fn has_descriptors(&self, count: usize) {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        let down = async {
            while self.descriptors() > count {
                look.tick().await;
            }
        };
        within("the end of the connections", down).await;
    }
}
