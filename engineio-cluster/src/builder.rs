//! The configuration of a node.

use std::fmt;
use std::io;
use std::sync::Arc;

use engineio_tower::Server;
use http::HeaderValue;
use thiserror::Error;
use tokio::net::TcpListener;

use crate::cluster::{Cluster, Inner};
use crate::forward::Forwarder;
use crate::link::{Credentials, Links};
use crate::listener::{self, Node};
use crate::members::Members;
use crate::{InvalidNodeId, Member, MemberState, NodeId};

/// The other nodes of a cluster without a broker.
///
/// Every node has the same list, or one without itself. A node that does not run is harmless: a request for one of its
/// sessions is refused.
///
/// ```
/// use engineio_cluster::Peers;
///
/// let peers = Peers::fixed([("a", "10.0.0.5:7000"), ("b", "10.0.0.6:7000")])?;
/// # let _ = peers;
/// # Ok::<_, engineio_cluster::InvalidNodeId>(())
/// ```
#[derive(Clone, Debug)]
pub struct Peers(Vec<(NodeId, Arc<str>)>);

impl Peers {
    /// Returns a list of names and addresses, the latter as `host:port` of the internal listeners.
    ///
    /// # Errors
    ///
    /// Fails with the first name that cannot be a node id.
    pub fn fixed<N, A>(peers: impl IntoIterator<Item = (N, A)>) -> Result<Self, InvalidNodeId>
    where
        N: AsRef<str>,
        A: Into<Arc<str>>,
    {
        peers
            .into_iter()
            .map(|(name, address)| Ok((name.as_ref().parse()?, address.into())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Configures a node; see [`Cluster::builder`].
#[must_use = "a builder does nothing until `start` is called"]
#[derive(Default)]
pub struct ClusterBuilder {
    name: Option<String>,
    listen: Option<String>,
    listener: Option<TcpListener>,
    secret: Option<String>,
    peers: Vec<(NodeId, Arc<str>)>,
}

impl fmt::Debug for ClusterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterBuilder")
            .field("name", &self.name)
            .field("listen", &self.listen)
            .field("peers", &self.peers)
            .finish_non_exhaustive()
    }
}

impl ClusterBuilder {
    /// Sets the name of the node, which ends its session ids: 1 to 16 characters of `A–Z a–z 0–9 - _`. Default: 8 random
    /// characters.
    ///
    /// Clients see it. No two nodes may have the same.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the address, as `host:port`, at which the node listens for the others. It must not be reachable from outside.
    /// Default: a free port of the loopback address.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = Some(address.into());
        self
    }

    /// Sets the listener for the other nodes, which is bound already, in place of an address.
    pub fn listener(mut self, listener: TcpListener) -> Self {
        self.listener = Some(listener);
        self
    }

    /// Sets the secret that all nodes share. It is required unless the node listens at a loopback address.
    ///
    /// It crosses the network in clear text.
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.secret = Some(secret.into());
        self
    }

    /// Sets the other nodes, for a cluster without a broker.
    pub fn peers(mut self, peers: Peers) -> Self {
        self.peers = peers.0;
        self
    }

    /// Starts the node: from now on the server appends the node's name to the ids of its sessions, and requests for
    /// sessions of the other nodes are forwarded to them.
    ///
    /// The node lives until the server has shut down.
    ///
    /// # Errors
    ///
    /// Fails if the name is not a node id, if the address cannot be listened at, if the secret is missing, or if the
    /// server belongs to a cluster already.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub async fn start(self, server: &Server) -> Result<Cluster, StartError> {
        let id = match &self.name {
            Some(name) => name.parse()?,
            None => NodeId::random().map_err(io::Error::other)?,
        };
        let secret = match self.secret.as_deref() {
            Some("") => return Err(StartError::EmptySecret),
            Some(secret) => {
                Some(HeaderValue::from_str(secret).map_err(|_| StartError::MalformedSecret)?)
            }
            None => None,
        };
        let listener = match self.listener {
            Some(listener) => listener,
            None => TcpListener::bind(self.listen.as_deref().unwrap_or("127.0.0.1:0")).await?,
        };
        let address = listener.local_addr()?;
        if secret.is_none() && !address.ip().to_canonical().is_loopback() {
            return Err(StartError::Unprotected);
        }
        let members = Members::new();
        for (peer, address) in self.peers {
            if peer != id {
                members.insert(Member {
                    id: peer,
                    incarnation: 0,
                    address,
                    state: MemberState::Up,
                    sessions: 0,
                });
            }
        }
        let credentials = Credentials { secret };
        let links = Arc::new(Links::new(id, members, credentials.clone()));
        let forwarder = Forwarder {
            links: Arc::clone(&links),
            patience: server.heartbeat(),
        };
        if !server.forward(Arc::new(forwarder)) {
            return Err(StartError::AlreadyStarted);
        }
        let node = Node {
            id,
            credentials,
            server: server.clone(),
        };
        server.spawn(listener::serve(listener, Arc::new(node)));
        server.spawn(Arc::clone(&links).follow_members());
        tracing::info!(target: "engineio::cluster", node = %id, %address, "the node is up");
        Ok(Cluster::new(Inner {
            id,
            address,
            server: server.clone(),
            links,
        }))
    }
}

/// A node cannot be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The name cannot be a node id.
    #[error("the name of the node: {0}")]
    Name(#[from] InvalidNodeId),
    /// The address cannot be listened at.
    #[error("the internal listener: {0}")]
    Listen(#[from] io::Error),
    /// Strangers could reach the internal listener.
    #[error(
        "the internal listener has an address beyond this machine and no secret: set one with `secret`"
    )]
    Unprotected,
    /// The secret is empty.
    #[error("the secret of the cluster is empty")]
    EmptySecret,
    /// The secret has characters that HTTP headers cannot carry.
    #[error("the secret of the cluster may have visible characters of ASCII only")]
    MalformedSecret,
    /// The server belongs to a cluster already.
    #[error("the server belongs to a cluster already")]
    AlreadyStarted,
}
