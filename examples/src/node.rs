//! The options that make an example a node of a cluster, and what `echo` and `demo` do with it.

use std::io;
use std::time::Duration;

use engineio_axum::{Message, Server};
use engineio_cluster::{Cluster, Drain, Nats, Peers, Redis};

/// The options, a line each, for the help of a program.
pub const HELP: &str = "\
As a node of a cluster, with one of the first four options:
  --node NAME                  name of the node (default: a random one)
  --node-listen ADDR:PORT      address for the other nodes (default: a free port of 127.0.0.1)
  --peers NAME=ADDR:PORT,…     the other nodes, without a broker
  --bus URL                    the broker: nats://…, tls://…, redis:// or rediss://…
  --cluster-secret TEXT        secret that all nodes share; needed unless --node-listen is on loopback
  --drain-spread-ms N          time over which a node that leaves disconnects its clients (default: 0)";

/// The options that make a server a node.
#[derive(Debug, Default)]
pub struct NodeOptions {
    name: Option<String>,
    listen: Option<String>,
    secret: Option<String>,
    bus: Option<String>,
    peers: Option<Peers>,
    drain_spread: Duration,
}

impl NodeOptions {
    /// Returns whether the server is to be a node.
    #[must_use]
    pub const fn is_set(&self) -> bool {
        self.name.is_some() || self.listen.is_some() || self.peers.is_some() || self.bus.is_some()
    }

    /// Returns whether an option is one of these.
    #[must_use]
    pub fn knows(option: &str) -> bool {
        matches!(
            option,
            "--node"
                | "--node-listen"
                | "--cluster-secret"
                | "--bus"
                | "--peers"
                | "--drain-spread-ms"
        )
    }

    /// Sets one of them.
    ///
    /// # Errors
    ///
    /// Fails with the mistake in a list of peers.
    pub fn set(&mut self, option: &str, value: String) -> Result<(), String> {
        match option {
            "--node" => self.name = Some(value),
            "--node-listen" => self.listen = Some(value),
            "--cluster-secret" => self.secret = Some(value),
            "--bus" => self.bus = Some(value),
            "--peers" => {
                let pairs = value.split(',').map(|peer| peer.split_once('='));
                let pairs: Option<Vec<_>> = pairs.collect();
                let pairs =
                    pairs.ok_or_else(|| format!("--peers takes NAME=ADDR:PORT, not {value}"))?;
                let peers = Peers::fixed(pairs).map_err(|error| format!("--peers: {error}"))?;
                self.peers = Some(peers);
            }
            "--drain-spread-ms" => {
                let millis = value.parse();
                let millis = millis.map_err(|_| format!("invalid value {value} for {option}"))?;
                self.drain_spread = Duration::from_millis(millis);
            }
            _ => return Err(format!("unknown option {option}")),
        }
        Ok(())
    }

    /// Returns the time over which the node disconnects its clients when it leaves.
    #[must_use]
    pub const fn drain_spread(&self) -> Duration {
        self.drain_spread
    }

    /// Makes a server a node, if the options say so.
    ///
    /// # Errors
    ///
    /// Fails if the options contradict each other, the broker cannot be reached, or the node cannot start.
    pub async fn start(&self, server: &Server) -> io::Result<Option<Cluster>> {
        if !self.is_set() {
            if self.secret.is_none() {
                return Ok(None);
            }
            let message = "--cluster-secret needs one of --node, --node-listen, --peers and --bus";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let mut builder = Cluster::builder();
        if let Some(name) = &self.name {
            builder = builder.name(name);
        }
        if let Some(address) = &self.listen {
            builder = builder.listen(address);
        }
        if let Some(secret) = &self.secret {
            builder = builder.secret(secret);
        }
        if let Some(peers) = &self.peers {
            builder = builder.peers(peers.clone());
        }
        builder = match self.bus.as_deref() {
            Some(url) if url.starts_with("nats://") || url.starts_with("tls://") => {
                builder.bus(Nats::connect(url).await.map_err(io::Error::other)?)
            }
            Some(url) if url.starts_with("redis://") || url.starts_with("rediss://") => {
                builder.bus(Redis::connect(url).await.map_err(io::Error::other)?)
            }
            Some(url) => {
                let message =
                    format!("--bus takes nats://, tls://, redis:// or rediss://, not {url}");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
            None => builder,
        };
        let cluster = builder.start(server).await.map_err(io::Error::other)?;
        println!("node {} at {}", cluster.id(), cluster.local_addr());
        Ok(Some(cluster))
    }
}

/// Disconnects all clients and ends the server.
pub async fn leave(server: &Server, cluster: Option<&Cluster>, spread: Duration, grace: Duration) {
    match cluster {
        Some(cluster) => {
            let pace = Drain::new()
                .announce(Duration::ZERO)
                .spread(spread)
                .grace(grace);
            cluster.drain(pace).await;
        }
        None => server.shutdown(grace).await,
    }
}

/// Sends a message to all clients, of every node.
pub async fn broadcast(server: &Server, cluster: Option<&Cluster>, message: impl Into<Message>) {
    match cluster {
        Some(cluster) => {
            if let Err(error) = cluster.broadcast(message).await {
                eprintln!("{error}");
            }
        }
        None => {
            server.broadcast(message);
        }
    }
}
