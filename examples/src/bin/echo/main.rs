//! An echo server for tests, benchmarks and authors of clients.
//!
//! ```text
//! cargo run --release -p engineio-examples --bin echo -- --host axum --listen 127.0.0.1:3000
//! ```
//!
//! Every message comes back unchanged. Six texts are commands: `bcast:…` goes to all clients instead, including the
//! sender; `kick:SID` disconnects a client and is answered with `kicked SID true` or `false`; `close-me` disconnects
//! the sender; `whoami` is answered with the session id; `empty-binary` is answered with an empty binary message;
//! `watch` is answered with `watching N`, the number of clients, and from then on the sender gets `gone SID REASON` for
//! each client that leaves. A handshake with `reject=1` in its query is refused with 401.
//!
//! With `--webtransport` it listens for WebTransport too, with a self-signed certificate whose hash it prints: pages
//! need the hash and the port in `transportOptions`.
//!
//! With `--node` and the options that go with it, the server is a node of a cluster, and `bcast:` and `kick:` reach
//! every client of the cluster. Two nodes without a broker:
//!
//! ```text
//! target/release/echo --listen 127.0.0.1:3000 --node a --node-listen 127.0.0.1:7000 --peers b=127.0.0.1:7001
//! target/release/echo --listen 127.0.0.1:3001 --node b --node-listen 127.0.0.1:7001 --peers a=127.0.0.1:7000
//! ```

mod hosts;
mod kick;
mod options;
mod watch;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use engineio_axum::{ConnectRequest, DisconnectReason, Message, Rejection, Server, Sid, Socket};
use engineio_cluster::Cluster;
use engineio_examples::node;
use engineio_webtransport::{Identity, WebTransport};
use options::Options;
use watch::Watchers;

fn main() -> std::process::ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    if std::env::args().any(|argument| matches!(argument.as_str(), "-h" | "--help")) {
        println!("{}\n{}", options::HELP, node::HELP);
        return std::process::ExitCode::SUCCESS;
    }
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("echo: {error}\n`echo --help` lists the options");
            return std::process::ExitCode::from(2);
        }
    };
    match hosts::run(&options) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// A server, and the cluster if it is a node of one.
pub(crate) struct Echo {
    pub(crate) server: Server,
    cluster: Option<Cluster>,
    drain_spread: Duration,
}

impl Echo {
    pub(crate) async fn start(options: &Options) -> std::io::Result<Self> {
        let cluster = Arc::new(OnceLock::new());
        let server = server(options, Arc::clone(&cluster));
        let node = options.node.start(&server).await?;
        if let Some(address) = options.webtransport {
            listen_for_webtransport(address, &server).await?;
        }
        if let Some(node) = &node {
            // Set only here.
            let _ = cluster.set(node.clone());
        }
        Ok(Self {
            server,
            cluster: node,
            drain_spread: options.node.drain_spread(),
        })
    }

    /// Disconnects all clients and ends the server.
    pub(crate) async fn leave(&self, grace: Duration) {
        let cluster = self.cluster.as_ref();
        node::leave(&self.server, cluster, self.drain_spread, grace).await;
    }
}

/// Serves WebTransport beside the host, until the server ends.
async fn listen_for_webtransport(address: SocketAddr, server: &Server) -> std::io::Result<()> {
    let identity =
        Identity::self_signed(["localhost", "127.0.0.1"]).map_err(std::io::Error::other)?;
    let hash = identity.sha256().map(|byte| format!("{byte:02x}")).concat();
    let udp = WebTransport::bind(address, identity).await?;
    println!("webtransport on {}, certificate {hash}", udp.local_addr()?);
    tokio::spawn(udp.serve(server));
    Ok(())
}

fn server(options: &Options, cluster: Arc<OnceLock<Cluster>>) -> Server {
    let watchers = Watchers::default();
    let told = watchers.clone();
    let mut builder = options.apply(Server::builder());
    if let Some(name) = options.name.clone() {
        builder = builder.generate_sid(move |_| {
            let sid = named(&name);
            async move { sid }
        });
    }
    builder
        .on_connect(|_: Socket, request: ConnectRequest| {
            if request.query("reject").as_deref() == Some("1") {
                return Err(Rejection::unauthorized().json("rejected"));
            }
            Ok(())
        })
        .on_message(move |socket: Socket, message: Message| {
            let (watchers, cluster) = (watchers.clone(), Arc::clone(&cluster));
            async move {
                match message.as_bytes() {
                    _ if message.is_binary() => {}
                    b"close-me" => return socket.close(),
                    b"whoami" => {
                        let _ = socket.send(socket.sid().as_str()).await;
                        return;
                    }
                    b"empty-binary" => {
                        let _ = socket.send(Vec::new()).await;
                        return;
                    }
                    b"watch" => return watchers.add(socket).await,
                    text if text.starts_with(b"bcast:") => {
                        return node::broadcast(&socket.server(), cluster.get(), message).await;
                    }
                    text if text.starts_with(b"kick:") => {
                        let sid = std::str::from_utf8(&text[5..]).unwrap_or_default();
                        let answer = kick::kick(&socket, cluster.get(), sid).await;
                        let _ = socket.send(answer).await;
                        return;
                    }
                    _ => {}
                }
                // Waits while the client is slow; fails only when it is gone.
                let _ = socket.send(message).await;
            }
        })
        .on_disconnect(move |socket: Socket, reason: DisconnectReason| told.tell(&socket, reason))
        .build()
}

/// An id that begins with the name of this server, by which a load balancer finds it again. Behind the dot, which is in
/// no random id, it is as hard to guess as any.
fn named(name: &str) -> Sid {
    let mut random = [0; 15];
    // A system without randomness can open no sessions.
    getrandom::fill(&mut random).expect("the system's random source");
    let id = format!("{name}.{}", Sid::from_random(random).as_str());
    id.parse().expect("options take only names that fit")
}
