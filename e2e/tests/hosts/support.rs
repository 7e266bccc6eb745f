//! Set-up and waiting, shared by the scenarios.

use engineio_e2e::app::{self, Event, Events};
use engineio_e2e::host::{Host, Running};
use engineio_e2e::puppet::Puppet;
use engineio_tower::{Server, ServerBuilder};

/// The target of a handshake by polling.
pub(crate) const POLLING: &str = "/engine.io/?EIO=4&transport=polling";

/// The target of a handshake by WebSocket.
pub(crate) const WEBSOCKET: &str = "/engine.io/?EIO=4&transport=websocket";

/// A host with its server.
pub(crate) struct Scene {
    pub(crate) host: Running,
    pub(crate) server: Server,
    pub(crate) events: Events,
}

pub(crate) async fn scene<H: Host>() -> Scene {
    scene_with::<H>(|builder| builder).await
}

pub(crate) async fn scene_with<H: Host>(
    configure: impl FnOnce(ServerBuilder) -> ServerBuilder,
) -> Scene {
    let (server, events) = app::echo(configure);
    Scene {
        host: H::start(server.clone()).await,
        server,
        events,
    }
}

impl Scene {
    pub(crate) async fn connect(&self) -> Puppet {
        Puppet::connect(self.host.address).await
    }

    /// A WebSocket that has had its open packet.
    pub(crate) async fn websocket(&mut self) -> Puppet {
        let mut socket = self.connect().await;
        socket.upgrade(WEBSOCKET).await;
        let open = socket.hear().await;
        assert!(open.starts_with("0{"), "{open}");
        self.connected().await;
        socket
    }

    /// A session by polling: the target of its requests, and the connection of the handshake.
    pub(crate) async fn poller(&mut self) -> (String, Puppet) {
        let mut puppet = self.connect().await;
        let open = puppet.get(POLLING).await;
        assert_eq!(open.status, 200, "{open:?}");
        let sid = sid(open.text());
        self.connected().await;
        (format!("{POLLING}&sid={sid}"), puppet)
    }

    async fn connected(&mut self) {
        let event = self.events.next().await;
        assert!(matches!(event, Event::Connected(..)), "{event:?}");
    }
}

/// The target of the WebSocket that a polling session upgrades to.
pub(crate) fn upgrade_target(polling: &str) -> String {
    polling.replace("transport=polling", "transport=websocket")
}

/// The session id of an open packet.
pub(crate) fn sid(open: &str) -> &str {
    let rest = open.split_once("\"sid\":\"").unwrap().1;
    rest.split_once('"').unwrap().0
}
