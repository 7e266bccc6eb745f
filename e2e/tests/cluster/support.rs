//! Nodes of a cluster with fixed peers, over real sockets.

use std::future::IntoFuture;
use std::net::SocketAddr;

use engineio_cluster::{Cluster, ClusterBuilder, Peers};
use engineio_e2e::app::{self, Event, Events};
use engineio_e2e::host::{Host, Hyper, Running};
use engineio_e2e::puppet::Puppet;
pub(crate) use engineio_e2e::site::{POLLING, SECRET, WEBSOCKET, sid, upgrade_target};
use engineio_tower::{EngineIoService, Server, ServerBuilder, serve};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// One node, with its server and its host.
pub(crate) struct Node {
    pub(crate) host: Running,
    pub(crate) server: Server,
    pub(crate) events: Events,
    pub(crate) cluster: Cluster,
}

/// Starts nodes named `a`, `b` and so on.
pub(crate) async fn nodes<const N: usize>() -> [Node; N] {
    nodes_with::<Hyper, N>(|builder| builder).await
}

pub(crate) async fn nodes_with<H: Host, const N: usize>(
    configure: impl Fn(ServerBuilder) -> ServerBuilder,
) -> [Node; N] {
    let (servers, all_events): (Vec<_>, Vec<_>) = (0..N).map(|_| app::echo(&configure)).unzip();
    let clusters = engineio_e2e::site::cluster(&servers).await;
    let mut nodes = Vec::new();
    for ((server, events), cluster) in servers.into_iter().zip(all_events).zip(clusters) {
        nodes.push(Node {
            host: H::start(server.clone()).await,
            server,
            events,
            cluster,
        });
    }
    nodes.try_into().ok().unwrap()
}

pub(crate) async fn node<H: Host>(
    builder: ClusterBuilder,
    (server, events): (Server, Events),
) -> Node {
    let cluster = builder.secret(SECRET).start(&server).await.unwrap();
    Node {
        host: H::start(server.clone()).await,
        server,
        events,
        cluster,
    }
}

/// A node on a runtime of its own, which can be killed.
pub(crate) struct Mortal {
    pub(crate) address: SocketAddr,
    pub(crate) cluster: Cluster,
    /// Gone once it is killed.
    runtime: Option<Runtime>,
}

impl Mortal {
    /// Starts nodes named `a`, `b` and so on, each on a runtime of its own.
    pub(crate) async fn start<const N: usize>() -> [Self; N] {
        let start = tokio::task::spawn_blocking(Self::start_here::<N>);
        start.await.unwrap()
    }

    fn start_here<const N: usize>() -> [Self; N] {
        let mut listeners = Vec::new();
        let mut peers = Vec::new();
        for name in ('a'..).take(N) {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            let address = listener.local_addr().unwrap().to_string();
            peers.push((name.to_string(), address));
            listeners.push(listener);
        }
        let start = |(listener, (name, _)): (std::net::TcpListener, &(String, String))| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap();
            let builder = Cluster::builder()
                .name(name)
                .secret(SECRET)
                .peers(Peers::fixed(peers.clone()).unwrap());
            let (address, cluster) = runtime.block_on(async {
                let (server, _) = app::echo(|builder| builder);
                let listener = TcpListener::from_std(listener).unwrap();
                let cluster = builder.listener(listener).start(&server).await.unwrap();
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                tokio::spawn(serve(listener, EngineIoService::new(server)).into_future());
                (address, cluster)
            });
            Self {
                address,
                cluster,
                runtime: Some(runtime),
            }
        };
        let nodes: Vec<_> = listeners.into_iter().zip(&peers).map(start).collect();
        nodes.try_into().ok().unwrap()
    }

    /// Ends all its tasks and closes all its sockets at once.
    pub(crate) fn kill(self) {
        drop(self);
    }

    pub(crate) async fn connect(&self) -> Puppet {
        Puppet::connect(self.address).await
    }

    /// Opens a session by polling here. Returns the target of its requests.
    pub(crate) async fn poller(&self) -> String {
        let open = self.connect().await.get(POLLING).await;
        assert_eq!(open.status, 200, "{open:?}");
        format!("{POLLING}&sid={}", sid(open.text()))
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Node {
    pub(crate) async fn connect(&self) -> Puppet {
        Puppet::connect(self.host.address).await
    }

    /// Opens a session by polling here. Returns the target of its requests.
    pub(crate) async fn poller(&mut self) -> String {
        let open = self.connect().await.get(POLLING).await;
        assert_eq!(open.status, 200, "{open:?}");
        let event = self.events.next().await;
        assert!(matches!(event, Event::Connected(..)), "{event:?}");
        format!("{POLLING}&sid={}", sid(open.text()))
    }
}
