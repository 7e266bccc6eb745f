//! What a client meets: one host with its server, or the nodes of a cluster, each on a host of its own.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use engineio_cluster::{Cluster, Peers};
use engineio_tower::{Server, ServerBuilder, Sid, Socket, Transport};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::app::{self, Events};
use crate::host::{Host, Running};
use crate::puppet::{Puppet, Width};
use crate::within;

/// The target of a handshake by polling.
pub const POLLING: &str = "/engine.io/?EIO=4&transport=polling";

/// The target of a handshake by WebSocket.
pub const WEBSOCKET: &str = "/engine.io/?EIO=4&transport=websocket";

/// The secret of the clusters.
pub const SECRET: &str = "correct horse battery staple";

/// The variable that repeats the entries of a run.
const SEED: &str = "ENGINEIO_ENTRIES";

/// The target of the WebSocket that a polling session upgrades to.
#[must_use]
pub fn upgrade_target(polling: &str) -> String {
    polling.replace("transport=polling", "transport=websocket")
}

/// The session id of an open packet.
#[must_use]
pub fn sid(open: &str) -> &str {
    let rest = open.split_once("\"sid\":\"").unwrap().1;
    rest.split_once('"').unwrap().0
}

/// Makes servers the nodes `a`, `b` and so on of a cluster with a fixed list.
pub async fn cluster(servers: &[Server]) -> Vec<Cluster> {
    let mut listeners = Vec::new();
    let mut peers = Vec::new();
    for name in ('a'..).take(servers.len()) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        peers.push((name.to_string(), listener.local_addr().unwrap().to_string()));
        listeners.push(listener);
    }
    let mut nodes = Vec::new();
    for ((listener, (name, _)), server) in listeners.into_iter().zip(&peers).zip(servers) {
        let node = Cluster::builder()
            .name(name)
            .listener(listener)
            .secret(SECRET)
            .peers(Peers::fixed(peers.clone()).unwrap());
        nodes.push(node.start(server).await.unwrap());
    }
    nodes
}

/// A host with its server, or a cluster of them.
#[derive(Debug)]
pub struct Site {
    hosts: Vec<Running>,
    servers: Vec<Server>,
    entries: Arc<Entries>,
}

impl Site {
    /// Starts as many servers as the host has nodes.
    pub async fn start<H: Host>(
        configure: impl Fn(ServerBuilder) -> ServerBuilder,
    ) -> (Self, Events) {
        let (servers, events) = app::echoes(H::NODES, configure);
        if H::NODES > 1 {
            cluster(&servers).await;
        }
        let mut hosts = Vec::new();
        for server in &servers {
            hosts.push(H::start(server.clone()).await);
        }
        let addresses = hosts.iter().map(|host| host.address).collect();
        let site = Self {
            hosts,
            servers,
            entries: Arc::new(Entries::new(addresses)),
        };
        (site, events)
    }

