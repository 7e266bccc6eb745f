//! The echo server as a node of a cluster.

use std::io;
use std::time::Duration;

use engineio_axum::{Server, Sid, Socket};
use engineio_cluster::{Cluster, Drain, Nats, Peers, Redis};

/// The options that make the server a node.
#[derive(Debug, Default)]
pub(crate) struct NodeOptions {
    pub(crate) name: Option<String>,
    pub(crate) listen: Option<String>,
    pub(crate) secret: Option<String>,
    pub(crate) bus: Option<String>,
    peers: Option<Peers>,
}

impl NodeOptions {
    pub(crate) const fn is_set(&self) -> bool {
        self.name.is_some() || self.listen.is_some() || self.peers.is_some() || self.bus.is_some()
    }

    pub(crate) fn set_peers(&mut self, list: &str) -> Result<(), String> {
        let pairs = list.split(',').map(|peer| peer.split_once('='));
        let pairs: Option<Vec<_>> = pairs.collect();
        let pairs = pairs.ok_or_else(|| format!("--peers takes NAME=ADDR:PORT, not {list}"))?;
        let peers = Peers::fixed(pairs).map_err(|error| format!("--peers: {error}"))?;
        self.peers = Some(peers);
        Ok(())
    }

    /// Makes a server a node, if the options say so.
    pub(crate) async fn start(&self, server: &Server) -> io::Result<Option<Cluster>> {
        if !self.is_set() {
            return Ok(None);
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
            Some(url) if url.starts_with("nats://") => {
                builder.bus(Nats::connect(url).await.map_err(io::Error::other)?)
            }
            Some(url) if url.starts_with("redis://") => {
                builder.bus(Redis::connect(url).await.map_err(io::Error::other)?)
            }
            Some(url) => {
                let message = format!("--bus takes nats:// or redis://, not {url}");
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
pub(crate) async fn leave(server: &Server, cluster: Option<&Cluster>, grace: Duration) {
    match cluster {
        Some(cluster) => {
            let at_once = Drain::new()
                .announce(Duration::ZERO)
                .spread(Duration::ZERO)
                .grace(grace);
            cluster.drain(at_once).await;
        }
        None => server.shutdown(grace).await,
    }
}

/// Sends a message to all clients, of every node.
pub(crate) async fn broadcast(
    socket: &Socket,
    cluster: Option<&Cluster>,
    message: engineio_axum::Message,
) {
    match cluster {
        Some(cluster) => {
            if let Err(error) = cluster.broadcast(message).await {
                eprintln!("echo: {error}");
            }
        }
        None => {
            socket.server().broadcast(message);
        }
    }
}

/// Disconnects a client, of whatever node. Answers whether there was one.
pub(crate) async fn kick(socket: &Socket, cluster: Option<&Cluster>, sid: &str) -> String {
    let Ok(sid) = sid.parse::<Sid>() else {
        return format!("kicked {sid} false");
    };
    let kicked = match cluster {
        Some(cluster) => match cluster.disconnect(&sid).await {
            Ok(kicked) => kicked.to_string(),
            Err(error) => error.to_string(),
        },
        None => socket.server().disconnect(&sid).await.to_string(),
    };
    format!("kicked {sid} {kicked}")
}
