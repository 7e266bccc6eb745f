//! The programs that are measured: how each is started, and stopped.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::cpus;
use super::modes::Mode;
use super::peers::Peers;

/// The time limit for a server to start listening.
const START: Duration = Duration::from_secs(20);

/// The origin of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// This program, as another process.
    Own,
    Node,
    Python,
}

/// A server that can be measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    origin: Origin,
    /// Part of the quick table.
    pub(super) quick: bool,
    /// A limit serves one of the two transports only.
    limit: Option<&'static str>,
}

impl Server {
    const fn own(name: &'static str, what: &'static str, quick: bool) -> Self {
        Self {
            name,
            what,
            origin: Origin::Own,
            quick,
            limit: None,
        }
    }

    /// Returns whether the server can do this.
    pub(super) fn serves(&self, mode: &Mode) -> bool {
        match self.limit {
            Some("websocket") => {
                !mode.is_polling() && mode.load != "ws-upgrade" && mode.load != "ping"
            }
            Some(_) => mode.is_polling() && mode.load != "poll-session",
            None => true,
        }
    }
}

/// The server that every ratio is made with.
pub(super) const BASELINE: &str = "engineioxide";

/// Every server, in the order of the tables.
pub(super) const SERVERS: &[Server] = &[
    Server::own(BASELINE, "engineioxide 0.17.9 on hyper", true),
    Server::own("ours", "ours on hyper, plain handler", true),
    Server::own("ours-async", "ours on hyper, async handler", false),
    Server::own("axum", "ours in axum, plain handler", false),
    Server::own("axum-async", "ours in axum, async handler", false),
    Server::own("actix", "ours in actix-web, plain handler", false),
    Server::own("warp", "ours before warp, plain handler", false),
    Server {
        limit: Some("websocket"),
        ..Server::own("tungstenite", "limit: tokio-tungstenite alone", true)
    },
    Server {
        limit: Some("polling"),
        ..Server::own("hyper", "limit: hyper alone", true)
    },
    Server {
        origin: Origin::Node,
        ..Server::own("node", "engine.io 6.6.11 (npm) with ws", false)
    },
    Server {
        origin: Origin::Python,
        ..Server::own("python", "python-engineio 4.15.1 under uvicorn", false)
    },
];

/// A server that runs; ended when dropped.
pub(super) struct Running {
    child: Child,
    pub(super) addr: SocketAddr,
}

impl Running {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Starts a server on the first processor.
    pub(super) fn start(server: &Server, mode: &Mode, peers: &mut Peers) -> Result<Self> {
        let mut command = match server.origin {
            Origin::Own => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["serve", server.name]);
                command
            }
            Origin::Node => {
                let mut command = Command::new("node");
                command.arg(peers.node()?);
                command
            }
            Origin::Python => {
                let (interpreter, script) = peers.python()?;
                let mut command = Command::new(interpreter);
                command.arg(script);
                command
            }
        };
        command
            .args(mode.server_options())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = cpus::spawn_on(cpus::SERVER, &mut command)
            .with_context(|| format!("cannot start {}", server.name))?;
        let out = child.stdout.take().context("no output")?;
        let (sender, first) = mpsc::channel();
        std::thread::spawn(move || {
            // Goes on reading, so that a server that talks is never blocked by it.
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let line = first.recv_timeout(START);
        let running = |addr| Self { child, addr };
        match line.ok().and_then(|line| line.trim().parse().ok()) {
            Some(addr) => Ok(running(addr)),
            None => {
                // Ends the child on the way out.
                drop(running(([127, 0, 0, 1], 0).into()));
                bail!("{} does not say where it listens", server.name)
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