    /// Returns whether requests may enter at a node that does not own their session.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        self.hosts.len() > 1
    }

    /// Connects to the host, or to a load balancer that gives each request to any node, over the last connection or a new one.
    pub async fn connect(&self) -> Puppet {
        self.connect_by(Width::Usual).await
    }

    /// The same with a small buffer for what comes back.
    pub async fn connect_narrow(&self) -> Puppet {
        self.connect_by(Width::Narrow).await
    }

    async fn connect_by(&self, width: Width) -> Puppet {
        let stream = width.connect(self.entries.next()).await;
        // The name of the balancer, whatever node a request reaches.
        let puppet = Puppet::over(stream, self.hosts[0].address);
        if !self.is_cluster() {
            return puppet;
        }
        let entries = Arc::clone(&self.entries);
        puppet.balanced(Box::new(move || {
            let entries = Arc::clone(&entries);
            Box::pin(async move {
                match entries.draw().is_multiple_of(2) {
                    true => None,
                    false => Some(width.connect(entries.next()).await),
                }
            })
        }))
    }

    /// Opens a session by polling: its id, the target of its requests, and a connection for them. In a cluster this is
    /// not the connection of the handshake, so that it may lead to another node.
    pub async fn poller(&self) -> (Sid, String, Puppet) {
        let mut puppet = self.connect().await;
        let open = puppet.get(POLLING).await;
        assert_eq!(open.status, 200, "{open:?}");
        let sid = sid(open.text());
        let target = format!("{POLLING}&sid={sid}");
        if self.is_cluster() {
            puppet = self.connect().await;
        }
        (sid.parse().unwrap(), target, puppet)
    }

    /// Makes a connection the WebSocket of a new session, and offers extensions to it. In a cluster the session begins by
    /// polling, so that the WebSocket may lead to another node.
    ///
    /// Returns the id of the session, and what the server has agreed to.
    pub async fn open_websocket(&self, socket: &mut Puppet, extensions: &str) -> (Sid, String) {
        if !self.is_cluster() {
            let agreed = socket.upgrade_with(WEBSOCKET, extensions).await;
            let open = socket.hear().await;
            assert!(open.starts_with("0{"), "{open}");
            return (sid(&open).parse().unwrap(), agreed);
        }
        let (sid, target, _) = self.poller().await;
        let agreed = socket
            .upgrade_with(&upgrade_target(&target), extensions)
            .await;
        socket.say("2probe").await;
        assert_eq!(socket.hear().await, "3probe");
        socket.say("5").await;
        let session = self.socket(&sid).unwrap();
        within("the upgrade", async {
            while session.transport() != Transport::WebSocket {
                tokio::task::yield_now().await;
            }
        })
        .await;
        (sid, agreed)
    }

    /// The number of clients of all servers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.servers.iter().map(Server::len).sum()
    }

    /// Returns whether no client is connected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The client with this id, of whatever server.
    #[must_use]
    pub fn socket(&self, sid: &Sid) -> Option<Socket> {
        self.servers.iter().find_map(|server| server.socket(sid))
    }

    /// Sends a message to all clients. Returns for how many it was queued.
    pub fn broadcast(&self, text: &str) -> usize {
        let queued = self.servers.iter().map(|server| server.broadcast(text));
        queued.sum()
    }

    /// Shuts all servers down at the same time.
    pub fn shutdown(&self, grace: Duration) -> impl Future<Output = ()> + use<> {
        let servers = self.servers.clone();
        async move {
            let mut shutting_down = JoinSet::new();
            for server in servers {
                shutting_down.spawn(async move { server.shutdown(grace).await });
            }
            shutting_down.join_all().await;
        }
    }

    /// Shuts the hosts down in their own way, one after the other.
    pub async fn stop(mut self) {
        for host in std::mem::take(&mut self.hosts) {
            host.stop().await;
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let Entries {
            seed, addresses, ..
        } = &*self.entries;
        if addresses.len() > 1 && std::thread::panicking() {
            println!("{SEED}={seed} repeats the nodes at which requests enter");
        }
    }
}

/// The nodes at which requests enter, by chance but the same for one seed.
#[derive(Debug)]
struct Entries {
    seed: usize,
    addresses: Vec<SocketAddr>,
    drawn: AtomicUsize,
}

impl Entries {
    fn new(addresses: Vec<SocketAddr>) -> Self {
        let given = std::env::var(SEED).ok();
        let seed = given.map_or_else(
            || RandomState::new().hash_one(0) as usize,
            |text| text.parse().expect("a number"),
        );
        Self {
            seed,
            addresses,
            drawn: AtomicUsize::new(0),
        }
    }

    fn next(&self) -> SocketAddr {
        self.addresses[self.draw() % self.addresses.len()]
    }

    /// Returns a random number: the finaliser of SplitMix64.
    fn draw(&self) -> usize {
        let number = self.drawn.fetch_add(1, Ordering::Relaxed) + 1;
        let mut mixed = self
            .seed
            .wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
