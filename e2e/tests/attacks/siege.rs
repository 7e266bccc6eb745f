//! A host under attack, and what every attack must leave intact.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use engineio_e2e::app::{Event, Events};
use engineio_e2e::host::Host;
use engineio_e2e::puppet::Puppet;
use engineio_e2e::site::Site;
pub(crate) use engineio_e2e::site::{POLLING, WEBSOCKET, sid, upgrade_target};
use engineio_e2e::within;
use engineio_tower::{DisconnectReason, ServerBuilder, Sid};

use crate::bystander::Bystander;
use crate::machine::Machine;

/// The time limit for a shutdown, including delays of a busy machine.
const GRACE: Duration = Duration::from_millis(50);
const LATE: Duration = Duration::from_millis(950);

/// A host with its server, or a cluster, and one bystander on each transport.
pub(crate) struct Siege {
    pub(crate) site: Site,
    events: Events,
    ended: HashMap<Sid, DisconnectReason>,
    bystanders: [Bystander; 2],
    news: usize,
}

/// Runs an attack on a host. Before, while and after it, a client on each transport talks with the server: it must lose
/// nothing, and wait for nothing. At last the server must shut down in its time.
pub(crate) async fn withstand<H: Host>(
    rules: impl Fn(ServerBuilder) -> ServerBuilder,
    attack: impl AsyncFnOnce(&mut Siege),
) {
    // The compiler makes one copy of this for each attack on each host, but only one of what it calls.
    let machine = Machine::watch();
    let (site, events) = Site::start::<H>(rules).await;
    let mut siege = Siege::begin(site, events).await;
    attack(&mut siege).await;
    siege.end(&machine).await;
}

impl Siege {
    async fn begin(site: Site, events: Events) -> Self {
        let (_, target, poll) = site.poller().await;
        let over_polling = Bystander::over_polling(target, poll, site.connect().await);
        let mut socket = site.connect().await;
        site.open_websocket(&mut socket, "").await;
        let mut siege = Self {
            site,
            events,
            ended: HashMap::new(),
            bystanders: [over_polling, Bystander::over_websocket(socket)],
            news: 0,
        };
        siege.bystanders_are_well().await;
        siege
    }

    async fn end(mut self, machine: &Machine) {
        self.bystanders_are_well().await;
        for (bystander, transport) in self.bystanders.into_iter().zip(["polling", "websocket"]) {
            let progress = bystander.leave(machine).await;
            assert_eq!(progress.news, self.news, "news over {transport}");
        }
        let begun = Instant::now();
        within("the shutdown", self.site.shutdown(GRACE)).await;
        assert!(begun.elapsed() < GRACE + LATE, "{:?}", begun.elapsed());
        assert!(self.site.is_empty(), "{} are left", self.site.len());
    }

    async fn bystanders_are_well(&mut self) {
        for bystander in &mut self.bystanders {
            bystander.is_well().await;
        }
    }

    /// Returns the number of clients other than the bystanders.
    pub(crate) fn strangers(&self) -> usize {
        self.site.len() - self.bystanders.len()
    }

    pub(crate) async fn connect(&self) -> Puppet {
        self.site.connect().await
    }

    /// A session by polling: its id, the target of its requests, and a connection for them.
    pub(crate) async fn poller(&self) -> (Sid, String, Puppet) {
        self.site.poller().await
    }

    /// A WebSocket that has had its open packet.
    pub(crate) async fn websocket(&self) -> (Sid, Puppet) {
        let mut socket = self.connect().await;
        let (sid, _) = self.site.open_websocket(&mut socket, "").await;
        (sid, socket)
    }

    /// The same on which messages may be compressed.
    pub(crate) async fn deflating_websocket(&self) -> (Sid, Puppet) {
        let mut socket = self.connect().await;
        let (sid, agreed) = self
            .site
            .open_websocket(&mut socket, "permessage-deflate")
            .await;
        assert!(agreed.starts_with("permessage-deflate;"), "{agreed}");
        (sid, socket)
    }

    /// Waits for the end of a session, and returns its reason. Every session ends once.
    pub(crate) async fn ended(&mut self, sid: Sid) -> DisconnectReason {
        loop {
            if let Some(reason) = self.ended.get(&sid) {
                return *reason;
            }
            self.next_end().await;
        }
    }

    /// Waits until there are none but the bystanders. A client may be counted for a moment after its end was told.
    pub(crate) async fn all_gone(&self) {
        let mut look = tokio::time::interval(Duration::from_millis(10));
        let gone = async {
            while self.strangers() > 0 {
                look.tick().await;
            }
        };
        within("the end of all sessions", gone).await;
    }

    /// The reason of the next session that ends.
    pub(crate) async fn next_end(&mut self) -> DisconnectReason {
        loop {
            if let Event::Disconnected(sid, reason) = self.events.next().await {
                let before = self.ended.insert(sid, reason);
                assert_eq!(before, None, "{sid} ended twice");
                return reason;
            }
        }
    }

    /// Sends a message to all, and waits until the bystanders have it. Returns how many it was queued for.
    pub(crate) async fn broadcast(&mut self, len: usize) -> usize {
        let text = format!("news {} {}", self.news, "x".repeat(len));
        let queued = self.site.broadcast(&text);
        self.news += 1;
        for bystander in &mut self.bystanders {
            let news = self.news;
            bystander.reach(|progress| progress.news == news).await;
        }
        queued
    }
}
