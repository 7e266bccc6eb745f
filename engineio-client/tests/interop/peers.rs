//! The servers, the programs, and what all tests need.

use std::future::Future;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use engineio_client::{Client, ClientBuilder, Message, Transport};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A time limit that nothing here comes near, even on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// The three ways in which a session lives: the transports allowed, the last of which it ends up on.
pub(crate) const MODES: [&[Transport]; 3] = [
    &[Transport::Polling],
    &[Transport::WebSocket],
    &[Transport::Polling, Transport::WebSocket],
];

/// A server that is running, and how another one like it is started.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) url: String,
    words: Vec<String>,
}

/// The server of one test, which may stop it. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
}

/// All servers; finding none to test is no success.
pub(crate) fn peers() -> Vec<Peer> {
    let peers: Vec<Peer> = required("INTEROP_PEERS").lines().map(Peer::parse).collect();
    for name in ["npm", "python"] {
        assert!(
            peers.iter().any(|peer| peer.name == name),
            "no server {name} in INTEROP_PEERS"
        );
    }
    assert!(
        peers.iter().any(|peer| !peer.is_foreign()),
        "no server of our own in INTEROP_PEERS: {peers:?}"
    );
    peers
}

pub(crate) fn peer(name: &str) -> Peer {
    let found = peers().into_iter().find(|peer| peer.name == name);
    found.unwrap_or_else(|| panic!("no server {name} in INTEROP_PEERS"))
}

/// An example program as users build it.
pub(crate) fn program(name: &str) -> Command {
    let path = PathBuf::from(required("INTEROP_PROGRAMS")).join(name);
    let mut command = Command::new(path);
    // What a program prints to the error stream is a part of what is tested.
    command.env_remove("RUST_LOG").kill_on_drop(true);
    command
}

pub(crate) fn required(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run these tests with `cargo xtask interop --only client`")
    })
}

/// Fails the test that hangs, instead of hanging with it.
#[track_caller]
pub(crate) fn in_time<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let at = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(LONG, future).await {
            Ok(output) => output,
            Err(_) => panic!("nothing happened within {LONG:?} at {at}"),
        }
    }
}

impl Peer {
    pub(crate) fn parse(line: &str) -> Self {
        let mut fields = line.split('\t').map(str::to_owned);
        let (name, url) = (fields.next(), fields.next());
        let words: Vec<String> = fields.collect();
        match (name, url) {
            (Some(name), Some(url)) if !words.is_empty() => Self { name, url, words },
            _ => panic!("INTEROP_PEERS has a line without a name, a URL and a command: {line:?}"),
        }
    }

    /// Returns the name without the version or the kind of the server, such as `python` of `python-4.0`.
    pub(crate) fn family(&self) -> &str {
        self.name.split('-').next().unwrap_or_default()
    }

    /// Returns whether the server is not ours.
    pub(crate) fn is_foreign(&self) -> bool {
        ["npm", "python", "engineioxide"].contains(&self.family())
    }

    /// Returns whether the server refuses a WebSocket through ASGI, which knows a 403 without a body and no other answer.
    pub(crate) fn is_asgi(&self) -> bool {
        ["python", "python-4.0", "python-4.8"].contains(&self.name.as_str())
    }

    /// Returns whether the server accepts a WebSocket before the application can refuse the client, as gevent-websocket does.
    pub(crate) fn accepts_first(&self) -> bool {
        self.name.ends_with("gevent")
    }

    /// Returns whether the server always sends the queued messages and the close packet when it closes a session on these
    /// transports. engineioxide 0.17 forgets the session at once. python-engineio answers a poll that comes after the close
    /// with 400, so that everything depends on whether one is waiting.
    pub(crate) fn closes_in_order(&self, transports: &[Transport]) -> bool {
        match self.family() {
            "engineioxide" => false,
            "python" => transports.contains(&Transport::WebSocket),
            _ => true,
        }
    }

    /// Returns whether the server takes this message on these transports. python-engineio 4.0 and 4.8 take an empty binary
    /// frame for the end of the WebSocket.
    pub(crate) fn takes(&self, message: &Message, transports: &[Transport]) -> bool {
        let is_old = self.name.starts_with("python-4.");
        let is_empty = message.is_binary() && message.is_empty();
        !(is_old && is_empty && transports.contains(&Transport::WebSocket))
    }

    pub(crate) fn client(&self, transports: &[Transport]) -> ClientBuilder {
        Client::builder(&self.url)
            .transports(transports.iter().copied())
            // A server may be slow beside builds, and an upgrade that is given up is no failure of its session.
            .upgrade_timeout(LONG)
    }

    /// Starts another server like this one, on a free port unless the options name one.
    pub(crate) async fn start(&self, options: &[&str]) -> Server {
        let mut command = Command::new(&self.words[0]);
        if !options.contains(&"--listen") {
            command
                .args(&self.words[1..])
                .args(["--listen", "127.0.0.1:0"]);
        } else {
            command.args(&self.words[1..]);
        }
        let mut child = command
            .args(options)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // What a server says to its death is no part of the report.
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = in_time(lines.next_line()).await.unwrap();
        let url = ready
            .as_deref()
            .and_then(|line| line.strip_prefix("listening on "));
        let url = url.unwrap_or_else(|| panic!("{} said {ready:?}", self.name));
        Server {
            child,
            url: url.to_owned(),
        }
    }
}

impl Server {
    /// Sends a signal: to this process by its id, and to no other.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.child.id().expect("the server runs").to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status().await;
        assert!(status.unwrap().success(), "kill -s {name} {id}");
    }

    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    pub(crate) fn address(&self) -> &str {
        self.url.split("://").nth(1).unwrap()
    }
}
