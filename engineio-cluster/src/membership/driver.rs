//! Connects the detector with the bus, the clock and the table of members.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engineio_tower::Server;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::announcement::{Announcement, Presence};
use super::detector::Detector;
use super::error::JoinError;
use super::output::{Departure, Output, Refused};
use super::shared::{Local, News, Shared};
use crate::bus::delivery::{Delivery, Parcel};
use crate::bus::duplicates::Duplicates;
use crate::bus::fields::Stamp;
use crate::bus::wire::{BusMessage, Ignored};
use crate::bus::{Bus, BusEvent, BusFuture, PublishError};
use crate::members::Members;
use crate::meter;
use engineio_core::driver::Repeats;

/// Messages that wait to be published. The oldest are dropped: announcements are worth less the older they are.
const MAX_PENDING: usize = 16;

/// The shortest time between two log lines about one thing that every announcement repeats.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

pub(super) struct Driver {
    bus: Arc<dyn Bus>,
    local: Local,
    members: Members,
    server: Server,
    shared: Arc<Shared>,
    detector: Detector,
    delivery: Delivery,
    duplicates: Duplicates,
    pending: VecDeque<Bytes>,
    joined: Option<oneshot::Sender<Result<(), JoinError>>>,
    left: Option<oneshot::Sender<()>>,
    logged: Logged,
}

/// The log lines about things that repeat, so that none of them hides another.
struct Logged {
    versions: Repeats,
    missed: Repeats,
    conflicts: Repeats,
    too_many: Repeats,
}

impl Driver {
    pub(super) fn new(
        bus: Arc<dyn Bus>,
        local: Local,
        members: Members,
        server: Server,
        shared: Arc<Shared>,
        joined: oneshot::Sender<Result<(), JoinError>>,
    ) -> Self {
        let now = Instant::now();
        Self {
            detector: Detector::new(now.into_std(), local.id, local.incarnation),
            delivery: Delivery::start(server.clone(), Arc::clone(&bus)),
            bus,
            local,
            members,
            server,
            shared,
            duplicates: Duplicates::default(),
            pending: VecDeque::new(),
            joined: Some(joined),
            left: None,
            logged: Logged {
                versions: Repeats::every(LOG_INTERVAL),
                missed: Repeats::default(),
                conflicts: Repeats::every(LOG_INTERVAL),
                too_many: Repeats::every(LOG_INTERVAL),
            },
        }
    }

    /// Runs until the node has left or is refused.
    pub(super) async fn run(mut self, mut news: mpsc::Receiver<News>) {
        let bus = Arc::clone(&self.bus);
        let mut event = bus.next_event();
        let mut publishing: Option<BusFuture<'_, Result<(), PublishError>>> = None;
        loop {
            self.follow_outputs();
            if publishing.is_none() {
                publishing = self.pending.pop_front().map(|message| bus.publish(message));
            }
            let next = self.detector.poll_timeout();
            if next.is_none() && publishing.is_none() {
                break;
            }
            tokio::select! {
                happened = &mut event => {
                    event = bus.next_event();
                    self.on_event(happened);
                }
                outcome = async { publishing.as_mut().unwrap().await }, if publishing.is_some() => {
                    publishing = None;
                    if let Err(error) = outcome {
                        tracing::debug!(target: "engineio::cluster", %error, "an announcement was not published");
                    }
                }
                Some(news) = news.recv() => self.on_news(news),
                () = sleep_until(next.map_or_else(Instant::now, Instant::from_std)), if next.is_some() => {
                    self.detector.handle_timeout(now());
                }
            }
        }
        self.shared.lock().over = true;
        self.shared.echoes.end();
        if let Some(left) = self.left.take() {
            let _ = left.send(());
        }
    }

    fn on_event(&mut self, event: BusEvent) {
        match event {
            BusEvent::Message(bytes) => match BusMessage::decode(bytes) {
                Ok(message) => self.on_message(message),
                Err(Ignored::Malformed) => {
                    meter::count(meter::IGNORED, "malformed", 1);
                    tracing::debug!(target: "engineio::cluster", "a malformed message on the bus is ignored");
                }
                Err(Ignored::Version(version)) => {
                    meter::count(meter::IGNORED, "version", 1);
                    if let Some(count) = self.logged.versions.count(Instant::now(), 1) {
                        tracing::warn!(
                            target: "engineio::cluster",
                            version,
                            count,
                            "messages of another version on the bus are ignored: upgrade the older nodes"
                        );
                    }
                }
            },
            BusEvent::Missed(count) => {
                meter::count(meter::IGNORED, "missed", count);
                if let Some(count) = self.logged.missed.count(Instant::now(), count) {
                    tracing::warn!(target: "engineio::cluster", count, "messages of the bus were dropped");
                }
                self.detector.handle_missed();
            }
            BusEvent::Lost => self.detector.handle_bus_lost(now()),
            BusEvent::Back => {
                let others = self.members.all();
                self.shared.lock().unheard = others.iter().map(|node| node.id).collect();
                self.detector.handle_bus_back(now());
            }
        }
    }

