//! The configuration of a node.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use engineio_tower::Server;
use http::HeaderValue;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::cluster::{Cluster, Inner};
use crate::forward::{Forwarder, Relays};
use crate::link::{Credentials, Links, is_another};
use crate::listener::{self, Node, Rejections};
use crate::members::Members;
use crate::membership::{Local, Membership};
use crate::operations::Caller;
use crate::{Bus, InvalidNodeId, JoinError, Member, MemberState, NodeId, Peers};

/// The time between two questions to a node of a fixed list, and the time limit for the answer.
const ASK: Duration = Duration::from_secs(1);

/// Configures a node; see [`Cluster::builder`].
#[must_use = "a builder does nothing until `start` is called"]
#[derive(Default)]
pub struct ClusterBuilder {
    name: Option<String>,
    listen: Option<String>,
    listener: Option<TcpListener>,
    secret: Option<String>,
    #[cfg(feature = "tls")]
    tls: Option<crate::Tls>,
    peers: Vec<(NodeId, Arc<str>)>,
    bus: Option<Arc<dyn Bus>>,
    advertise: Option<Arc<str>>,
}

impl fmt::Debug for ClusterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterBuilder")
            .field("name", &self.name)
            .field("listen", &self.listen)
            .field("peers", &self.peers)
            .field("bus", &self.bus)
            .finish_non_exhaustive()
    }
}

impl ClusterBuilder {
    /// Sets the name of the node, with which its session ids end: 1 to 16 characters of `A–Z a–z 0–9 - _`. Default: 8
    /// random characters.
    ///
    /// Clients see it. No two nodes may have the same. If the server generates its own session ids
    /// ([`generate_sid`](engineio_tower::ServerBuilder::generate_sid)), an id and the name have at most 54 characters
    /// together.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the address, as `host:port`, at which the node listens for other nodes. It must not be reachable from
    /// outside. Default: a free port of the loopback address.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = Some(address.into());
        self
    }

    /// Sets a bound listener for the other nodes, instead of an address.
    pub fn listener(mut self, listener: TcpListener) -> Self {
        self.listener = Some(listener);
        self
    }

    /// Sets the secret that all nodes share. It is required unless the node listens on a loopback address or has `tls`.
    ///
    /// Without `tls` it crosses the network in clear text.
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.secret = Some(secret.into());
        self
    }

    /// Sets the certificates by which the nodes authenticate each other. All nodes must then have one. It replaces the
    /// secret; a secret may be set in addition.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets the bus by which the nodes find each other and broadcast: a [`Nats`](crate::Nats), a
    /// [`Redis`](crate::Redis), or a [`MemoryBus`](crate::MemoryBus) in tests.
    pub fn bus(mut self, bus: impl Bus) -> Self {
        self.bus = Some(Arc::new(bus));
        self
    }

    /// Sets the address, as `host:port`, at which other nodes reach the internal listener. Default: that of the
    /// listener, which must then not be `0.0.0.0` or `::` if there is a bus.
    pub fn advertise(mut self, address: impl Into<Arc<str>>) -> Self {
        self.advertise = Some(address.into());
        self
    }

    /// Sets the other nodes, for a cluster without a broker. A [`bus`](Self::bus) replaces such a list.
    pub fn peers(mut self, peers: Peers) -> Self {
        self.peers = peers.0;
        self
    }

    /// Starts the node: from now on the server appends the node's name to the ids of its sessions, and requests for
    /// sessions of the other nodes are forwarded to them.
    ///
    /// Start it before the server has clients. The id of a session that was opened before names no node, so the other
    /// nodes cannot reach it, although [`Cluster::sids`] lists it.
    ///
    /// The node lives until the server has shut down, and then leaves the cluster; [`Cluster::drain`] does that in good
    /// order. Dropping the handles of both does not end it. With a bus, the start takes about two seconds, in which the node checks whether another one has its name.
    ///
    /// # Errors
    ///
    /// Fails if the name is not a node id, if the address cannot be bound, if the secret is missing, if the bus does
    /// not let the node join, if another node has its name, or if the server belongs to a cluster already.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub async fn start(self, server: &Server) -> Result<Cluster, StartError> {
        let id = match &self.name {
            Some(name) => name.parse()?,
            None => NodeId::random().map_err(io::Error::other)?,
        };
        let mut incarnation = [0; 8];
        getrandom::fill(&mut incarnation).map_err(io::Error::other)?;
        let incarnation = u64::from_ne_bytes(incarnation);
        let secret = match self.secret.as_deref() {
            Some("") => return Err(StartError::EmptySecret),
            Some(secret) => {
                // `HeaderValue` takes other bytes too, which are written differently from one configuration to another.
                let is_printable = secret.bytes().all(|byte| (b' '..=b'~').contains(&byte));
                let value = HeaderValue::from_str(secret).ok().filter(|_| is_printable);
                Some(value.ok_or(StartError::MalformedSecret)?)
            }
            None => None,
        };
        let listener = match self.listener {
            Some(listener) => listener,
            None => TcpListener::bind(self.listen.as_deref().unwrap_or("127.0.0.1:0")).await?,
        };
        let address = listener.local_addr()?;
        #[cfg(feature = "tls")]
        let protected = secret.is_some() || self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        let protected = secret.is_some();
        if !protected && !address.ip().to_canonical().is_loopback() {
            return Err(StartError::Unprotected);
        }
        let members = Members::new();
        let fixed = self.bus.is_none();
        let mut own_entry = None;
        for (peer, listed) in self.peers.into_iter().filter(|_| fixed) {
            if peer == id {
                own_entry = Some(listed);
                continue;
            }
            members.insert(Member {
                id: peer,
                incarnation: 0,
                address: listed,
                state: MemberState::Up,
                sessions: 0,
            });
        }
        if let Some(listed) = &own_entry {
            let is_meant = match &self.advertise {
                Some(advertised) => advertised == listed,
                None => listed.rsplit(':').next() == Some(&address.port().to_string()),
            };
            if !is_meant {
                return Err(StartError::ListedElsewhere {
                    id,
                    listed: Arc::clone(listed),
                    address,
                });
            }
        }
        let advertised = match self.advertise {
            Some(address) => address,
            None if address.ip().is_unspecified() && !fixed => {
                return Err(StartError::Unaddressed);
            }
            None => address.to_string().into(),
        };
        let local = Local {
            id,
            incarnation,
            address: Arc::clone(&advertised),
        };
        let membership = match self.bus {
            Some(bus) => {
                let join = Membership::join(bus, local, members.clone(), server.clone());
                Some(Arc::new(join.await?))
            }
            None => None,
        };
        let credentials = Credentials {
            secret,
            #[cfg(feature = "tls")]
            tls: self.tls,
        };
        let links = Arc::new(Links::new(
            id,
            members,
            credentials.clone(),
            membership.clone(),
        ));
        let relays = Arc::new(Relays::default());
        let node = Arc::new(Node {
            id,
            incarnation,
            credentials: credentials.clone(),
            server: server.clone(),
            relays: Arc::clone(&relays),
            draining: AtomicBool::new(false),
            rejections: Rejections::default(),
        });
        let (stop, stopped) = watch::channel(());
        let (done, listening) = watch::channel(());
        let serving = listener::serve(listener, Arc::clone(&node), stopped);
        let joined = membership.clone();
        tokio::spawn(async move {
            serving.await;
            // The node has no sessions any more, and answers nobody.
            if let Some(membership) = joined {
                membership.leave().await;
            }
            drop(done);
        });
        // Asked now that this node would answer itself.
        if let Some(listed) = own_entry
            && is_another(id, incarnation, Arc::clone(&listed), &credentials).await
        {
            let address = listed;
            return Err(JoinError::IdInUse { id, address }.into());
        }
        let forwarder = Forwarder {
            links: Arc::clone(&links),
            relays: Arc::clone(&relays),
        };
        if !server.forward(Arc::new(forwarder)) {
            return Err(StartError::AlreadyStarted);
        }
        // The server drops it when it has shut down: not before, and whoever shuts it down.
        server.spawn(async move {
            std::future::pending::<()>().await;
            drop(stop);
        });
        server.spawn(Arc::clone(&links).follow_members());
        if fixed {
            server.spawn(follow_fixed(Arc::clone(&links)));
        }
        tracing::info!(target: "engineio::cluster", node = %id, %address, "the node is up");
        Ok(Cluster::new(Inner {
            node,
            address,
            advertised,
            incarnation,
            membership,
            links,
            listening,
            drain_progress: Mutex::default(),
        }))
    }
}

