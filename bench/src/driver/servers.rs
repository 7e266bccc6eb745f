//! The programs that are measured: how each is started, and stopped. A client is one too, against our server.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
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
    /// A package of its own, because no other program needs its dependencies.
    Rust,
}

/// A server that can be measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// The name by which our program knows it.
    program: &'static str,
    origin: Origin,
    /// Part of the quick table.
    pub(super) quick: bool,
    /// A limit serves one of the two transports only.
    limit: Option<&'static str>,
    /// The threads of the server. One that has several is not bound to a processor.
    threads: usize,
    /// It is a client, which is measured against our server.
    is_client: bool,
}

impl Server {
    const fn own(name: &'static str, what: &'static str, quick: bool) -> Self {
        Self {
            name,
            what,
            program: name,
            origin: Origin::Own,
            quick,
            limit: None,
            threads: 1,
            is_client: false,
        }
    }

    /// One of our own servers on two threads.
    const fn on_two_threads(self, name: &'static str, what: &'static str) -> Self {
        Self {
            program: self.name,
            name,
            what,
            threads: 2,
            quick: false,
            ..self
        }
    }

    const fn client(name: &'static str, what: &'static str) -> Self {
        Self {
            is_client: true,
            ..Self::own(name, what, false)
        }
    }

    /// The program, which takes the options of the mode.
    pub(super) fn command(&self, peers: &mut Peers) -> Result<Command> {
        let (program, arguments): (PathBuf, Vec<OsString>) = match self.origin {
            Origin::Own => {
                let role = if self.is_client { "client" } else { "serve" };
                let mut arguments = vec![role.into(), self.program.into()];
                if self.threads > 1 {
                    arguments.extend(["--threads".into(), self.threads.to_string().into()]);
                }
                (std::env::current_exe()?, arguments)
            }
            Origin::Node => {
                let script = if self.is_client {
                    "client.js"
                } else {
                    "server.js"
                };
                ("node".into(), vec![peers.node()?.join(script).into()])
            }
            Origin::Python => {
                let (interpreter, script) = peers.python()?;
                (interpreter, vec![script.into()])
            }
            Origin::Rust => (peers.rust_engineio()?, Vec::new()),
        };
        let mut command = Command::new(program);
        command.args(arguments);
        Ok(command)
    }

    /// Returns whether the server can do this.
    pub(super) fn serves(&self, mode: &Mode) -> bool {
        if self.is_client != mode.of_clients {
            return false;
        }
        // Opening many of its polling clients does not come to an end within the time limit; echoes of some do.
        if self.name == "client-rust-engineio" && mode.is_polling() {
            return mode.load.ends_with("-echo");
        }
        if mode.load == "ws-relay" {
            return self.program == OURS;
        }
        // The handlers are another way to the same messages.
        if self.name == "client-handler" {
            return mode.load.ends_with("-echo");
        }
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

const ENGINEIOXIDE: Server = Server::own(BASELINE, "engineioxide 0.17.9 on hyper", true);
const OURS_ON_HYPER: Server = Server::own(OURS, "ours on hyper, plain handler", true);

/// Every server, in the order of the tables.
pub(super) const SERVERS: &[Server] = &[
    ENGINEIOXIDE,
    ENGINEIOXIDE.on_two_threads(
        "engineioxide-2",
        "engineioxide 0.17.9 on hyper, two threads",
    ),
    OURS_ON_HYPER,
    OURS_ON_HYPER.on_two_threads("ours-2", "ours on hyper, plain handler, two threads"),
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
    Server::client("client", "ours, read as a stream"),
    Server::client("client-handler", "ours, with a message handler"),
    Server {
        limit: Some("websocket"),
        ..Server::client("client-tungstenite", "tokio-tungstenite alone")
    },
    Server {
        limit: Some("websocket"),
        ..Server::client(
            "client-gathering",
            "the same, with gathered writes and a small read buffer",
        )
    },
    Server {
        limit: Some("polling"),
        ..Server::client("client-hyper", "hyper alone, two kept connections")
    },
    Server {
        origin: Origin::Rust,
        ..Server::client("client-rust-engineio", "rust_engineio 0.6.0, async")
    },
    Server {
        origin: Origin::Node,
        ..Server::client("client-node", "engine.io-client 6.6.8 (npm)")
    },
];

/// The server that clients are measured against.
pub(super) const OURS: &str = "ours";

/// A server that runs; ended when dropped.
pub(super) struct Running {
    child: Child,
    pub(super) addr: SocketAddr,
}

impl Running {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Starts a server, on the first processor if it has one thread.
    pub(super) fn start(server: &Server, mode: &Mode, peers: &mut Peers) -> Result<Self> {
        let mut command = server.command(peers)?;
        command
            .args(mode.server_options())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let child = match server.threads {
            1 => cpus::spawn_on(cpus::SERVER, &mut command),
            _ => command.spawn(),
        };
        let mut child = child.with_context(|| format!("cannot start {}", server.name))?;
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
