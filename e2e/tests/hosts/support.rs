//! Set-up and waiting, shared by the scenarios.

use engineio_e2e::app::{Event, Events};
use engineio_e2e::host::Host;
use engineio_e2e::puppet::Puppet;
use engineio_e2e::site::Site;
pub(crate) use engineio_e2e::site::{POLLING, WEBSOCKET, sid, upgrade_target};
use engineio_tower::ServerBuilder;

/// A host with its server, or a cluster of them.
pub(crate) struct Scene {
    pub(crate) site: Site,
    pub(crate) events: Events,
}

pub(crate) async fn scene<H: Host>() -> Scene {
    scene_with::<H>(|builder| builder).await
}

pub(crate) async fn scene_with<H: Host>(
    configure: impl Fn(ServerBuilder) -> ServerBuilder,
) -> Scene {
    let (site, events) = Site::start::<H>(configure).await;
    Scene { site, events }
}

impl Scene {
    pub(crate) async fn connect(&self) -> Puppet {
        self.site.connect().await
    }

    /// A WebSocket that has had its open packet.
    pub(crate) async fn websocket(&mut self) -> Puppet {
        let mut socket = self.connect().await;
        let (sid, _) = self.site.open_websocket(&mut socket, "").await;
        self.connected().await;
        // Others may come and go meanwhile.
        while self.site.is_cluster() && self.events.next().await != Event::Upgraded(sid) {}
        socket
    }

    /// A session by polling: the target of its requests, and a connection for them.
    pub(crate) async fn poller(&mut self) -> (String, Puppet) {
        let (_, target, puppet) = self.site.poller().await;
        self.connected().await;
        (target, puppet)
    }

    async fn connected(&mut self) {
        let event = self.events.next().await;
        assert!(matches!(event, Event::Connected(..)), "{event:?}");
    }
}