/// Asks each node of a fixed list every second for its state and the number of its sessions, which announcements
/// contain if there is a broker. Runs until it is dropped.
async fn follow_fixed(links: Arc<Links>) {
    let mut ticks = tokio::time::interval(ASK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut asked = JoinSet::new();
        for node in links.members().all() {
            let links = Arc::clone(&links);
            asked.spawn(async move {
                let caller = Caller {
                    links: &links,
                    node: &node,
                };
                let known = tokio::time::timeout(ASK, caller.state()).await;
                let (state, sessions) = match known {
                    Ok(Ok(known)) => known,
                    // It has no sessions that anybody reaches.
                    _ => (node.state, 0),
                };
                if (state, sessions) != (node.state, node.sessions) {
                    links.members().insert(Member {
                        state,
                        sessions,
                        ..(*node).clone()
                    });
                }
            });
        }
        asked.join_all().await;
    }
}

/// A node cannot be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The name cannot be a node id.
    #[error("the name of the node: {0}")]
    Name(#[from] InvalidNodeId),
    /// The address cannot be bound.
    #[error("the internal listener: {0}")]
    Listen(#[from] io::Error),
    /// The internal listener could be reached by clients that are not nodes.
    #[error(
        "the internal listener can be reached from other machines and has no secret: set one with `secret`, or certificates with `tls`"
    )]
    Unprotected,
    /// Other nodes could not find the internal listener.
    #[error(
        "the internal listener has no specific address that other nodes could use: set one with `advertise`"
    )]
    Unaddressed,
    /// The bus does not let the node join.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The list of nodes has this node at another address, so that another node may have its name.
    #[error(
        "the list of nodes has the node {id} at {listed}, and this one listens at {address}: give it another name, or set that address with `advertise`"
    )]
    ListedElsewhere {
        /// The id of this node.
        id: NodeId,
        /// The address in the list.
        listed: Arc<str>,
        /// The address of the internal listener.
        address: SocketAddr,
    },
    /// The secret is empty.
    #[error("the secret of the cluster is empty")]
    EmptySecret,
    /// The secret has characters other than printable ASCII.
    #[error("the secret of the cluster may contain only printable ASCII characters")]
    MalformedSecret,
    /// The server belongs to a cluster already.
    #[error("the server belongs to a cluster already")]
    AlreadyStarted,
}