    fn on_message(&mut self, message: BusMessage) {
        match message {
            BusMessage::Announcement(announcement) => {
                self.shared.lock().unheard.remove(&announcement.id);
                self.detector.handle_announcement(now(), &announcement);
            }
            BusMessage::Query { id, incarnation } => {
                self.detector.handle_query(now(), &id, incarnation);
            }
            // Its clients had the node's own broadcast at once.
            BusMessage::Broadcast { stamp, .. } if stamp.sender == self.local.incarnation => {
                self.shared.echoes.arrived(stamp.number, ());
            }
            BusMessage::Broadcast { stamp, message } => {
                if self.is_new(stamp) {
                    self.delivery.push(Parcel::Broadcast(message));
                }
            }
            BusMessage::Request {
                stamp,
                sid,
                request,
            } => {
                let owner = sid.as_str().rsplit_once('.').map(|(_, node)| node);
                if owner == Some(self.local.id.as_str()) && self.is_new(stamp) {
                    self.delivery.push(Parcel::Request {
                        stamp,
                        sid,
                        request,
                    });
                }
            }
            // For an emitter.
            BusMessage::Reply { .. } => {}
        }
    }

    fn is_new(&mut self, stamp: Stamp) -> bool {
        let is_new = self.duplicates.is_new(now(), stamp);
        if !is_new {
            meter::count(meter::IGNORED, "duplicate", 1);
        }
        is_new
    }

    fn on_news(&mut self, news: News) {
        match news {
            News::RefusedConnection(id) => self.detector.handle_refused_connection(now(), &id),
            News::Drain => self.detector.drain(now()),
            News::Leave(done) => {
                self.left = Some(done);
                self.detector.leave(now());
            }
        }
    }

    fn follow_outputs(&mut self) {
        while let Some(output) = self.detector.poll_output() {
            self.follow(output);
        }
    }

    fn follow(&mut self, output: Output) {
        match output {
            Output::Announce { beat, presence } => self.announce(beat, presence),
            Output::Query { id, incarnation } => {
                self.push(&BusMessage::Query { id, incarnation });
            }
            Output::Alive(member) => {
                if self.members.get(&member.id).is_none() {
                    tracing::info!(
                        target: "engineio::cluster",
                        node = %member.id,
                        address = %member.address,
                        "a node is alive"
                    );
                }
                self.members.insert(member);
                self.count_nodes();
            }
            Output::Gone(id, departure) => {
                let reason = departure.as_str();
                tracing::info!(target: "engineio::cluster", node = %id, reason, "a node is gone");
                meter::count(meter::DEPARTURES, reason, 1);
                self.members.remove(&id);
                self.shared.lock().unheard.remove(&id);
                self.count_nodes();
            }
            Output::Joined => {
                meter::set(meter::BUS_UP, 1);
                self.count_nodes();
                self.report(Ok(()));
            }
            Output::Refused(reason) => {
                let error = match reason {
                    Refused::IdInUse { address } => JoinError::IdInUse {
                        id: self.local.id,
                        address,
                    },
                    Refused::Deaf => JoinError::BusDeaf,
                    Refused::ClusterFull => JoinError::ClusterFull,
                };
                self.report(Err(error));
            }
            Output::Conflict { id, address } => {
                meter::count(meter::IGNORED, "id_conflict", 1);
                if id == self.local.id {
                    self.shared.lock().conflict_seen = Some(Instant::now());
                }
                if let Some(count) = self.logged.conflicts.count(Instant::now(), 1) {
                    tracing::error!(
                        target: "engineio::cluster",
                        node = %id,
                        %address,
                        count,
                        "two running nodes have this id, one at this address: stop one of them"
                    );
                }
            }
            Output::TooMany(id) => {
                meter::count(meter::IGNORED, "too_many_nodes", 1);
                if let Some(count) = self.logged.too_many.count(Instant::now(), 1) {
                    tracing::error!(
                        target: "engineio::cluster",
                        node = %id,
                        count,
                        "a node is ignored: the cluster has the maximum number of nodes"
                    );
                }
            }
            Output::Deaf(since) => {
                meter::set(meter::BUS_UP, 0);
                self.shared.lock().bus_lost_since = Some(Instant::from_std(since));
                self.shared.echoes.end();
                tracing::error!(
                    target: "engineio::cluster",
                    "nothing comes back from the broker: broadcasts reach this node only, and the table of nodes is not updated"
                );
            }
            Output::Hearing => {
                meter::set(meter::BUS_UP, 1);
                self.shared.lock().bus_lost_since = None;
                tracing::info!(target: "engineio::cluster", "the broker delivers again");
            }
            Output::Reconnect => self.bus.reconnect(),
        }
    }

    fn announce(&mut self, beat: u64, presence: Presence) {
        let announcement = Announcement {
            id: self.local.id,
            incarnation: self.local.incarnation,
            beat,
            presence,
            address: Arc::clone(&self.local.address),
            sessions: self.server.len() as u64,
        };
        self.push(&BusMessage::Announcement(announcement));
    }

    fn push(&mut self, message: &BusMessage) {
        if self.pending.len() >= MAX_PENDING {
            self.pending.pop_front();
        }
        self.pending.push_back(message.encode());
    }

    fn report(&mut self, outcome: Result<(), JoinError>) {
        if let Some(joined) = self.joined.take() {
            let _ = joined.send(outcome);
        }
    }

    fn count_nodes(&self) {
        let nodes = self.members.all().len();
        meter::set(meter::NODES, u32::try_from(nodes).unwrap_or(u32::MAX));
    }
}

impl Departure {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Farewell => "farewell",
            Self::Silence => "silence",
            Self::Refusal => "refusal",
            Self::Replaced => "replaced",
        }
    }
}

/// Returns the time of tokio's clock, which tests can stop.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}
